package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/infra/docker"
	"github.com/berth-dev/berth/infra/model"
	"github.com/berth-dev/berth/infra/problem"
	"github.com/berth-dev/berth/infra/progress"
	"github.com/berth-dev/berth/templates"
)

// labelRecipe is on stand-ins: name and key of the recipe.
const labelRecipe = "dev.berth.recipe"

// labelHolds is on stand-ins: what is really inside, for people.
const labelHolds = "dev.berth.holds"

// DefaultBases are the images for which `berth offline build` makes stand-ins
// when nobody names any: those that Dockerfiles name most.
func DefaultBases() []string {
	return []string{
		"debian:bookworm-slim", "alpine:3", "busybox", "golang:1.26", "node:22-slim", "node:20-slim", "python:3.12-slim",
		"redis:7", "postgres:16", "nginx:1", "mariadb:11",
	}
}

// A Base says what became of one image that was asked for.
type Base struct {
	Ref     string `json:"ref"`
	State   string `json:"state"` // made, present, real
	Holds   string `json:"holds,omitempty"`
	StandIn string `json:"standIn,omitempty"` // the stand-in's own name
}

// What can become of an image that was asked for.
const (
	BaseMade    = "made"    // a stand-in was made now
	BasePresent = "present" // its stand-in is there and fits the recipe
	BaseReal    = "real"    // the engine holds the real image, which is left alone
)

// CheckBases returns a Problem that names the images that no stand-in can be made
// for.
func CheckBases(refs ...string) error {
	recipes, err := Recipes()
	if err != nil {
		return err
	}
	lacking := slices.DeleteFunc(slices.Clone(refs), func(ref string) bool {
		return slices.ContainsFunc(recipes, func(r Recipe) bool { return r.standsInFor(ref) })
	})
	if len(lacking) == 0 {
		return nil
	}
	return problem.New("make stand-ins for "+strings.Join(lacking, ", "), errors.New("there is no recipe for them"),
		"`docker save` them where a registry is reached, and `docker load` them here; or name an image that `berth offline status` lists")
}

// EnsureBases gives the engine a stand-in for each image that it does not
// hold. A real image is never replaced.
func (k *Kit) EnsureBases(ctx context.Context, c *docker.Client, refs ...string) ([]Base, error) {
	if err := CheckBases(refs...); err != nil {
		return nil, err
	}
	forges, err := k.forges(c)
	if err != nil {
		return nil, err
	}
	all := make([]Base, 0, len(refs))
	for _, ref := range refs {
		f, _ := forgeFor(forges, ref)
		b, err := f.ensure(ctx, ref)
		if err != nil {
			return all, err
		}
		all = append(all, b)
	}
	return all, nil
}

// forges returns one forge for each recipe.
func (k *Kit) forges(c *docker.Client) ([]forge, error) {
	recipes, err := Recipes()
	if err != nil {
		return nil, err
	}
	common, err := commonScripts()
	if err != nil {
		return nil, err
	}
	authorities, err := machineAuthorities("/usr/local/share/ca-certificates")
	if err != nil {
		return nil, err
	}
	forges := make([]forge, 0, len(recipes))
	for _, r := range recipes {
		forges = append(forges, forge{
			kit: k, client: c, recipe: r, common: common, authorities: authorities, key: r.key(sortedText(common), authorities),
		})
	}
	return forges, nil
}

// forgeFor finds the forge whose recipe stands in for an image reference.
func forgeFor(forges []forge, ref string) (forge, bool) {
	at := slices.IndexFunc(forges, func(f forge) bool { return f.recipe.standsInFor(ref) })
	if at < 0 {
		return forge{}, false
	}
	return forges[at], true
}

func commonScripts() (map[string]string, error) {
	scripts := map[string]string{}
	for _, name := range []string{"install.sh", "clean.sh"} {
		raw, err := fs.ReadFile(templates.Offline, path.Join(basesDir, "common", name))
		if err != nil {
			return nil, err
		}
		scripts[name] = string(raw)
	}
	return scripts, nil
}

// machineAuthorities reads the certificate authorities that this machine's
// owner added: behind a company's proxy, builds in containers need them too.
func machineAuthorities(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		all["usr/local/share/ca-certificates/"+filepath.Base(f)] = string(raw)
	}
	return all, nil
}

// A forge makes one stand-in.
type forge struct {
	kit         *Kit
	client      *docker.Client
	recipe      Recipe
	common      map[string]string
	authorities map[string]string
	key         string // changes with anything that goes into the stand-in
}

// standIn is the stand-in's own name.
func (f forge) standIn() string { return "berth/base-" + f.recipe.Name + ":" + f.key }

// fits reports whether an image is the stand-in that this forge makes.
func (f forge) fits(labels map[string]string) bool {
	return labels[labelRecipe] == f.recipe.Name+":"+f.key
}

// ensure gives the engine the stand-in under its own name and as ref.
func (f forge) ensure(ctx context.Context, ref string) (Base, error) {
	r := f.recipe
	b := Base{Ref: ref, State: BasePresent, Holds: r.Holds, StandIn: f.standIn()}
	held, found, err := f.client.ImageInfo(ctx, ref)
	if err != nil {
		return b, err
	}
	if found && held.Labels[model.LabelStandIn] != "true" {
		return Base{Ref: ref, State: BaseReal}, nil
	}
	if found && f.fits(held.Labels) {
		return b, nil
	}
	if _, made, err := f.client.ImageInfo(ctx, b.StandIn); err != nil {
		return b, err
	} else if !made {
		if err := f.kit.ensureDebian(ctx, f.client); err != nil {
			return b, err
		}
		err := f.kit.makeImage(ctx, f.client, b.StandIn, "stand-in for "+ref, func(task *progress.Task) error {
			return retry(ctx, task, func() error { return f.make(ctx, task) })
		})
		if err != nil {
			return b, fmt.Errorf("make a stand-in for image %q: %w", ref, err)
		}
	}
	b.State = BaseMade
	return b, f.client.TagImage(ctx, b.StandIn, ref)
}

func (f forge) make(ctx context.Context, task *progress.Task) (err error) {
	r := f.recipe
	w, err := openWorkshop(ctx, f.client, task, debianImage(), f.standIn())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if err := f.copyFiles(ctx, w, f.authorities); err != nil {
		return err
	}
	env := f.env()
	task.Update(strings.TrimSpace("installing " + strings.Join(r.Packages, " ")))
	if err := w.script(ctx, f.common["install.sh"], env, nil); err != nil {
		return err
	}
	if err := f.copyFiles(ctx, w, r.files); err != nil {
		return err
	}
	if err := f.addPrograms(ctx, w); err != nil {
		return err
	}
	task.Update("setting up")
	if err := w.script(ctx, r.install+"\n"+f.common["clean.sh"], env, nil); err != nil {
		return err
	}
	config, err := f.config(ctx)
	if err != nil {
		return err
	}
	stop := startBeat(task, "committing")
	defer stop()
	return w.commit(ctx, f.standIn(), append(config,
		fmt.Sprintf("LABEL %s=base %s=true %s=%s:%s %s=%q", labelKit, model.LabelStandIn, labelRecipe, r.Name, f.key, labelHolds, r.Holds))...)
}

// env is what the recipe's scripts are told.
func (f forge) env() []string {
	env := []string{"PACKAGES=" + strings.Join(f.recipe.Packages, " "), "USERS=" + strings.Join(f.recipe.Users, " "), "APK="}
	if f.recipe.APK {
		env[2] = "APK=1"
	}
	for k, v := range f.recipe.Env {
		env = append(env, k+"="+v)
	}
	return env
}

// addPrograms adds what comes from elsewhere than Debian: this machine's Go,
// or what the recipe's fetch script gets.
func (f forge) addPrograms(ctx context.Context, w *workshop) error {
	if f.recipe.Toolchain == "go" {
		w.task.Update("copying this machine's Go")
		return w.copyGo(ctx)
	}
	if f.recipe.fetch == "" {
		return nil
	}
	w.task.Update("fetching programs that Debian does not have")
	fetched, err := f.fetch(ctx, w.task)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		// Without that registry the recipe falls back on Debian, and the
		// label of the image says what it may hold.
		progress.Say(f.kit.sink, progress.Warn, "stand-in "+f.recipe.Name, firstLine(err)+"; taking Debian's package")
		return nil
	}
	return w.copyIn(ctx, fetched)
}

// fetch runs the recipe's fetch script in a container of its own and returns
// the archive it prints.
func (f forge) fetch(ctx context.Context, task *progress.Task) (archive io.Reader, err error) {
	w, err := openWorkshop(ctx, f.client, task, debianImage(), "berth/fetch-"+f.recipe.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if err := f.copyFiles(ctx, w, f.authorities); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	return &buf, w.capture(ctx, f.recipe.fetch, f.env(), &buf)
}

// config is the recipe's settings, and for Go and npm the settings of this
// machine by which they find their modules.
func (f forge) config(ctx context.Context) ([]string, error) {
	config := append([]string{"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, f.recipe.Config...)
	if f.recipe.Toolchain == "go" {
		out, err := command{argv: []string{"go", "env", "-changed", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY"}}.output(ctx)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(out)) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok {
				config = append(config, fmt.Sprintf("ENV %s=%q", name, strings.Trim(value, `'"`)))
			}
		}
	}
	return config, nil
}

func (f forge) copyFiles(ctx context.Context, w *workshop, files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	r := Recipe{files: files}
	archive, err := r.archive()
	if err != nil {
		return err
	}
	return w.copyIn(ctx, bytes.NewReader(archive))
}

// copyGo copies this machine's Go to /usr/local/go, without its own tests.
func (w *workshop) copyGo(ctx context.Context) error {
	out, err := command{argv: []string{"go", "env", "GOROOT"}}.output(ctx)
	if err != nil {
		return err
	}
	root, err := filepath.EvalSymlinks(strings.TrimSpace(string(out)))
	if err != nil {
		return err
	}
	read, write := io.Pipe()
	go func() {
		write.CloseWithError(tarTree(write, root, "usr/local/go", func(_ string, info fs.FileInfo) int64 { return int64(info.Mode().Perm()) }))
	}()
	return errors.Join(w.copyIn(ctx, read), read.Close())
}
