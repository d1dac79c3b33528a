// Command app is the only program of the tests' image: it prints what it finds
// at the paths it is given and then does nothing until it is told to stop.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	for _, path := range os.Args[1:] {
		info, err := os.Lstat(path)
		if err != nil {
			fmt.Println(path, "missing")
			continue
		}
		stat := info.Sys().(*syscall.Stat_t)
		raw, err := os.ReadFile(path)
		if err != nil {
			raw = []byte(err.Error())
		}
		fmt.Printf("%s %s %d:%d %s\n", path, info.Mode(), stat.Uid, stat.Gid, strings.TrimSpace(string(raw)))
	}
	fmt.Println("up")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	fmt.Println("down")
}
