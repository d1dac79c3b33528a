package composefile

import (
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/berth-dev/berth/translate"
)

// maxContent is the size in bytes up to which the content of a config, a
// secret or a mounted file is read: what a ConfigMap or Secret can hold.
const maxContent = 1 << 20

// pathFacts looks at every host path that an active service mounts, and reads
// the files that configs, secrets and single-file mounts name.
func (r *reader) pathFacts(p *types.Project) map[string]translate.PathFacts {
	facts := map[string]translate.PathFacts{}
	look := func(path string) {
		if path == "" {
			return
		}
		if _, known := facts[path]; !known {
			facts[path] = lookAt(path)
		}
	}
	mounts := func(volumes []types.ServiceVolumeConfig) {
		for _, v := range volumes {
			if v.Type == types.VolumeTypeBind {
				look(v.Source)
			}
		}
	}
	for _, s := range p.Services {
		mounts(s.Volumes)
		for _, hook := range s.PreStart {
			mounts(hook.Volumes)
		}
	}
	for _, j := range p.Jobs {
		mounts(j.Volumes)
	}
	for _, v := range p.Volumes {
		if device := v.DriverOpts["device"]; filepath.IsAbs(device) {
			look(device)
		}
	}
	for _, c := range p.Configs {
		look(c.File)
	}
	for _, s := range p.Secrets {
		look(s.File)
	}
	return facts
}

// lookAt returns what is known of one path. What cannot be read counts as not
// there.
func lookAt(path string) translate.PathFacts {
	info, err := os.Stat(path)
	if err != nil {
		return translate.PathFacts{}
	}
	f := translate.PathFacts{
		Exists: true,
		Dir:    info.IsDir(),
		Socket: info.Mode()&os.ModeSocket != 0,
		Mode:   uint32(info.Mode().Perm()),
		Size:   info.Size(),
	}
	if f.Dir {
		f.Files, f.Whole = snapshot(path)
	}
	if info.Mode().IsRegular() && info.Size() <= maxContent {
		if content, err := readSmallFile(path, maxContent); err == nil {
			f.Content = content
		}
	}
	return f
}
