package image

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"github.com/berth-dev/berth/infra/problem"
)

// FullName is the name that nodes know an image by, and that the kubelet makes
// of what a pod names: docker.io/library/redis:latest for redis.
func FullName(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", nameProblem(ref, err)
	}
	return named.String(), nil
}

func nameProblem(ref string, err error) error {
	return problem.New(fmt.Sprintf("image name %q", ref), err, "write [HOST/]NAME[:TAG], the name in lower case")
}

// RegistryOf is the registry of an image: docker.io where its name has none.
func RegistryOf(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", nameProblem(ref, err)
	}
	return reference.Domain(named), nil
}

// repository is a name without its tag or digest.
func repository(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		name = name[:at]
	}
	return name
}

// tagOf is the tag of a name, or "".
func tagOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		return name[at+1:]
	}
	return ""
}

// isID reports whether a reference is an image ID rather than a name.
func isID(ref string) bool { return strings.HasPrefix(ref, "sha256:") }
