package image

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/problem"
)

func TestAdviceNamesEveryMissingImage(t *testing.T) {
	one, two := missingImages([]string{"one:1"}, errors.New("no such host")), missingImages([]string{"two:2", "three"}, nil)
	other := problem.New("start web", errors.New("it fails"), "berth logs web")
	for _, tt := range []struct {
		name string
		err  error
		want []string
	}{
		{"none", other, []string{"berth logs web"}},
		{"one", errors.Join(one, other), []string{"docker pull one:1`", "docker save one:1 -o"}},
		{"several", errors.Join(other, fmt.Errorf("up: %w", errors.Join(one, two))), []string{"docker pull one:1 && docker pull two:2 && docker pull three", "docker save one:1 two:2 three -o"}},
	} {
		got := WithMissing(tt.err)
		if got.Error() != tt.err.Error() || !errors.Is(got, tt.err) {
			t.Errorf("%s: the error became %v", tt.name, got)
		}
		for _, want := range tt.want {
			if hint := problem.Hint(got); !strings.Contains(hint, want) {
				t.Errorf("%s: the hint %q lacks %q", tt.name, hint, want)
			}
		}
	}
	if !IsAbsent(fmt.Errorf("x: %w", one)) || IsAbsent(other) {
		t.Error("IsAbsent is wrong")
	}
}
