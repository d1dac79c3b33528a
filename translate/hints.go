package translate

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// checkService reports values of a service's hints that cannot be.
func (d *hintDecoder) checkService(path string, h serviceHints, services map[string]*unit) {
	d.choice(path+".kind", h.Kind, "", "deployment", "statefulset", "daemonset", "job", "cronjob")
	d.choice(path+".serviceType", h.ServiceType, "", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
	d.checkStorage(path+".storage", h.Storage)
	if h.Kind == "cronjob" && h.Schedule == "" {
		d.fail(path+".kind", "a cronjob needs a schedule", `add schedule: "*/5 * * * *"`)
	}
	if h.Schedule != "" && h.Kind != "cronjob" {
		d.fail(path+".schedule", "only a cronjob has a schedule", "add kind: cronjob")
	}
	if h.Schedule != "" {
		d.checkSchedule(path+".schedule", h.Schedule)
	}
	if (h.ServiceType == "ExternalName") != (h.ExternalName != "") {
		d.fail(path+".externalName", "serviceType ExternalName and externalName go together", "")
	}
	if h.ExternalName != "" && !isDNSName(strings.TrimSuffix(h.ExternalName, ".")) {
		d.fail(path+".externalName", fmt.Sprintf("%q is no DNS name", h.ExternalName), "")
	}
	for i, host := range h.Host {
		if !isHost(host) {
			d.fail(itemPath(path, "host", i), fmt.Sprintf("%q is no lower case DNS name", host), "")
		}
	}
	if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
		d.fail(path+".path", fmt.Sprintf("%q does not begin with a slash", h.Path), "")
	} else if h.Path != "" && !isPath(h.Path) {
		d.fail(path+".path", fmt.Sprintf("%q is no plain path", h.Path), "write it without //, /./, /../ and %2F")
	}
	if h.Port != nil && (*h.Port < 1 || *h.Port > 65535) {
		d.fail(path+".port", fmt.Sprintf("%d is no port", *h.Port), "")
	}
	if h.TLSSecret != "" && !isDNSName(h.TLSSecret) {
		d.fail(path+".tlsSecret", fmt.Sprintf("%q is no name of a Secret", h.TLSSecret), "")
	}
	d.checkPullSecrets(path, h.ImagePullSecrets)
	for i, p := range h.Ports {
		if _, err := parsePort(p); err != nil {
			d.fail(itemPath(path, "ports", i), err.Error(), "")
		}
	}
	if h.RevisionHistoryLimit != nil && *h.RevisionHistoryLimit < 0 {
		d.fail(path+".revisionHistoryLimit", "is negative", "")
	}
	if h.SidecarOf != "" && services[h.SidecarOf] == nil {
		d.fail(path+".sidecarOf", fmt.Sprintf("there is no service %q", h.SidecarOf), Suggest(h.SidecarOf, sortedKeys(services)))
	}
	d.checkAutoscale(path+".autoscale", h.Autoscale)
}

func (d *hintDecoder) checkAutoscale(path string, h *scaleHints) {
	if h == nil {
		return
	}
	low := int32(1)
	if h.Min != nil {
		low = *h.Min
	}
	if low < 1 {
		d.fail(path+".min", "must be at least 1", "")
	}
	if h.Max < low {
		d.fail(path+".max", fmt.Sprintf("must be at least min, %d", low), "")
	}
	if h.CPU < 0 {
		d.fail(path+".cpu", "is negative", "")
	}
}

func (d *hintDecoder) checkStorage(path string, h storageHints) {
	if h.Size != "" {
		if q, err := resource.ParseQuantity(h.Size); err != nil || q.Sign() <= 0 {
			d.fail(path+".size", fmt.Sprintf("%q is no size", h.Size), "write it as 10Gi")
		}
	}
	if h.Class != "" && !isDNSName(h.Class) {
		d.fail(path+".class", fmt.Sprintf("%q is no name of a StorageClass", h.Class), "")
	}
	d.choice(path+".accessMode", h.AccessMode, "", "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany")
}

// portSpec is a port or range of ports with a protocol, tcp, udp or sctp.
type portSpec struct {
	first, last int
	protocol    string
}

// parsePort reads "80", "53/udp" or "3000-3005/tcp".
func parsePort(s string) (portSpec, error) {
	numbers, protocol, _ := strings.Cut(strings.TrimSpace(s), "/")
	if protocol == "" {
		protocol = "tcp"
	}
	protocol = strings.ToLower(protocol)
	low, high, isRange := strings.Cut(numbers, "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.Atoi(low)
	last, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || first < 1 || last > 65535 || first > last {
		return portSpec{}, fmt.Errorf("%q is no port or range of ports", s)
	}
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return portSpec{}, fmt.Errorf("%q is no protocol", protocol)
	}
	return portSpec{first, last, protocol}, nil
}
