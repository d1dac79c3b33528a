package docker

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// portProcess finds the process that listens on a port, from /proc; "" when
// there is none or this user may not see it.
func portProcess(protocol string, ip netip.Addr, port int) string {
	var inode string
	for _, table := range []string{"/proc/net/" + protocol, "/proc/net/" + protocol + "6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() && inode == "" {
			inode = listenerInode(lines.Text(), protocol, ip, port)
		}
		_ = f.Close()
	}
	if inode == "" {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if err != nil {
			return "process " + pid
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// listenerInode returns the socket's inode when line, of /proc/net/tcp,
// udp, tcp6 or udp6, is a listener on port that takes connections to ip.
func listenerInode(line, protocol string, ip netip.Addr, port int) string {
	states := map[string]string{"tcp": "0A", "udp": "07"} // listening, unconnected
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != states[protocol] {
		return ""
	}
	address, hexPort, ok := strings.Cut(f[1], ":")
	p, err := strconv.ParseUint(hexPort, 16, 16)
	if !ok || err != nil || int(p) != port {
		return ""
	}
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw)%4 != 0 {
		return ""
	}
	for word := range slices.Chunk(raw, 4) { // each 32-bit word is in the host's order: little endian
		slices.Reverse(word)
	}
	bound, ok := netip.AddrFromSlice(raw)
	if !ok || !sameListener(bound.Unmap().String(), ip) {
		return ""
	}
	return f[9]
}
