package composefile

import (
	"io"
	"path/filepath"
	"strings"
)

// Options say which project to read. The zero value, with Dir set, reads the
// project of that directory as `docker compose` without flags does.
type Options struct {
	Dir              string    // working directory of the command; absolute
	ProjectDirectory string    // --project-directory; "" for the directory of the first file
	Files            []string  // --file, relative to Dir; "-" is Stdin
	ProjectName      string    // --project-name
	Profiles         []string  // --profile; none means COMPOSE_PROFILES
	EnvFiles         []string  // --env-file; none means COMPOSE_ENV_FILES, then .env
	Env              []string  // the process environment, KEY=value
	Stdin            io.Reader // for the file "-"
	Services         []string  // services the user named: enabled whatever their profiles say, unknown ones are errors
	NamesOnly        bool      // env, label, config and secret files are not read and need not exist: enough to name services
	Without          string    // path of an attribute that is to count as not set, with what refers to it: what becomes of the rest?
}

// Source says where a project came from.
type Source struct {
	Dir          string   // the project directory, absolute
	ComposeFiles []string // the compose files that were given or found, absolute, in order; "-" is stdin
	Profiles     []string // active profiles
	Named        bool     // the files themselves give the project its name: it does not depend on the folder or the environment
	Warnings     Warnings // what docker compose would warn of, in the order of the files
}

// abs makes a path that the user typed absolute.
func (o Options) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(o.Dir, path)
}

// display is how messages and positions name a file: relative to the working
// directory unless it is far from there.
func (o Options) display(path string) string {
	if path == stdin {
		return path
	}
	far := strings.Repeat(".."+string(filepath.Separator), 3)
	rel, err := filepath.Rel(o.Dir, path)
	if err != nil || strings.HasPrefix(rel, far) {
		return path
	}
	return rel
}

// stdin is the name of the compose file that is read from standard input.
const stdin = "-"
