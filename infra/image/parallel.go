package image

import "sync"

// inParallel does n things, at most limit at a time, and waits for all.
func inParallel(n, limit int, do func(n int)) {
	var running sync.WaitGroup
	slots := make(chan struct{}, limit)
	for k := range n {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			do(k)
		})
	}
	running.Wait()
}
