package progress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/berth-dev/berth/infra/progress"
)

func TestEnd(t *testing.T) {
	full := errors.New("disk full")
	for _, c := range []struct {
		name string
		err  error
		want progress.State
		text string
	}{
		{"well", nil, progress.Done, "3 layers"},
		{"an error", full, progress.Failed, ""},
		{"its time is over", context.DeadlineExceeded, progress.Failed, ""},
		{"cancelled", fmt.Errorf("load web: %w", context.Canceled), progress.Skipped, "cancelled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var last progress.Event
			task := progress.Start(progress.SinkFunc(func(e progress.Event) { last = e }), "load web", "")
			if err := task.End(c.err, "3 layers"); !errors.Is(err, c.err) {
				t.Errorf("returned %v, want %v", err, c.err)
			}
			if last.State != c.want || last.Text != c.text || (c.want == progress.Failed) != (last.Err != nil) {
				t.Errorf("reported %+v, want %s %q", last, c.want, c.text)
			}
			task.Done("again")
			if last.Text == "again" {
				t.Error("a task that has ended reported again")
			}
		})
	}
}
