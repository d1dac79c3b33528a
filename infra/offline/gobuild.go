package offline

import (
	"maps"
	"runtime"
	"slices"
	"strings"
)

// goVersion is part of the key of everything that the go command builds: the
// release that builds berth builds the kit.
func goVersion() string { return runtime.Version() }

// goBuild returns the command that builds packages of the module in dir for
// the engine's machine, static and reproducible. Out ends in a slash when
// several packages are built.
func goBuild(dir, out, ldflags, tags string, packages ...string) command {
	argv := []string{
		"go", "build", "-p", "2", "-trimpath", "-buildvcs=false", "-tags", tags,
		"-ldflags", strings.TrimSpace("-s -w " + ldflags), "-o", out,
	}
	return command{
		dir: dir, argv: append(argv, packages...),
		env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + runtime.GOARCH, "GOWORK=off", "GOFLAGS=", "GO111MODULE=on"},
	}
}

// sortedText joins a map into one text that depends on its content alone.
func sortedText(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b.WriteString(k + "\x00" + m[k] + "\x00")
	}
	return b.String()
}
