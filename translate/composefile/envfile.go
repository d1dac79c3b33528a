package composefile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/sirupsen/logrus"

	"github.com/berth-dev/berth/translate"
)

// maxEnvFile is the size in bytes up to which env and label files are read.
const maxEnvFile = 1 << 20

// compose-go keeps its env_file formats in a table of its own and warns through
// the global logger. The raw format is registered here, as docker compose does
// too; the logger is silenced because only cmd prints, and Read returns
// warnings of its own that name file and line.
func init() {
	dotenv.RegisterFormat(rawFormat, rawEnvFile)
	logrus.SetOutput(io.Discard)
}

// rawFormat is the format of env files that are taken word for word.
const rawFormat = "raw"

// rawEnvFile reads KEY=value lines and takes every value as it stands: no
// quotes, no interpolation, no comments at the end of a line.
func rawEnvFile(r io.Reader, _ string, vars map[string]string, lookup func(key string) (string, bool)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEnvFile)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		switch {
		case strings.TrimSpace(key) != key || key == "":
			return fmt.Errorf("line %d: %q is not a variable name", n, key)
		case ok:
			vars[key] = value
		default:
			if v, set := lookup(key); set {
				vars[key] = v
			}
		}
	}
	return lines.Err()
}

// readEnvFiles adds the variables of the env files: those asked for, else
// COMPOSE_ENV_FILES, else .env of the project directory where it exists.
func (s *selection) readEnvFiles(o Options) error {
	var files []string
	for _, f := range o.EnvFiles {
		files = append(files, o.abs(f))
	}
	if len(files) == 0 {
		for _, f := range strings.Split(s.env["COMPOSE_ENV_FILES"], ",") {
			if f != "" {
				files = append(files, o.abs(f))
			}
		}
	}
	if len(files) == 0 {
		disabled, err := envFilesDisabled(s.env)
		if err != nil || disabled {
			return err
		}
		dotEnv := filepath.Join(s.directory(o), ".env")
		if info, err := os.Stat(dotEnv); err != nil || info.IsDir() {
			s.looked = append(s.looked, dotEnv)
			return nil
		}
		files = []string{dotEnv}
	}
	vars, err := readDotEnv(files, s.env, o.display)
	if err != nil {
		return err
	}
	for k, v := range vars {
		if _, set := s.env[k]; !set {
			s.env[k] = v
		}
	}
	s.envFiles = append(s.envFiles, files...)
	return nil
}

// ReadEnvFiles reads the variables of env files, paths relative to dir, in the
// form of .env; env (KEY=VALUE) wins over them when their values name variables.
func ReadEnvFiles(dir string, files, env []string) (map[string]string, error) {
	o := Options{Dir: dir, Env: env}
	var paths []string
	for _, f := range files {
		paths = append(paths, o.abs(f))
	}
	return readDotEnv(paths, environ(o), o.display)
}

// readDotEnv reads env files in order; env wins over them when their values
// name variables.
func readDotEnv(files []string, env map[string]string, display func(string) string) (map[string]string, error) {
	vars := map[string]string{}
	for _, file := range files {
		content, err := readSmallFile(file, maxEnvFile)
		if err != nil {
			return nil, &translate.Error{What: fmt.Sprintf("read env file %q", display(file)), Err: err, Cure: "create it, or name another"}
		}
		err = parseDotEnv(content, vars, func(key string) (string, bool) {
			if v, ok := env[key]; ok {
				return v, true
			}
			v, ok := vars[key]
			return v, ok
		})
		if err != nil {
			return nil, dotEnvError(display(file), err)
		}
	}
	return vars, nil
}

// parseDotEnv adds the variables of an env file to vars. The parser indexes past
// the end of some malformed input; that is one more syntax error.
func parseDotEnv(content []byte, vars map[string]string, lookup func(string) (string, bool)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the file is malformed")
		}
	}()
	if err := utf8Only(content); err != nil {
		return err
	}
	return dotenv.ParseWithFormat(bytes.NewReader(content), "", vars, lookup, dotenv.DotEnv)
}

// utf8Only refuses what no object of Kubernetes can hold as text.
func utf8Only(content []byte) error {
	if utf8.Valid(content) {
		return nil
	}
	return fmt.Errorf("line %d: it is not valid UTF-8: save the file as UTF-8 text", invalidLine(content))
}

// dotEnvError gives a syntax error of an env file its position.
func dotEnvError(file string, err error) *translate.Error {
	e := &translate.Error{Position: translate.Position{File: file}, What: "env file", Err: err}
	e.Err = errors.New(strings.TrimPrefix(err.Error(), "failed to read : "))
	if line, rest, ok := strings.Cut(strings.TrimPrefix(e.Err.Error(), "line "), ": "); ok {
		if n, convErr := strconv.Atoi(line); convErr == nil {
			e.Position.Line, e.Err = n, errors.New(rest)
		}
	}
	return e
}

// readSmallFile reads a regular file of at most limit bytes.
func readSmallFile(path string, limit int64) ([]byte, error) {
	if err := regularFile(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			return nil, pathError.Err
		}
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, tooLarge(limit)
	}
	return content, nil
}

// tooLarge says that a file is over its limit.
func tooLarge(limit int64) error {
	return fmt.Errorf("it is larger than %d KiB", limit>>10)
}
