package translate

import "slices"

// containerKeys are the keys that services, jobs and pre_start hooks share.
func containerKeys() []key {
	keys := []key{
		attr("annotations", ok("annotations of the pods")),
		attr("cap_add", ok("capabilities of the container")),
		attr("cap_drop", ok("capabilities of the container")),
		attr("cgroup", lost("the container runtime decides", "")),
		attr("cgroup_parent", lost("the kubelet decides", "")),
		attr("command", ok("args of the container")),
		attr("configs[]", ok("a file from a ConfigMap")),
		attr("cpu_period", ok("part of the CPU limit, with cpu_quota")),
		attr("cpu_quota", ok("the CPU limit")),
		attr("cpu_shares", near("requests of CPU, in parts of 1024", "")),
		attr("cpus", ok("the CPU limit, with a small request")),
		attr("cpuset", lost("the kubelet's CPU manager decides", "")),
		attr("devices[]", near("the node's device, in a privileged container", "")),
		attr("dns", near("further servers of the pods", "")),
		attr("dns_opt", ok("options of the pods' resolver")),
		attr("dns_search", near("search domains of the pods, after the cluster's own", "")),
		attr("domainname", near("the subdomain of the pods", "")),
		attr("entrypoint", ok("command of the container")),
		loaded("env_file", "read while the project is loaded; environment wins"),
		loaded("label_file", "read while the project is loaded; labels win"),
		attr("environment", ok("variables of the container")),
		attr("extra_hosts", ok("hostAliases of the pods")),
		attr("gpus[]", lacks("asks for GPUs", "")),
		attr("group_add[]", ok("supplementalGroups of the pods")),
		attr("hostname", ok("the pods' host name")),
	}
	return slices.Concat(keys, moreContainerKeys(), mountKeys(),
		attrs(lost("pods have nothing like it", ""), "blkio_config", "cpu_rt_period", "cpu_rt_runtime", "device_cgroup_rules"),
		attrs(lost("Windows only", "set cpus"), "cpu_count", "cpu_percent"),
		attrs(lost("Windows only", ""), "credential_spec", "isolation"),
		attrs(lost("the cluster gives out the addresses", "address the service by name"), "networks.*.ipv4_address", "networks.*.ipv6_address", "networks.*.link_local_ips"),
		attrs(lost("the cluster's network decides", ""), "mac_address", "networks.*.mac_address"),
		attrs(lost("a pod has one network", ""), "networks.*.priority", "networks.*.gw_priority"),
	)
}

// moreContainerKeys are the second half of them, in the order of the alphabet.
func moreContainerKeys() []key {
	return []key{
		attr("image", ok("the image of the container")),
		attr("init", near("the pod's own first process reaps zombies", "")),
		attr("ipc", ok("the pod's own")),
		attr("labels", ok("annotations of the pods, and labels where Kubernetes takes the value")),
		group("logging"),
		attr("logging.driver", near("the kubelet keeps the logs; the driver's name is an annotation", "berth logs")),
		attr("logging.options", lost("the kubelet keeps and rotates the logs", "berth logs")),
		attr("mem_limit", ok("the memory limit, with a small request")),
		attr("mem_reservation", ok("the request of memory")),
		attr("mem_swappiness", lost("the kubelet decides about swap", "")).withZero(),
		attr("memswap_limit", lost("the kubelet decides about swap", "")),
		attr("network_mode", ok("the pod's network")),
		attr("models.*", near("variables that lead to the host's model runner", "")),
		attr("networks.*", ok("a member of the network")).withBelow(),
		attr("networks.*.aliases", ok("further names of the service")),
		attr("networks.*.interface_name", lost("a pod has one interface, eth0", "")),
		attr("networks.*.driver_opts", lost("the cluster has one network of its own", "")),
		either("networks.*.use_service_name_alias",
			near("without it the name is missing in the network's DNS zone, where the cluster serves zones", ""),
			near("the service's name resolves all the same", "")),
		attr("oom_kill_disable", lost("the kernel and the kubelet decide", "")),
		attr("oom_score_adj", lost("the kubelet sets it by quality of service", "set mem_reservation")),
		attr("pid", ok("the pod's own processes")),
		attr("pids_limit", lost("the limit is the kubelet's, for all pods of a node", "kubelet --pod-max-pids")),
		attr("platform", ok("runs on nodes of that platform, and builds for it")),
		attr("privileged", ok("a privileged container")),
		attr("pull_policy", ok("imagePullPolicy")),
		attr("pull_refresh_after", near("the image is refreshed when berth pulls", "berth pull")),
		attr("read_only", ok("readOnlyRootFilesystem")),
		attr("runtime", ok("the default runtime of the nodes")),
		attr("security_opt[]", ok("the container's security context")),
		attr("shm_size", ok("memory at /dev/shm")),
		attr("secrets[]", ok("a file from a Secret")),
		attr("sysctls", ok("kernel parameters of the pods")),
		attr("stop_grace_period", ok("terminationGracePeriodSeconds")),
		either("stop_signal", ok("the container's stop signal"), ok("SIGTERM, the default")),
		attr("storage_opt", ok("a limit of ephemeral storage")),
		attr("tmpfs[]", ok("memory, mounted")),
		attr("ulimits", lost("the nodes' defaults hold: pods have no limits of their own", "ulimit in the image's entrypoint, as far as the hard limits allow")),
		attr("umask", lost("the image's own umask holds", "umask in the image's entrypoint")),
		attr("use_api_socket", near("the engine's socket of the host", "")),
		attr("user", ok("runAsUser and runAsGroup")),
		attr("uts", lost("a pod has a host name of its own, unless its network is the node's", "")),
		attr("userns_mode", ok("pods have the host's user namespace by default")),
		attr("volumes_from[]", ok("the other service's volumes, mounted at the same places")),
		attr("working_dir", ok("workingDir")),
	}
}

// mountKeys are the keys of an entry of volumes.
func mountKeys() []key {
	return []key{
		attr("volumes[]", ok("mounted")).withBelow(),
		group("volumes[].type"), group("volumes[].source"), group("volumes[].target"), group("volumes[].read_only"),
		attr("volumes[].consistency", ok("nothing: it never had an effect on Linux")),
		group("volumes[].bind"),
		attr("volumes[].bind.propagation", ok("mountPropagation")),
		either("volumes[].bind.create_host_path", ok("the kind of the host path: it must exist, or is made"), near("nothing: the pod does not see the host's path", "")),
		attr("volumes[].bind.recursive", near("mounts below are shown; read-only ones stay so where the nodes can", "")),
		attr("volumes[].bind.selinux", ok("nothing: the nodes relabel volumes themselves")),
		group("volumes[].volume"),
		attr("volumes[].volume.labels", ok("labels of the claim")),
		attr("volumes[].volume.nocopy", ok("not filled from the image")),
		attr("volumes[].volume.subpath", ok("subPath of the mount")),
		group("volumes[].tmpfs"),
		attr("volumes[].tmpfs.size", ok("the limit of the memory")),
		attr("volumes[].tmpfs.mode", ok("open to every user of the container, as by default")),
		group("volumes[].image"),
		attr("volumes[].image.subpath", ok("subPath of the mount")),
	}
}

// hookKeys are the keys of pre_start hooks, and what differs there: a hook
// runs in the service's pod and shares what is the pod's.
func hookKeys() []key {
	return append(attrs(near("the hook runs in the service's pod and has what that has", ""),
		"annotations", "labels", "dns", "dns_opt", "dns_search", "domainname", "extra_hosts", "group_add", "hostname", "ipc", "network_mode", "networks.*", "pid",
		"platform", "runtime", "stop_grace_period", "stop_signal", "sysctls", "uts", "init", "logging.driver",
	), attr("per_replica", ok("runs before every pod")))
}

// workloadKeys are the keys that services and jobs share.
func workloadKeys() []key {
	keys := []key{
		group("build"),
		attr("depends_on.*", ok("berth up waits for it")).withBelow(),
		group("depends_on.*.condition"),
		attr("depends_on.*.restart", ok("pods roll when those of the dependency do")),
		group("depends_on.*.required"), // a rule speaks of false
		group("healthcheck"),
		attr("healthcheck.disable", ok("no probe, not even the image's")),
		attr("healthcheck.test", ok("readiness and startup probe; nothing restarts an unhealthy container, as in Docker")),
		attr("healthcheck.interval", ok("the period of the readiness probe")),
		attr("healthcheck.timeout", ok("the timeout of the probes, in whole seconds")),
		attr("healthcheck.retries", ok("the failure threshold of the readiness probe")),
		attr("healthcheck.start_period", ok("the startup probe, which asks often and never kills")),
		attr("healthcheck.start_interval", ok("the period of the startup probe")),
		attr("ports[]", ok("a port of the Service")).withBelow(),
		group("ports[].target"), group("ports[].published"), group("ports[].protocol"),
		attr("ports[].name", ok("the name of the port")),
		attr("ports[].host_ip", ok("the host's address that the port is published on")),
		group("ports[].mode"), // a rule speaks of host
		attr("ports[].app_protocol", ok("appProtocol of the Service's port")),
		attr("expose", ok("ports of the Service")),
		attr("stdin_open", ok("stdin of the container")),
		attr("tty", ok("tty of the container")),
	}
	for i := range keys {
		switch keys[i].path {
		case "depends_on.*":
			keys[i].portable = lacks("a manifest has no order: the container starts at once and is started again until its dependency answers", "berth up --context")
		case "ports[].host_ip":
			keys[i].portable = near("a cluster publishes on addresses of its own", "")
		}
	}
	return append(append(keys, attrs(ok("passed to the image builder"),
		"build.context", "build.dockerfile", "build.dockerfile_inline", "build.entitlements", "build.args", "build.ssh", "build.labels", "build.cache_from",
		"build.cache_to", "build.no_cache", "build.no_cache_filter", "build.additional_contexts", "build.network", "build.pull",
		"build.target", "build.shm_size", "build.extra_hosts", "build.privileged", "build.secrets", "build.tags", "build.ulimits", "build.platforms",
	)...), attr("build.provenance", ok("made by berth build, for who pulls the image; what runs is built without")),
		attr("build.sbom", ok("made by berth build, for who pulls the image; what runs is built without")), attr("build.isolation", lost("Windows only", "")))
}
