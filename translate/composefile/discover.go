package composefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/translate"
)

// The names that docker compose looks for, in its order.
var (
	defaultNames  = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrideNames = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// A selection is the answer to "which project": its directory, its compose
// files and the variables they may use.
type selection struct {
	dir      string            // project directory
	files    []string          // absolute, or stdin
	env      map[string]string // process environment over env files
	profiles []string
	envFiles []string // that were read
	looked   []string // files that do not exist, and would count if they did
}

// discover finds the project as docker compose does. The process environment
// wins over env files; COMPOSE_FILE may stand in an env file.
func discover(o Options) (selection, Warnings, error) {
	s := selection{env: environ(o)}
	var warnings Warnings
	for _, f := range o.Files {
		if f != stdin {
			f = o.abs(f)
		}
		s.files = append(s.files, f)
	}
	// Env files are read twice: COMPOSE_FILE may stand in the one of the working
	// directory, and the project it names may have another.
	if err := s.readEnvFiles(o); err != nil {
		return s, nil, err
	}
	if len(s.files) == 0 {
		if err := s.fromEnvironment(o); err != nil {
			return s, nil, err
		}
	}
	if len(s.files) == 0 {
		w, err := s.search(o)
		if err != nil {
			return s, nil, err
		}
		warnings = w
	}
	if err := s.readEnvFiles(o); err != nil {
		return s, nil, err
	}
	s.dir = s.directory(o)
	s.profiles = o.Profiles
	if len(s.profiles) == 0 {
		for _, p := range strings.Split(s.env["COMPOSE_PROFILES"], ",") {
			if p = strings.TrimSpace(p); p != "" {
				s.profiles = append(s.profiles, p)
			}
		}
	}
	return s, warnings, nil
}

// environ is the process environment with PWD, as docker compose sets it.
func environ(o Options) map[string]string {
	env := map[string]string{}
	for _, kv := range o.Env {
		key, value, ok := strings.Cut(kv, "=")
		if ok && key != "" {
			env[key] = value
		}
	}
	env["PWD"] = o.Dir
	return env
}

// directory is the project directory: the one asked for, else that of the
// first file, else the working directory.
func (s *selection) directory(o Options) string {
	if o.ProjectDirectory != "" {
		return o.abs(o.ProjectDirectory)
	}
	for _, f := range s.files {
		if f != stdin {
			return filepath.Dir(f)
		}
	}
	return o.Dir
}

// fromEnvironment takes the files that COMPOSE_FILE lists.
func (s *selection) fromEnvironment(o Options) error {
	list, ok := s.env["COMPOSE_FILE"]
	if !ok {
		return nil
	}
	separator := s.env["COMPOSE_PATH_SEPARATOR"]
	if separator == "" {
		separator = string(os.PathListSeparator)
	}
	for _, f := range strings.Split(list, separator) {
		if f == stdin {
			s.files = append(s.files, f)
			continue
		}
		f = o.abs(f)
		if err := regularFile(f); err != nil {
			return &translate.Error{What: fmt.Sprintf("read compose file %q of COMPOSE_FILE", f), Err: err, Cure: "correct COMPOSE_FILE, or unset it"}
		}
		s.files = append(s.files, f)
	}
	return nil
}

// search looks for a compose file in the project directory and its parents,
// and for an override file beside it.
func (s *selection) search(o Options) (Warnings, error) {
	start := s.directory(o)
	for dir := start; ; dir = filepath.Dir(dir) {
		found := s.present(dir, defaultNames)
		if len(found) > 0 {
			overrides := s.present(dir, overrideNames)
			s.files = append(s.files, found[0])
			if len(overrides) > 0 {
				s.files = append(s.files, overrides[0])
			}
			return append(several(o, found), several(o, overrides)...), nil
		}
		if dir == filepath.Dir(dir) {
			return nil, &translate.Error{
				What: fmt.Sprintf("no compose file in %q or a directory above it", start),
				Err:  fmt.Errorf("looked for %s", strings.Join(defaultNames, ", ")),
				Cure: "go to the project's directory, or name the file: berth -f FILE ...",
			}
		}
	}
}

// present lists the names that exist in dir, and notes the others: a file
// that appears there later changes the project.
func (s *selection) present(dir string, names []string) []string {
	var found []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		} else {
			s.looked = append(s.looked, path)
		}
	}
	return found
}

// several warns when there was a choice of files.
func several(o Options, found []string) Warnings {
	if len(found) < 2 {
		return nil
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = o.display(f)
	}
	return Warnings{{Text: fmt.Sprintf("found %s; only %s is used", strings.Join(names, " and "), names[0])}}
}

// errNotFound is the reason when a file that is named is not there.
var errNotFound = errors.New("there is no such file")

// regularFile checks that path can be read as a file.
func regularFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNotFound
	case err != nil:
		return reason(err)
	case info.IsDir():
		return errors.New("it is a directory")
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}
	return nil
}

// reason takes the operation and the path off an error of package os: our own
// text names the file.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// projectName is the name of the project: asked for, else COMPOSE_PROJECT_NAME,
// else the last `name` of the files, else the directory's name.
func projectName(o Options, s selection, inFile string) (string, error) {
	for _, given := range []struct{ name, from string }{
		{o.ProjectName, "--project-name"}, {s.env["COMPOSE_PROJECT_NAME"], "COMPOSE_PROJECT_NAME"},
	} {
		if given.name != "" {
			return given.name, CheckName(given.name, given.from)
		}
	}
	if name := normalName(inFile); name != "" {
		return name, nil
	}
	if name := normalName(filepath.Base(s.dir)); name != "" {
		return name, nil
	}
	return "", &translate.Error{
		What: fmt.Sprintf("no project name can be made of the directory %q", s.dir),
		Cure: "give the project one: berth --project-name NAME ..., or `name: NAME` in the compose file",
	}
}

// CheckName returns an error when no project can have the name; from is where it
// was given.
func CheckName(name, from string) error {
	if normalName(name) == name && name != "" {
		return nil
	}
	return &translate.Error{
		What: fmt.Sprintf("project name %q (%s) is not valid", name, from),
		Cure: "use lower-case letters, digits, - and _, and start with a letter or digit",
	}
}

var nameCharacters = regexp.MustCompile("[a-z0-9_-]+")

// normalName is the name that compose makes of any text.
func normalName(text string) string {
	return strings.TrimLeft(strings.Join(nameCharacters.FindAllString(strings.ToLower(text), -1), ""), "_-")
}

// envFilesDisabled reports whether .env must not be read on its own account.
func envFilesDisabled(env map[string]string) (bool, error) {
	text, ok := env["COMPOSE_DISABLE_ENV_FILE"]
	if !ok {
		return false, nil
	}
	disabled, err := strconv.ParseBool(text)
	if err != nil {
		return false, &translate.Error{What: fmt.Sprintf("COMPOSE_DISABLE_ENV_FILE is %q", text), Cure: "set it to true or false"}
	}
	return disabled, nil
}
