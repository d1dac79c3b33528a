package translate

import (
	"fmt"
	"math"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Requests of a container that has limits and no reservations. Without them
// Kubernetes would reserve as much as the limit, and a laptop is soon full.
const (
	smallCPU    = 10       // thousandths
	smallMemory = 16 << 20 // bytes
)

// maxCPUs bounds numbers of CPUs.
const maxCPUs = 1e6

const gpuResource = "nvidia.com/gpu"

// resources returns limits and requests of a container.
func (t *translator) resources(s scope) corev1.ResourceRequirements {
	limits, requests := corev1.ResourceList{}, corev1.ResourceList{}
	cpuLimit, memoryLimit := t.limits(s)
	cpuRequest, memoryRequest := t.reservations(s)
	if cpuLimit > 0 {
		limits[corev1.ResourceCPU] = *resource.NewMilliQuantity(cpuLimit, resource.DecimalSI)
		if cpuRequest == 0 || cpuRequest > cpuLimit {
			cpuRequest = min(cpuLimit, max(cpuRequest, smallCPU))
		}
	}
	if memoryLimit > 0 {
		limits[corev1.ResourceMemory] = *resource.NewQuantity(memoryLimit, resource.BinarySI)
		if memoryRequest == 0 || memoryRequest > memoryLimit {
			memoryRequest = min(memoryLimit, max(memoryRequest, smallMemory))
		}
	}
	if cpuRequest == 0 && s.unit.host.hints.Autoscale != nil {
		cpuRequest = 100 // an autoscaler measures against the requests of all containers of a pod
	}
	if cpuRequest > 0 {
		requests[corev1.ResourceCPU] = *resource.NewMilliQuantity(cpuRequest, resource.DecimalSI)
	}
	if memoryRequest > 0 {
		requests[corev1.ResourceMemory] = *resource.NewQuantity(memoryRequest, resource.BinarySI)
	}
	t.storageLimit(s, limits)
	t.devices(s, limits, requests)
	out := corev1.ResourceRequirements{}
	if len(limits) > 0 {
		out.Limits = limits
	}
	if len(requests) > 0 {
		out.Requests = requests
	}
	return out
}

// limits returns the CPU limit in thousandths and the memory limit in bytes,
// 0 for none. deploy wins over the older attributes, as in docker compose.
func (t *translator) limits(s scope) (cpu, memory int64) {
	cpu = milli(float64(s.spec.CPUS))
	memory = int64(s.spec.MemLimit)
	if s.spec.CPUQuota > 0 && cpu == 0 {
		period := s.spec.CPUPeriod
		if period <= 0 {
			period = 100_000
		}
		cpu = min(max(1, min(s.spec.CPUQuota, math.MaxInt64/1000)*1000/period), maxCPUs*1000)
	} else if s.spec.CPUPeriod > 0 && s.spec.CPUQuota <= 0 {
		t.report.dropped(s.path+".cpu_period", "limits nothing without cpu_quota", "")
	}
	if r := deployResources(s); r != nil && r.Limits != nil {
		if r.Limits.NanoCPUs > 0 {
			cpu = milli(float64(r.Limits.NanoCPUs))
		}
		if r.Limits.MemoryBytes > 0 {
			memory = int64(r.Limits.MemoryBytes)
		}
	}
	return max(cpu, 0), max(memory, 0)
}

// reservations returns what is set aside, as limits does.
func (t *translator) reservations(s scope) (cpu, memory int64) {
	if s.spec.CPUShares > 0 {
		cpu = min(max(1, min(s.spec.CPUShares, math.MaxInt64/1000)*1000/1024), maxCPUs*1000)
	}
	memory = int64(s.spec.MemReservation)
	if r := deployResources(s); r != nil && r.Reservations != nil {
		if r.Reservations.NanoCPUs > 0 {
			cpu = milli(float64(r.Reservations.NanoCPUs))
		}
		if r.Reservations.MemoryBytes > 0 {
			memory = int64(r.Reservations.MemoryBytes)
		}
	}
	return max(cpu, 0), max(memory, 0)
}

// deployResources are deploy.resources of the service itself, nil for a hook.
func deployResources(s scope) *types.Resources {
	if s.unit.svc.Deploy == nil || s.spec != &s.unit.svc.ContainerSpec {
		return nil
	}
	return &s.unit.svc.Deploy.Resources
}

// milli returns a number of CPUs in thousandths, at least one when positive.
func milli(cpus float64) int64 {
	if cpus <= 0 || math.IsNaN(cpus) {
		return 0
	}
	return max(1, int64(math.Round(min(cpus, maxCPUs)*1000)))
}

// storageLimit reads storage_opt.size.
func (t *translator) storageLimit(s scope, limits corev1.ResourceList) {
	for _, key := range sortedKeys(s.spec.StorageOpt) {
		path := s.path + ".storage_opt." + key
		if key != "size" {
			t.report.dropped(path, "has no counterpart in a pod", "")
			continue
		}
		bytes, err := parseBytes(s.spec.StorageOpt[key])
		if err != nil || bytes <= 0 {
			t.report.dropped(path, fmt.Sprintf("%q is no size", s.spec.StorageOpt[key]), "")
			continue
		}
		limits[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
}

// parseBytes reads "10g", "512m", "64MiB" or a number of bytes.
func parseBytes(s string) (int64, error) {
	var b types.UnitBytes
	if err := b.DecodeMapstructure(strings.TrimSpace(s)); err != nil {
		return 0, err
	}
	return int64(b), nil
}

// devices adds GPUs and generic resources.
func (t *translator) devices(s scope, limits, requests corev1.ResourceList) {
	gpus := int64(0)
	for i, d := range s.spec.Gpus {
		gpus += t.gpus(itemPath(s.path, "gpus", i), d, true)
	}
	if r := deployResources(s); r != nil && r.Reservations != nil {
		base := s.path + ".deploy.resources.reservations"
		for i, d := range r.Reservations.Devices {
			gpus += t.gpus(itemPath(base, "devices", i), d, false)
		}
		for i, g := range r.Reservations.GenericResources {
			path := itemPath(base, "generic_resources", i)
			spec := g.DiscreteResourceSpec
			if spec == nil || spec.Kind == "" || spec.Value <= 0 {
				t.report.dropped(path, "names no resource", "")
				continue
			}
			name := corev1.ResourceName("berth.dev/" + strings.ToLower(LabelValue(spec.Kind)))
			limits[name] = *resource.NewQuantity(spec.Value, resource.DecimalSI)
			requests[name] = *resource.NewQuantity(spec.Value, resource.DecimalSI)
			t.report.needsCluster(path, fmt.Sprintf("asks for %d of the extended resource %s; a pod waits until a node offers it", spec.Value, name),
				"offer it with a device plug-in, or patch the nodes' capacity")
		}
	}
	if gpus > 0 {
		limits[gpuResource] = *resource.NewQuantity(gpus, resource.DecimalSI)
	}
}

// gpus returns how many GPUs a device request asks for.
func (t *translator) gpus(path string, d types.DeviceRequest, always bool) int64 {
	gpu := always
	for _, c := range d.Capabilities {
		gpu = gpu || strings.Contains(c, "gpu") || strings.Contains(c, "nvidia")
	}
	if !gpu {
		t.report.dropped(path, "only GPUs can be asked of a node", "")
		return 0
	}
	cure := "install the NVIDIA device plug-in on a cluster with GPUs"
	if d.Driver != "" && d.Driver != "nvidia" {
		t.report.needsCluster(path, fmt.Sprintf("asks for %s, not for a device of driver %q", gpuResource, d.Driver), cure)
	}
	switch {
	case len(d.IDs) > 0:
		t.report.needsCluster(path, fmt.Sprintf("asks for %d GPUs, of any id; a pod waits until a node offers them", len(d.IDs)), cure)
		return int64(len(d.IDs))
	case d.Count < 0, d.Count == 0:
		t.report.needsCluster(path, "asks for 1 GPU: a pod cannot ask for all of a node; it waits until a node offers one", cure)
		return 1
	}
	t.report.needsCluster(path, fmt.Sprintf("asks for %d GPUs; a pod waits until a node offers them", d.Count), cure)
	return int64(d.Count)
}
