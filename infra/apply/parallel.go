package apply

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// concurrency is how many requests one apply has under way at once.
const concurrency = 16

// parallel calls f for 0 to n-1, several at once, and returns all errors
// joined in order. It starts no further call once ctx has ended.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, concurrency)
	var calls sync.WaitGroup
	for i := range n {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		calls.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(ctx, i)
		})
	}
	calls.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(distinct(errs)...)
}

// distinct leaves out errors that say what an earlier one says: that the API
// server does not answer need not be read once a request.
func distinct(errs []error) []error {
	said := map[string]bool{}
	return slices.DeleteFunc(errs, func(err error) bool {
		if err == nil || said[err.Error()] {
			return true
		}
		said[err.Error()] = true
		return false
	})
}

// until calls f at growing intervals of at most a second, until it says that
// it is done, fails, or ctx ends.
func until(ctx context.Context, f func() (done bool, err error)) error {
	for delay := 30 * time.Millisecond; ; delay = min(delay*3/2, time.Second) {
		done, err := f()
		if done || err != nil {
			return err
		}
		t := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}
