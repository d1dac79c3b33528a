package offline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
)

func TestLinesAreCutAndRedrawsCollapsed(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(l string) { got = append(got, l) }}
	for _, part := range []string{"one\ntw", "o\r\n10%\r50%\r99%\n", "rest"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	w.flush()
	if want := []string{"one", "two", "99%", "rest"}; !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}

func TestFailedCommandShowsItsOutput(t *testing.T) {
	task := progress.Start(progress.Discard, "t", "")
	err := command{argv: []string{"sh", "-c", "echo no space left; exit 3"}}.run(t.Context(), task)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("the error is %v", err)
	}
}

func TestProgramThatIsNotThereIsToBeInstalled(t *testing.T) {
	_, err := command{argv: []string{"no-such-program", "build"}}.output(t.Context())
	if err == nil || !strings.Contains(err.Error(), `run "no-such-program"`) || problem.Hint(err) != "install no-such-program, then run the command again" {
		t.Errorf("%v, hint %q", err, problem.Hint(err))
	}
}

func TestFinalErrorsAreNotTriedAgain(t *testing.T) {
	task := progress.Start(progress.Discard, "t", "")
	tries := 0
	err := retry(t.Context(), task, func() error {
		tries++
		return errors.Join(errors.New("gone"), errFinal)
	})
	if tries != 1 || !errors.Is(err, errFinal) {
		t.Errorf("%d tries, error %v", tries, err)
	}
}
