package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-dev/berth/translate"
)

// Helm writes a chart: a template for every object, and values for what an
// installation usually sets (images, replicas, resources, environment, hosts,
// storage, secrets). With its own values the chart renders the objects as they
// are.
func Helm(dir string, r translate.Result) error {
	c := chart{
		result:   r,
		services: map[string]any{}, volumes: map[string]any{}, secrets: map[string]any{},
		names: map[string]string{}, files: map[string][]byte{},
	}
	if err := c.load(); err != nil {
		return err
	}
	c.addSecrets()
	for _, s := range r.Services {
		c.addService(s)
	}
	for i := range c.objects {
		c.addStorage(c.objects[i])
		c.addNamespace(c.objects[i])
	}
	c.addTemplates()
	c.addChart()
	return WriteFiles(dir, c.files)
}

// A chart is put together object by object: values are taken out of the
// objects, and code that reads them is put in.
type chart struct {
	result  translate.Result
	objects []chartObject
	code    codebook
	files   map[string][]byte

	services, volumes, secrets map[string]any    // the values
	names                      map[string]string // helper that names an object whose name depends on values, by that name
	helpers                    strings.Builder
}

type chartObject struct {
	file  string
	key   objectKey
	value map[string]any
}

// load makes plain values of the objects.
func (c *chart) load() error {
	var all bytes.Buffer
	for _, o := range c.result.Objects() {
		value, err := plain(o)
		if err != nil {
			return err
		}
		c.objects = append(c.objects, chartObject{fileName(o), keyOf(o), value})
		writeYAML(&all, value, 0)
	}
	c.code.mark = "~code~"
	for strings.Contains(all.String(), c.code.mark) {
		c.code.mark = "~" + c.code.mark
	}
	return nil
}

// find returns an object of the translation.
func (c *chart) find(kind, name string) map[string]any {
	for _, o := range c.objects {
		if o.key.kind == kind && o.key.name == name {
			return o.value
		}
	}
	return nil
}

// in is the expression of a value of a service, volume or secret.
func in(section, name string) string {
	return fmt.Sprintf("(index $.Values.%s %q)", section, name)
}

// addNamespace makes the namespace a value, and the Namespace object optional.
func (c *chart) addNamespace(o chartObject) {
	metadata, _ := o.value["metadata"].(map[string]any)
	if o.key.kind == "Namespace" {
		metadata["name"] = c.code.inline("{{ .Values.namespace | quote }}")
		return
	}
	if metadata["namespace"] == c.result.Namespace {
		metadata["namespace"] = c.code.inline("{{ .Values.namespace | quote }}")
	}
	spec, _ := o.value["spec"].(map[string]any)
	switch o.key.kind {
	case "PersistentVolume": // named after the namespace, for it is in none
		metadata["name"] = c.inNamespace(o.key.name)
		if claim, ok := spec["claimRef"].(map[string]any); ok {
			claim["namespace"] = c.code.inline("{{ .Values.namespace | quote }}")
		}
	case "PersistentVolumeClaim":
		if name, ok := spec["volumeName"].(string); ok {
			spec["volumeName"] = c.inNamespace(name)
		}
	}
}

// inNamespace is the name of an object that begins with the namespace.
func (c *chart) inNamespace(name string) any {
	rest, ok := strings.CutPrefix(name, c.result.Namespace+"-")
	if !ok {
		return name
	}
	return c.code.inline(`{{ printf "%%s-%s" .Values.namespace | quote }}`, rest)
}

// addService makes values of what a service's workload and ingress have.
func (c *chart) addService(s translate.Service) {
	if s.Workload == "" {
		return
	}
	values := map[string]any{}
	workload := c.find(s.Kind, s.Workload)
	if workload == nil { // in the pod of another service
		for _, other := range c.result.Services {
			if other.Workload == s.Workload && other.Kind != "" {
				workload = c.find(other.Kind, other.Workload)
			}
		}
	}
	at := in("services", s.Name)
	if spec, ok := workload["spec"].(map[string]any); ok && s.Kind != "" {
		if count, ok := spec["replicas"].(int64); ok {
			values["replicas"] = count
			spec["replicas"] = c.code.inline("{{ %s.replicas }}", at)
		}
	}
	c.addWorkload(workload, s.Container, values, at)
	for _, o := range s.Objects {
		switch key := keyOf(o); {
		case key.kind == "Ingress":
			c.addHosts(c.find(key.kind, key.name), values, at)
		case key.kind == "CronJob" && key.name != s.Workload: // of a further schedule
			c.addWorkload(c.find(key.kind, key.name), s.Container, values, at)
		}
	}
	c.services[s.Name] = values
}

// addWorkload makes values of a service's container in a workload. Its image is
// that of init containers too.
func (c *chart) addWorkload(workload map[string]any, name string, values map[string]any, at string) {
	container := containerOf(workload, name)
	if container == nil {
		return
	}
	image := container["image"]
	c.addContainer(container, values, at)
	first, _ := dig(podSpecOf(workload), "initContainers").([]any)
	for _, item := range first {
		if other, ok := item.(map[string]any); ok && image != nil && other["image"] == image {
			other["image"] = container["image"]
		}
	}
}

// podSpecOf finds the pod in a workload of any kind.
func podSpecOf(workload map[string]any) any {
	if spec := dig(workload, "spec", "template", "spec"); spec != nil {
		return spec
	}
	return dig(workload, "spec", "jobTemplate", "spec", "template", "spec")
}

// containerOf finds a container in a workload of any kind.
func containerOf(workload map[string]any, name string) map[string]any {
	containers, _ := dig(podSpecOf(workload), "containers").([]any)
	for _, item := range containers {
		if container, ok := item.(map[string]any); ok && container["name"] == name {
			return container
		}
	}
	return nil
}

// addContainer makes values of a container's image, resources and environment.
func (c *chart) addContainer(container, values map[string]any, at string) {
	if name, ok := container["image"].(string); ok {
		repository, tag, digest := splitImage(name)
		values["image"] = map[string]any{"repository": repository, "tag": tag, "digest": digest}
		container["image"] = c.code.inline(`{{ include "berth.image" %s.image | quote }}`, at)
	}
	resources, _ := container["resources"].(map[string]any)
	if resources == nil {
		resources = map[string]any{}
	}
	values["resources"] = resources
	container["resources"] = c.code.lines(`{{- with ` + at + `.resources }}
resources: {{- toYaml . | nindent (int (add $INDENT 2)) }}
{{- end }}`)
	list, _ := container["env"].([]any)
	if env, ok := environment(list); ok {
		values["env"] = env
		container["env"] = c.code.lines(`{{- with ` + at + `.env }}
env:
{{- range $name, $value := . }}
- name: {{ $name | quote }}
{{- if ne (toString $value) "" }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}`)
	}
}

// environment makes a mapping of a list of variables. It cannot when the order
// matters or when a value comes from elsewhere.
func environment(list []any) (map[string]any, bool) {
	env := map[string]any{}
	last := ""
	for _, item := range list {
		variable, _ := item.(map[string]any)
		name, _ := variable["name"].(string)
		value, text := variable["value"].(string)
		if name <= last || variable["value"] != nil && !text || variable["valueFrom"] != nil {
			return nil, false
		}
		env[name], last = value, name
	}
	return env, true
}

// addHosts makes values of the hosts of an ingress.
func (c *chart) addHosts(ingress, values map[string]any, at string) {
	rules, _ := dig(ingress, "spec", "rules").([]any)
	var hosts []any
	if known, ok := values["hosts"].([]any); ok {
		hosts = known
	}
	index := map[string]int{}
	for i, host := range hosts {
		if text, ok := host.(string); ok {
			index[text] = i
		}
	}
	expression := func(host string) *code {
		if _, known := index[host]; !known {
			index[host] = len(hosts)
			hosts = append(hosts, host)
		}
		return c.code.inline("{{ index %s.hosts %d | quote }}", at, index[host])
	}
	for _, item := range rules {
		rule, _ := item.(map[string]any)
		if host, ok := rule["host"].(string); ok {
			rule["host"] = expression(host)
		}
	}
	certificates, _ := dig(ingress, "spec", "tls").([]any)
	for _, item := range certificates {
		names, _ := dig(item, "hosts").([]any)
		for i, name := range names {
			if host, ok := name.(string); ok {
				names[i] = expression(host)
			}
		}
	}
	if len(hosts) > 0 {
		values["hosts"] = hosts
	}
}

// addStorage makes values of the size and class of volume claims.
func (c *chart) addStorage(o chartObject) {
	if o.key.kind == "PersistentVolumeClaim" {
		c.addClaim(o.value, o.key.name)
	}
	claims, _ := dig(o.value, "spec", "volumeClaimTemplates").([]any)
	for _, item := range claims {
		claim, _ := item.(map[string]any)
		if name, ok := dig(claim, "metadata", "name").(string); ok {
			c.addClaim(claim, o.key.name+"-"+name)
		}
	}
}

func (c *chart) addClaim(claim map[string]any, name string) {
	spec, _ := claim["spec"].(map[string]any)
	requests, _ := dig(spec, "resources", "requests").(map[string]any)
	size, ok := requests["storage"].(string)
	if !ok || spec["volumeName"] != nil {
		return // bound to a volume that exists
	}
	class, _ := spec["storageClassName"].(string)
	c.volumes[name] = map[string]any{"size": size, "storageClass": class}
	at := in("volumes", name)
	requests["storage"] = c.code.inline("{{ %s.size | quote }}", at)
	spec["storageClassName"] = c.code.lines("{{- with " + at + ".storageClass }}\nstorageClassName: {{ . | quote }}\n{{- end }}")
}

var hashSuffix = regexp.MustCompile(`-[0-9a-f]{8}$`)

// addSecrets makes values of the contents of secrets. Their names depend on
// the content, so that pods are replaced when it changes.
func (c *chart) addSecrets() {
	for _, o := range c.objects {
		data, ok := o.value["data"].(map[string]any)
		if o.key.kind != "Secret" || !ok {
			continue
		}
		name, ok := dig(o.value, "metadata", "annotations", "berth.dev/compose-name").(string)
		if _, taken := c.secrets[name]; !ok || taken {
			name = o.key.name
		}
		content := map[string]any{}
		at := in("secrets", name)
		for key, value := range data {
			encoded, _ := value.(string)
			text, err := base64.StdEncoding.DecodeString(encoded)
			if err == nil && utf8.Valid(text) && !bytes.ContainsRune(text, 0) {
				content[key] = string(text)
				data[key] = c.code.inline("{{ index %s %q | b64enc | quote }}", at, key)
			} else {
				content[key] = encoded
				data[key] = c.code.inline("{{ index %s %q | quote }}", at, key)
			}
		}
		c.secrets[name] = content
		c.addSecretName(o, at, content)
	}
}

func (c *chart) addSecretName(o chartObject, at string, content map[string]any) {
	base := hashSuffix.ReplaceAllString(o.key.name, "")
	if base == o.key.name {
		return
	}
	text, err := json.Marshal(content)
	if err != nil {
		return // a map of strings
	}
	sum := sha256.Sum256(text)
	helper := "berth.name." + o.key.name
	fmt.Fprintf(&c.helpers, `
{{- define %q -}}
{{- $sum := toJson %s | sha256sum -}}
{{- if eq $sum %q -}}%s{{- else -}}%s-{{ trunc 8 $sum }}{{- end -}}
{{- end -}}
`, helper, at, hex.EncodeToString(sum[:]), o.key.name, base)
	c.names[o.key.name] = helper
}

// renamed puts helpers in the place of names that depend on values.
func (c *chart) renamed(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			v[key] = c.renamed(child)
		}
	case []any:
		for i, child := range v {
			v[i] = c.renamed(child)
		}
	case string:
		if helper, ok := c.names[v]; ok {
			return c.code.inline(`{{ include %q $ | quote }}`, helper)
		}
	}
	return value
}

// addTemplates writes the templates.
func (c *chart) addTemplates() {
	for _, o := range c.objects {
		var b bytes.Buffer
		writeYAML(&b, c.renamed(o.value), 0)
		text := c.code.expand(b.String())
		if o.key.kind == "Namespace" {
			text = "{{- if .Values.createNamespace }}\n" + text + "{{- end }}\n"
		}
		c.files["templates/"+o.file] = []byte(text)
	}
	c.files["templates/_helpers.tpl"] = []byte(`{{- define "berth.image" -}}
{{ .repository }}{{ with .tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
` + c.helpers.String())
}

// addChart writes Chart.yaml, values.yaml and the notes.
func (c *chart) addChart() {
	name := c.result.Namespace
	c.files["Chart.yaml"] = yamlOf(map[string]any{
		"apiVersion": "v2", "name": name, "type": "application", "version": "0.1.0", "appVersion": "1",
		"description": fmt.Sprintf("The compose project %s, translated by berth", c.result.Project),
	})
	values := map[string]any{"namespace": c.result.Namespace, "createNamespace": true, "services": c.services}
	if len(c.volumes) > 0 {
		values["volumes"] = c.volumes
	}
	if len(c.secrets) > 0 {
		values["secrets"] = c.secrets
	}
	c.files["values.yaml"] = append([]byte("# Written by berth translate. Put your own values into another file:\n#   helm install "+name+" . -f mine.yaml\n"), yamlOf(values)...)
	var notes strings.Builder
	fmt.Fprintf(&notes, "%s runs in the namespace {{ .Values.namespace }}.\n", c.result.Project)
	for _, s := range slices.Sorted(slices.Values(serviceNames(c.services))) {
		if values, _ := c.services[s].(map[string]any); values["hosts"] != nil {
			fmt.Fprintf(&notes, "{{- range %s.hosts }}\n  http://{{ . }}\n{{- end }}\n", in("services", s))
		}
	}
	c.files["templates/NOTES.txt"] = []byte(notes.String())
}

func serviceNames(services map[string]any) []string {
	names := make([]string, 0, len(services))
	for name := range services {
		names = append(names, name)
	}
	return names
}
