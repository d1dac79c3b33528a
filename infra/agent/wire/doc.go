// Package wire is the protocol between berth and the node agent: frames of
// bounded size over one byte stream, many requests at a time, each with data
// flowing both ways under its own flow control, each cancellable. It trusts
// neither side: a frame that breaks the rules ends the connection with an error.
package wire
