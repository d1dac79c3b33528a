package volume

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// mountsBelow lists the mount points below dir: a pod has some in its file
// system (/etc/hosts, /dev, other volumes) that are not the image's.
func mountsBelow(dir string) (map[string]bool, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // ID parent major:minor root mountpoint ...
		if len(fields) < 5 {
			continue
		}
		if place := unescape(fields[4]); strings.HasPrefix(place, strings.TrimSuffix(dir, "/")+"/") {
			found[place] = true
		}
	}
	return found, lines.Err()
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
