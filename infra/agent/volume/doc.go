// Package volume fills an empty volume with what an image has at its mount
// point, once, as Docker does. It must never touch a volume that holds anything
// it did not put there itself.
package volume
