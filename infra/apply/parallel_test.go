package apply

import (
	"context"
	"errors"
	"testing"
)

func TestParallelSaysTheSameOnce(t *testing.T) {
	said := []string{"no answer", "", "no answer", "forbidden", "no answer"}
	err := parallel(t.Context(), len(said), func(_ context.Context, i int) error {
		if said[i] == "" {
			return nil
		}
		return errors.New(said[i])
	})
	if err == nil || err.Error() != "no answer\nforbidden" {
		t.Errorf("%v", err)
	}
	if err := parallel(t.Context(), 2, func(context.Context, int) error { return nil }); err != nil {
		t.Error(err)
	}
}
