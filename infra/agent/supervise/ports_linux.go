package supervise

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// Listening lists the TCP ports on which something in the network namespace of
// a process (a pid, or "self") accepts connections. Ports that the kernel hands
// out are left out: a program does not listen on the same one again.
func Listening(process string) map[int]bool {
	ports := map[int]bool{}
	ephemeral := firstEphemeral()
	for _, file := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/" + process + "/net/" + file)
		if err != nil {
			continue // a kernel without IPv6
		}
		readListening(f, func(port int) {
			if port < ephemeral {
				ports[port] = true
			}
		})
		_ = f.Close()
	}
	return ports
}

// readListening calls found for the port of every listening socket of a table
// as proc_net_tcp(5) describes it: "sl local_address rem_address st ...",
// addresses as HEX:PORT in hex, state 0A for listening.
func readListening(r io.Reader, found func(port int)) {
	const stateListen = "0A"
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != stateListen {
			continue
		}
		_, hex, ok := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if ok && err == nil {
			found(int(port))
		}
	}
}

// firstEphemeral is the lowest port that the kernel hands out by itself.
func firstEphemeral() int {
	const usual = 32768
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	fields := strings.Fields(string(raw))
	if len(fields) == 0 {
		return usual
	}
	first, err := strconv.Atoi(fields[0])
	if err != nil || first == 0 {
		return usual
	}
	return first
}
