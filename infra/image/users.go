package image

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/infra/model"
)

// AddUsers fills in Passwd and Groups from the image's /etc/passwd and
// /etc/group, without running it. An image without these files has empty maps.
func (i *Images) AddUsers(ctx context.Context, facts *model.ImageFacts) error {
	passwd, err := i.etcFile(ctx, facts.ID, "/etc/passwd")
	if err != nil {
		return err
	}
	group, err := i.etcFile(ctx, facts.ID, "/etc/group")
	if err != nil {
		return err
	}
	facts.Passwd, facts.Groups = parsePasswd(passwd), parseGroup(group)
	return nil
}

func (i *Images) etcFile(ctx context.Context, image, name string) (string, error) {
	data, err := i.engine.ReadImageFile(ctx, image, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// parsePasswd reads lines name:x:uid:gid:...; others are passed over, as libc
// does.
func parsePasswd(text string) map[string]model.UserIDs {
	users := map[string]model.UserIDs{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || f[0] == "" {
			continue
		}
		uid, uidErr := strconv.ParseInt(f[2], 10, 64)
		gid, gidErr := strconv.ParseInt(f[3], 10, 64)
		if _, seen := users[f[0]]; uidErr == nil && gidErr == nil && !seen {
			users[f[0]] = model.UserIDs{UID: uid, GID: gid}
		}
	}
	return users
}

// parseGroup reads lines name:x:gid:members.
func parseGroup(text string) map[string]int64 {
	groups := map[string]int64{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 || f[0] == "" {
			continue
		}
		if gid, err := strconv.ParseInt(f[2], 10, 64); err == nil {
			if _, seen := groups[f[0]]; !seen {
				groups[f[0]] = gid
			}
		}
	}
	return groups
}
