// Command probe is the one program of the images that the behavior tests
// use, FROM scratch: it serves HTTP, looks at itself from inside its container,
// and ends as it is told.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"serve"}
	}
	commands := map[string]func([]string) int{
		"serve": serve, "exit": exit, "resolve": resolve, "get": get, "file": file, "write": write, "self": self, "healthy": healthy,
		"stubborn": stubborn, "say": say, "echo": echo, "burn": burn,
	}
	run, known := commands[args[0]]
	if !known {
		fmt.Fprintf(os.Stderr, "no command %q\n", args[0])
		os.Exit(64)
	}
	os.Exit(run(args[1:]))
}

// serve answers on $PORT (8080) with this container's name, and on UDP with
// what it gets. SIGUSR1 is said and ends it well.
func serve([]string) int {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	host, _ := os.Hostname()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, host) })
	mux.HandleFunc("GET /env/{name}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, os.Getenv(r.PathValue("name"))) })
	mux.HandleFunc("GET /exit/{code}", func(_ http.ResponseWriter, r *http.Request) { os.Exit(exit([]string{r.PathValue("code")})) })
	mux.HandleFunc("GET /file/{path...}", func(w http.ResponseWriter, r *http.Request) {
		content, err := os.ReadFile("/" + r.PathValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(content)
	})
	go udp(port)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGTERM)
	go func() {
		for s := range signals {
			fmt.Println("signal", s)
			switch s {
			case syscall.SIGUSR1:
				os.Exit(0)
			case syscall.SIGTERM:
				os.Exit(2) // as Go programs do that do not listen to it
			}
		}
	}()
	fmt.Println("serving on", port)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":"+port, mux))
	return 1
}

func udp(port string) {
	conn, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buf := make([]byte, 65535)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			continue
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

// burn uses all the CPU that it gets, until it is told to end.
func burn([]string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil {
	}
	return 0
}

// exit ends with a status, after a time if there is one: exit 3 2s.
func exit(args []string) int {
	if len(args) > 1 {
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return 64
		}
		time.Sleep(d)
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return 64
	}
	fmt.Println("ending with", code)
	return code
}

// resolve asks for names and prints for each its addresses or "-", and the
// milliseconds that took.
func resolve(names []string) int {
	for _, name := range names {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		began := time.Now()
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		cancel()
		found := strings.Join(addresses, ",")
		if err != nil {
			found = "-"
		}
		fmt.Println(name, found, time.Since(began).Milliseconds())
	}
	return 0
}

// get fetches a page.
func get(args []string) int {
	answer, err := (&http.Client{Timeout: 5 * time.Second}).Get(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer answer.Body.Close()
	_, _ = io.Copy(os.Stdout, answer.Body)
	if answer.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}

// file prints mode, owner and content of files, as JSON.
func file(paths []string) int {
	type entry struct {
		Path, Mode string
		UID, GID   uint32
		Size       int64
		Content    string
		Files      []string
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		e := entry{Path: path, Mode: info.Mode().String(), Size: info.Size()}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			e.UID, e.GID = s.Uid, s.Gid
		}
		if info.IsDir() {
			found, _ := filepath.Glob(filepath.Join(path, "*"))
			e.Files = found
		} else {
			content, err := os.ReadFile(path)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			e.Content = string(content)
		}
		_ = json.NewEncoder(os.Stdout).Encode(e)
	}
	return 0
}

// write writes a file: write PATH TEXT.
func write(args []string) int {
	if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// self prints what a process sees of itself, as JSON.
func self([]string) int {
	host, _ := os.Hostname()
	groups, _ := os.Getgroups()
	dir, _ := os.Getwd()
	var nofile syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &nofile)
	first, _ := os.ReadFile("/proc/1/cmdline")
	status, _ := os.ReadFile("/proc/self/status")
	capabilities := ""
	noNew := ""
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			capabilities = strings.TrimSpace(rest)
		}
		if rest, ok := strings.CutPrefix(line, "NoNewPrivs:"); ok {
			noNew = strings.TrimSpace(rest)
		}
	}
	sysctl := func(name string) string {
		raw, _ := os.ReadFile("/proc/sys/" + name)
		return strings.TrimSpace(string(raw))
	}
	shm := func(path string) int64 {
		var s syscall.Statfs_t
		if syscall.Statfs(path, &s) != nil {
			return -1
		}
		return int64(s.Blocks) * s.Bsize
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"host": host, "uid": os.Getuid(), "gid": os.Getgid(), "groups": groups, "dir": dir, "env": os.Environ(),
		"nofile": []uint64{nofile.Cur, nofile.Max}, "first": strings.ReplaceAll(string(first), "\x00", " "), "capabilities": capabilities,
		"noNewPrivileges": noNew, "somaxconn": sysctl("net/core/somaxconn"), "shm": shm("/dev/shm"), "scratch": shm("/scratch"),
	})
	return 0
}

// healthy ends well unless there is a file /tmp/sick, or the URL it is given
// does not answer.
func healthy(args []string) int {
	if _, err := os.Stat("/sick"); err == nil {
		return 1
	}
	if len(args) > 0 {
		return get(args)
	}
	return 0
}

// stubborn ignores SIGTERM.
func stubborn([]string) int {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("not listening")
	for {
		time.Sleep(time.Hour)
	}
}

// say prints its arguments once a second, numbered.
func say(args []string) int {
	for i := 0; ; i++ {
		fmt.Println(i, strings.Join(args, " "))
		time.Sleep(time.Second)
	}
}

// echo prints its arguments and standard input.
func echo(args []string) int {
	fmt.Println(strings.Join(args, " "))
	_, _ = io.Copy(os.Stdout, os.Stdin)
	return 0
}
