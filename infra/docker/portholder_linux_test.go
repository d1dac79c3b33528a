package docker

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestListenerInodeReadsProcNetTCP(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	const rest = " 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0"
	for name, tc := range map[string]struct {
		line string
		want string
	}{
		"loopback":       {"0: 0100007F:0050 00000000:0000 0A" + rest, "4711"},
		"any address":    {"0: 00000000:0050 00000000:0000 0A" + rest, "4711"},
		"any, v6":        {"0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A" + rest, "4711"},
		"v4 in v6":       {"0: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A" + rest, "4711"},
		"other address":  {"0: 0200000A:0050 00000000:0000 0A" + rest, ""},
		"other port":     {"0: 0100007F:0051 00000000:0000 0A" + rest, ""},
		"not a listener": {"0: 0100007F:0050 0100007F:9999 01" + rest, ""},
		"header":         {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := listenerInode(tc.line, "tcp", local, 80); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPortProcessNamesThisProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := portProcess("tcp", netip.MustParseAddr("127.0.0.1"), l.Addr().(*net.TCPAddr).Port)
	if !strings.Contains(got, fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("got %q, want the test's own pid %d", got, os.Getpid())
	}
}
