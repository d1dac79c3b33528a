package cli

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/infra/apply"
	"github.com/berth-dev/berth/infra/kube"
	"github.com/berth-dev/berth/infra/model"
)

func TestAttachedLogsPrintEachLineOnce(t *testing.T) {
	var out bytes.Buffer
	logs := &attachedLogs{printer: &logPrinter{w: bufio.NewWriter(&out), flushEach: true}, last: map[string]time.Time{}, fetched: map[fetchedLine]int{}}
	podOf := func(service string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: service + "-x", Labels: map[string]string{model.LabelService: service}}}
	}
	line := func(second int, text string) kube.LogLine {
		return kube.LogLine{Container: "c", Time: time.Unix(int64(second), 0), Text: text}
	}
	web, db := podOf("web"), podOf("db")
	logs.followed(web, line(1, "one"))
	logs.followed(web, line(3, "three")) // a process's two streams may be out of order
	logs.followed(web, line(2, "two"))
	logs.fetch(web, line(1, "one"))
	logs.fetch(web, line(3, "three"))
	logs.fetch(web, line(4, "four"))
	logs.fetch(db, line(1, "db one"))
	logs.followed(db, line(1, "db one"))
	logs.followed(web, line(4, "four"))
	logs.over = &apply.Exit{Service: "web", Pod: "web-x"}
	logs.followed(web, line(5, "runs again for a moment"))
	logs.followed(db, line(5, "db ends"))
	if want := "one\nthree\ntwo\nfour\ndb one\ndb ends\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestAttachedServicesAreThoseOfCompose(t *testing.T) {
	no := false
	p := &types.Project{Services: types.Services{"web": {}, "db": {}, "quiet": {Attach: &no}}}
	all := []string{"db", "quiet", "web"}
	for _, c := range []struct {
		opts  attachOptions
		named []string
		want  string
	}{
		{attachOptions{}, nil, "db web"},
		{attachOptions{}, []string{"web"}, "web"},
		{attachOptions{withDeps: true}, []string{"web"}, "db web"},
		{attachOptions{attach: []string{"quiet", "web"}}, nil, "quiet web"},
		{attachOptions{noAttach: []string{"web"}}, nil, "db"},
	} {
		if got := strings.Join(c.opts.printed(p, c.named, all), " "); got != c.want {
			t.Errorf("%+v of %v: got %q, want %q", c.opts, c.named, got, c.want)
		}
	}
}
