// Package supervise is the first process of a service's container under `berth
// dev`: it starts the service's program again on request without a new
// container, so that files written into the container stay. To the program it
// is invisible: signals are passed on, zombies are reaped, the exit status is
// kept. It needs no rights and nothing of the image.
package supervise
