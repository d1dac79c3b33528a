package translate

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// extension is the one key of berth's own that compose files may hold, at the
// top, in a service, in a volume and in a service's volume.
const extension = "x-berth"

// ProjectHints is x-berth at the top of a compose file.
type ProjectHints struct {
	Cluster          ClusterHints `json:"cluster"`
	ImagePullSecrets hintList     `json:"imagePullSecrets"` // of every service
}

// ClusterHints say which cluster the project wants.
type ClusterHints struct {
	Name          string   `json:"name"`          // "" for the default cluster
	Workers       *int     `json:"workers"`       // nil for the default
	ControlPlanes *int     `json:"controlPlanes"` // nil for the default
	Version       string   `json:"version"`       // Kubernetes version, "1.36" or "v1.36.1"
	Ingress       string   `json:"ingress"`       // ingress-nginx, traefik or none
	Mounts        []string `json:"mounts"`        // host directories every node must see, relative to the project
}

// serviceHints is x-berth of a service.
type serviceHints struct {
	Host                 hintList     `json:"host"`
	Path                 string       `json:"path"`
	Port                 *int         `json:"port"`
	TLSSecret            string       `json:"tlsSecret"`
	Kind                 string       `json:"kind"`
	Schedule             string       `json:"schedule"`
	Autoscale            *scaleHints  `json:"autoscale"`
	Storage              storageHints `json:"storage"`
	ServiceType          string       `json:"serviceType"`
	ExternalName         string       `json:"externalName"`
	Headless             *bool        `json:"headless"`
	Ports                portList     `json:"ports"`
	ImagePullSecrets     hintList     `json:"imagePullSecrets"`
	RevisionHistoryLimit *int32       `json:"revisionHistoryLimit"`
	SidecarOf            string       `json:"sidecarOf"`
	Patches              []patchHint  `json:"patches"`
}

// scaleHints are a horizontal autoscaler.
type scaleHints struct {
	Min *int32 `json:"min"`
	Max int32  `json:"max"`
	CPU int32  `json:"cpu"` // percent of the request
}

// storageHints are the size and class of volume claims.
type storageHints struct {
	Size       string `json:"size"`
	Class      string `json:"class"`
	AccessMode string `json:"accessMode"`
}

// patchHint is a strategic merge patch of the service's object of that kind.
type patchHint struct {
	Kind  string         `json:"kind"`
	Patch map[string]any `json:"patch"`
}

// mountHints is x-berth of one entry of a service's volumes.
type mountHints struct {
	As string `json:"as"` // live, snapshot, claim or skip
}

// hintList is a list of strings that may be written as one string.
type hintList []string

// UnmarshalJSON takes a string or a list of strings.
func (l *hintList) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*l = hintList{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(l))
}

// portList is a list of ports, numbers or "53/udp".
type portList []string

// UnmarshalJSON takes a list of numbers and strings.
func (l *portList) UnmarshalJSON(raw []byte) error {
	var items []any
	if err := json.Unmarshal(raw, &items); err != nil {
		return err
	}
	for _, item := range items {
		*l = append(*l, fmt.Sprint(item))
	}
	return nil
}

// HintsOf returns x-berth at the top of a project, zero when there is none.
func HintsOf(p *types.Project, positions Positions) (ProjectHints, error) {
	d := hintDecoder{positions: positions}
	h := d.project(p)
	return h, d.errs.orNil()
}

// project decodes and checks x-berth at the top of a project.
func (d *hintDecoder) project(p *types.Project) ProjectHints {
	var h ProjectHints
	d.decode(extension, p.Extensions[extension], &h)
	d.checkPullSecrets(extension, h.ImagePullSecrets)
	d.choice(extension+".cluster.ingress", h.Cluster.Ingress, "", "ingress-nginx", "traefik", "none")
	return h
}

// hintDecoder decodes x-berth values and collects what is wrong with them.
type hintDecoder struct {
	positions Positions
	errs      Errors
}

// decode fills into, a pointer to a struct, from the value of an x-berth key.
func (d *hintDecoder) decode(path string, raw any, into any) {
	if raw == nil {
		return
	}
	before := len(d.errs)
	d.unknown(path, raw, reflect.TypeOf(into).Elem())
	if len(d.errs) > before {
		return
	}
	text, err := json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &wrong):
		at := path
		if wrong.Field != "" {
			at += "." + wrong.Field
		}
		d.fail(at, fmt.Sprintf("is a %s, must be a %s", wrong.Value, plainKind(wrong.Type)), "")
	default:
		d.fail(path, err.Error(), "")
	}
}

// unknown reports the keys of raw that t has no field for.
func (d *hintDecoder) unknown(path string, raw any, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		values, ok := raw.(map[string]any)
		if !ok {
			if raw != nil {
				d.fail(path, fmt.Sprintf("is %s, must be a mapping", describe(raw)), "")
			}
			return
		}
		fields := map[string]reflect.Type{}
		for i := range t.NumField() {
			fields[t.Field(i).Tag.Get("json")] = t.Field(i).Type
		}
		for _, key := range sortedKeys(values) {
			field, ok := fields[key]
			if !ok {
				d.fail(path+"."+key, "is not a key of "+extension, Suggest(key, sortedKeys(fields)))
				continue
			}
			d.unknown(path+"."+key, values[key], field)
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		items, _ := raw.([]any)
		for i, item := range items {
			d.unknown(fmt.Sprintf("%s[%d]", path, i), item, t.Elem())
		}
	}
}

// choice reports a value that is none of the allowed ones.
func (d *hintDecoder) choice(path, value string, allowed ...string) {
	var named []string
	for _, a := range allowed {
		if value == a {
			return
		}
		if a != "" {
			named = append(named, a)
		}
	}
	d.fail(path, fmt.Sprintf("%q is not one of %s", value, strings.Join(named, ", ")), Suggest(value, named))
}

func (d *hintDecoder) fail(path, what, cure string) {
	r := reporter{positions: d.positions}
	d.errs = append(d.errs, &Error{Position: r.position(path), What: path, Err: errors.New(what), Cure: cure})
}

func plainKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map, reflect.Struct:
		return "mapping"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "number"
}

func describe(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return fmt.Sprintf("%q", fmt.Sprint(v))
}
