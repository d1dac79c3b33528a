package composefile

import (
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/paths"
	"github.com/compose-spec/compose-go/v2/utils"
)

// A directory is what the relative paths of a compose file start from.
type directory struct {
	path string
	home string // for ~; "" when the environment has none
}

// resolve makes the paths below n absolute.
func (d directory) resolve(n *node, rule *rule) {
	if rule == nil {
		return
	}
	if rule.resolve != nil {
		rule.resolve(d, n)
	}
	for key, value := range n.fields {
		d.resolve(value, rule.child(key))
	}
	if below := rule.child("*"); below != nil {
		for _, item := range n.items {
			d.resolve(item, below)
		}
	}
}

// expand puts the home directory in place of a leading ~.
func (d directory) expand(text string) string {
	if d.home != "" && strings.HasPrefix(text, "~") {
		return filepath.Join(d.home, text[1:])
	}
	return text
}

// abs is the absolute path of a file named in a compose file.
func (d directory) abs(text string) string {
	text = d.expand(text)
	if text == "" || filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(d.path, text)
}

// absUnix leaves alone what is absolute on Unix or on Windows: the project may
// be meant for the other.
func (d directory) absUnix(text string) string {
	text = d.expand(text)
	if path.IsAbs(text) || paths.IsWindowsAbs(text) || filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(d.path, text)
}

func (d directory) file(n *node) {
	if n.isText() {
		n.value = d.abs(n.text())
	}
}

func (d directory) maybeUnix(n *node) {
	if n.isText() {
		n.value = d.absUnix(n.text())
	}
}

// link is path with symbolic links followed: file events name the real file.
func (d directory) link(n *node) {
	if !n.isText() {
		return
	}
	n.value = d.abs(n.text())
	if real, err := utils.ResolveSymbolicLink(n.text()); err == nil {
		n.value = real
	}
}

// context resolves a build context unless it is remote, a service or an image.
func (d directory) context(n *node) {
	text := n.text()
	if text == "" || strings.Contains(text, "://") || strings.HasPrefix(text, "service:") ||
		strings.HasPrefix(text, "github.com/") || strings.HasPrefix(text, "git@") {
		return
	}
	n.value = d.abs(text)
}

// mount resolves the source of a bind mount.
func (d directory) mount(n *node) {
	if n.kind == mapKind && n.field("type").text() == "bind" && n.field("source").isText() {
		d.maybeUnix(n.field("source"))
	}
}

// volume resolves the device of a volume that is a bind mount in disguise.
func (d directory) volume(n *node) {
	options := n.field("driver_opts")
	if n.field("driver").text() == "local" && options.field("o").text() == "bind" && options.field("device").isText() {
		d.maybeUnix(options.field("device"))
	}
}

// home is the home directory that the environment names.
func home(env map[string]string) string {
	if h := env["HOME"]; h != "" {
		return h
	}
	return env["USERPROFILE"]
}

// exists reports whether path is a regular file, or leads to one.
func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
