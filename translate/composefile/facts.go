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

// checkContents reports the configs and secrets that active services and jobs
// use and whose files cannot be read. Docker would refuse to start them.
func (r *reader) checkContents(p *types.Project, facts map[string]translate.PathFacts) {
	files := map[string]string{} // by attribute
	use := func(c types.ContainerSpec) {
		for _, x := range c.Configs {
			files["configs."+x.Source+".file"] = p.Configs[x.Source].File
		}
		for _, x := range c.Secrets {
			files["secrets."+x.Source+".file"] = p.Secrets[x.Source].File
		}
	}
	for _, s := range p.Services {
		use(s.ContainerSpec)
	}
	for _, j := range p.Jobs {
		use(j.ContainerSpec)
	}
	for at, file := range files {
		if file == "" {
			continue
		}
		r.files[file] = true
		f := facts[file]
		switch {
		case f.Content != nil || f.Exists && !f.Dir && f.Size > maxContent: // what is too large is the translation's matter
		case f.Exists:
			if err := regularFile(file); err != nil {
				r.failOn(at, "name a file", "%q: %w", r.opts.display(file), err)
			} else if _, err := readSmallFile(file, maxContent); err != nil {
				r.failOn(at, "make it readable", "%q: %w", r.opts.display(file), err)
			}
		default:
			r.failOn(at, "create it, or correct the path", "%q: %w", r.opts.display(file), errNotFound)
		}
	}
}
