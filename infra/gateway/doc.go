// Package gateway publishes the ports of a compose project on the host: one
// small container per project on the cluster's network that listens where the
// project says and forwards to NodePorts. It goes on working when berth has
// exited and after nodes or the engine were restarted. It must never send
// anything to a UDP service itself, and never touch another project's ports.
package gateway
