package addon

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/berth-dev/berth/infra/model"
)

// Objects are those of the manifest called name in files, a Go template with
// one value, {{.Image}}.
func Objects(files fs.FS, name, image string) ([]model.Object, error) {
	t, err := template.ParseFS(files, name)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, struct{ Image string }{image}); err != nil {
		return nil, err
	}
	var objects []model.Object
	for _, doc := range strings.Split(text.String(), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, u)
	}
	return objects, nil
}
