package cli

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A debugger is how programs of one language are debugged from outside their
// container. It listens on the container's own loopback address, which is where
// a forwarded port leads: nobody else in the cluster gets at it.
type debugger struct {
	name   string // of what listens on port
	port   int
	attach string // what the user connects

	// start returns the command that runs the program of a command under the
	// debugger, and variables that make it listen.
	start func(command []string) (under []string, env map[string]string, err error)

	needs   string         // what the image must have; "" for nothing
	lacking *regexp.Regexp // what is said when the image has it not; nil: nothing
	cure    string
}

// The debuggers.
var (
	jvm    = debugger{name: "JDWP", port: 5005, attach: "a Java debugger", start: startJVM}
	node   = debugger{name: "the Node inspector", port: 9229, attach: "chrome://inspect or an editor", start: startNode}
	python = debugger{
		name: "debugpy", port: 5678, attach: "an editor (debug adapter protocol)", start: startPython,
		needs: "the Python package debugpy", lacking: regexp.MustCompile(`No module named '?debugpy`), cure: "add `RUN pip install debugpy` to its Dockerfile",
	}
	golang = debugger{
		name: "Delve", port: 2345, attach: "dlv connect or an editor", start: startGo,
		needs: "the program dlv, and a binary with symbols", lacking: regexp.MustCompile(`dlv.{0,40}(not found|no such file)`),
		cure: "add `RUN go install github.com/go-delve/delve/cmd/dlv@latest` where it builds, copy dlv into its PATH, and build with -gcflags=all=\"-N -l\"",
	}
)

// Words by which a command line or, failing that, the environment of an image
// gives the language away.
var (
	javaWords      = []string{"java", "mvn", "gradle", "catalina.sh"}
	nodeLaunchers  = []string{"nodemon", "tsx"} // take node's own options
	nodePackagers  = []string{"npm", "npx", "pnpm"}
	nodeWords      = slices.Concat(nodeLaunchers, nodePackagers, []string{"node", "yarn"})
	pythonModules  = []string{"gunicorn", "uvicorn", "flask", "celery", "hypercorn", "daphne", "fastapi", "streamlit"} // programs that are modules, too
	pythonProgram  = regexp.MustCompile(`^python[0-9.]*$`)
	imageVariables = []struct {
		name     string
		debugger *debugger
	}{{"JAVA_VERSION", &jvm}, {"JAVA_HOME", &jvm}, {"NODE_VERSION", &node}, {"PYTHON_VERSION", &python}}
)

// debuggerOf chooses by the command line of a service and the environment of
// its image. A program that says nothing of itself is taken for Go's.
func debuggerOf(command, env []string) debugger {
	for _, word := range parse(command).words {
		switch {
		case isOneOf(javaWords)(word):
			return jvm
		case isOneOf(nodeWords)(word):
			return node
		case isPython(word):
			return python
		}
	}
	for _, v := range imageVariables {
		if variable(env, v.name) != nil {
			return *v.debugger
		}
	}
	return golang
}

func isOneOf(names []string) func(word string) bool {
	return func(word string) bool { return slices.Contains(names, path.Base(word)) }
}

func isPython(word string) bool {
	return pythonProgram.MatchString(path.Base(word)) || slices.Contains(pythonModules, path.Base(word))
}

// A commandLine is a command as words that can be replaced, those of its script
// where a shell runs one.
type commandLine struct {
	shell []string // that runs the words as one script; nil: they are the command
	words []string
}

func parse(command []string) commandLine {
	const shellWords = 3
	if len(command) == shellWords && isOneOf([]string{"sh", "bash", "ash", "dash"})(command[0]) && strings.HasPrefix(command[1], "-") && strings.HasSuffix(command[1], "c") {
		return commandLine{command[:2], strings.Split(strings.ReplaceAll(command[2], "\n", " \n "), " ")}
	}
	return commandLine{nil, command}
}

// replace puts words in the place of some.
func (c commandLine) replace(from, to int, words ...string) []string {
	all := slices.Concat(c.words[:from], words, c.words[to:])
	if c.shell == nil {
		return all
	}
	return append(slices.Clone(c.shell), strings.Join(all, " "))
}

// program is where the program stands that is wanted, -1 when there is none: of
// the commands of a script the last that runs it, for what comes before prepares.
func (c commandLine) program(is func(word string) bool) int {
	found, seen := -1, false // in the command that is looked at
	for i, word := range c.words {
		switch {
		case c.shell != nil && separates(word):
			seen = false
		case !seen && is(word):
			found, seen = i, true
		}
	}
	return found
}

// separates reports whether a word of a script is at the end of a command.
func separates(word string) bool {
	return slices.Contains([]string{"&&", "||", "|", "\n"}, word) || strings.HasSuffix(word, ";")
}

func startJVM(command []string) ([]string, map[string]string, error) {
	return command, map[string]string{"JAVA_TOOL_OPTIONS": "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=5005"}, nil
}

// startNode has the program listen and not what starts it, which would take the
// port: npm passes its node-options on to scripts alone.
func startNode(command []string) ([]string, map[string]string, error) {
	const inspect = "--inspect=127.0.0.1:9229"
	line := parse(command)
	if i := line.program(isOneOf(nodeLaunchers)); i >= 0 {
		return line.replace(i+1, i+1, inspect), nil, nil
	}
	if line.program(isOneOf(nodePackagers)) >= 0 {
		return command, map[string]string{"npm_config_node_options": inspect}, nil
	}
	return command, map[string]string{"NODE_OPTIONS": inspect}, nil
}

func startPython(command []string) ([]string, map[string]string, error) {
	listen := []string{"-m", "debugpy", "--listen", "127.0.0.1:5678"}
	line := parse(command)
	i := line.program(isPython)
	switch {
	case i < 0 && len(line.words) > 0 && strings.HasSuffix(line.words[0], ".py"):
		return line.replace(0, 0, slices.Concat([]string{"python3"}, listen)...), nil, nil
	case i < 0:
		return nil, nil, fmt.Errorf("%q does not say which Python program it runs", strings.Join(command, " "))
	case !pythonProgram.MatchString(path.Base(line.words[i])):
		return line.replace(i, i+1, slices.Concat([]string{"python3"}, listen, []string{"-m", path.Base(line.words[i])})...), nil, nil
	}
	for i++; i < len(line.words) && interpreters(line.words[i]); i++ {
		if line.words[i] == "-X" || line.words[i] == "-W" { // whose value is the next word
			i++
		}
	}
	return line.replace(min(i, len(line.words)), min(i, len(line.words)), listen...), nil, nil
}

// interpreters reports whether a word is an option of Python itself, rather than
// what it is to run.
func interpreters(word string) bool {
	return strings.HasPrefix(word, "-") && word != "-" && word != "-m" && word != "-c"
}

func startGo(command []string) ([]string, map[string]string, error) {
	options := []string{"--headless", "--listen=127.0.0.1:2345", "--api-version=2", "--accept-multiclient", "--continue"}
	line := parse(command)
	i := slices.IndexFunc(line.words, func(word string) bool { return !isOneOf([]string{"tini", "dumb-init", "exec", "--"})(word) })
	switch {
	case i < 0:
		return nil, nil, errors.New("it is not known which program the image runs")
	case line.shell != nil && slices.ContainsFunc(line.words, separates):
		return nil, nil, fmt.Errorf("%q is a script, and does not say which of its programs is meant", strings.Join(command, " "))
	case path.Base(line.words[i]) == "go" && len(line.words) == i+3 && line.words[i+1] == "run":
		return line.replace(i, i+3, slices.Concat([]string{"dlv", "debug"}, options, line.words[i+2:])...), nil, nil
	}
	return line.replace(i, i+1, slices.Concat([]string{"dlv", "exec"}, options, []string{line.words[i], "--"})...), nil, nil
}
