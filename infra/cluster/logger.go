package cluster

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"sigs.k8s.io/kind/pkg/log"

	"github.com/berth-dev/berth/infra/progress"
)

// A narrator says what a task is doing, and says it again every second: kind
// can be silent for half a minute.
type narrator struct {
	task *progress.Task

	mu   sync.Mutex
	text string
}

// say makes text what the task is doing now.
func (n *narrator) say(text string) {
	n.mu.Lock()
	n.text = text
	n.mu.Unlock()
	n.task.Update(text)
}

// beat repeats the text until stop is called.
func (n *narrator) beat() (stop func()) {
	quit := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				n.mu.Lock()
				text := n.text
				n.mu.Unlock()
				n.task.Update(text)
			}
		}
	})
	return func() { close(quit); beating.Wait() }
}

// A kindLogger turns kind's messages into progress of one task. kind starts a
// phase with " • phase  ..." and ends it with " ✓ phase" or " ✗ phase".
type kindLogger struct {
	*narrator
	done func(phase string) // called when a phase has ended well; may be nil
}

var _ log.Logger = kindLogger{}

func (l kindLogger) Warn(message string)         { l.task.Log(strings.TrimSpace(message)) }
func (l kindLogger) Warnf(f string, args ...any) { l.Warn(fmt.Sprintf(f, args...)) }
func (l kindLogger) Error(message string)        { l.Warn(message) }
func (l kindLogger) Errorf(f string, a ...any)   { l.Warnf(f, a...) }

func (l kindLogger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return kindInfo{l}
}

type kindInfo struct{ kindLogger }

func (i kindInfo) Enabled() bool               { return true }
func (i kindInfo) Infof(f string, args ...any) { i.Info(fmt.Sprintf(f, args...)) }

func (i kindInfo) Info(message string) {
	mark, phase := splitPhase(message)
	switch mark {
	case "•":
		i.say(phase)
	case "✓":
		if i.done != nil {
			i.done(phase)
		}
	}
}

// splitPhase takes a status line of kind apart and drops its pictures: " ✓
// Installing CNI 🔌" is "✓", "installing CNI".
func splitPhase(message string) (mark, phase string) {
	mark, phase, _ = strings.Cut(strings.TrimSpace(message), " ")
	phase = strings.Map(func(r rune) rune {
		if r == '≤' || r < unicode.MaxLatin1 {
			return r
		}
		return -1
	}, phase)
	phase = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(phase), "..."))
	if phase != "" {
		phase = strings.ToLower(phase[:1]) + phase[1:]
	}
	return mark, phase
}
