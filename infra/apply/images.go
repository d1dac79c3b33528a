package apply

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Images lists the images that the project's workloads and pods name, sorted:
// also those of services that have no pods now.
func (p *Project) Images(ctx context.Context) ([]string, error) {
	s, err := p.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return s.images(), nil
}

func (s *snapshot) images() []string {
	named := map[string]bool{}
	add := func(pod corev1.PodSpec) { addImages(named, pod) }
	for _, d := range s.deployments {
		add(d.Spec.Template.Spec)
	}
	for _, d := range s.statefulSets {
		add(d.Spec.Template.Spec)
	}
	for _, d := range s.daemonSets {
		add(d.Spec.Template.Spec)
	}
	for _, j := range s.jobs {
		add(j.Spec.Template.Spec)
	}
	for _, j := range s.cronJobs {
		add(j.Spec.JobTemplate.Spec.Template.Spec)
	}
	for _, pod := range s.pods {
		add(pod.Spec)
	}
	return slices.Sorted(maps.Keys(named))
}

// addImages notes the images that a pod is made of.
func addImages(named map[string]bool, pod corev1.PodSpec) {
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		named[c.Image] = true
	}
	for _, v := range pod.Volumes {
		if v.Image != nil {
			named[v.Image.Reference] = true
		}
	}
	delete(named, "")
}
