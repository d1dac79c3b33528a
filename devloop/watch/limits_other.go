//go:build !linux

package watch

// limitNotice says that a directory cannot be watched.
func limitNotice(err error) Notice {
	return Notice{Text: "some directories cannot be watched and are polled: " + cause(err)}
}
