package docker

import (
	"bytes"
	"fmt"

	"github.com/moby/sys/user"
)

// User is whom a process runs as: user, group and further groups by number.
type User = user.ExecUser

// ParseUser reads USER or USER:GROUP, by name or number, as the engine does,
// with the container's own /etc/passwd and /etc/group.
func ParseUser(spec string, passwd, group []byte) (*User, error) {
	u, err := user.GetExecUser(spec, &User{}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return nil, fmt.Errorf("find user %q: %w", spec, err)
	}
	return u, nil
}
