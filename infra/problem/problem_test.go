package problem_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

type advised struct{ advice string }

func (a advised) Error() string { return "advised" }
func (a advised) Hint() string  { return a.advice }

func TestHintIsTheOutermostAdvice(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"none", cause, ""},
		{"nil", nil, ""},
		{"problem", problem.New("what", cause, "outer"), "outer"},
		{"wrapped", fmt.Errorf("more: %w", problem.New("what", cause, "outer")), "outer"},
		{"inner problem", problem.New("what", problem.New("why", nil, "inner"), ""), "inner"},
		{"outer problem", problem.New("what", problem.New("why", nil, "inner"), "outer"), "outer"},
		{"hint method", fmt.Errorf("more: %w", advised{"method"}), "method"},
		{"hint method below a problem", problem.New("what", advised{"method"}, ""), "method"},
		{"problem above a hint method", problem.New("what", advised{"method"}, "outer"), "outer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := problem.Hint(c.err); got != c.want {
				t.Errorf("Hint = %q, want %q", got, c.want)
			}
		})
	}
}
