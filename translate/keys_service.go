package translate

// serviceKeys are the keys of services alone.
func serviceKeys() []key {
	keys := []key{
		loaded("profiles", "decides whether the service is part of the project"),
		loaded("extends", "read while the project is loaded"),
		loaded(extension, "berth's own settings"),
		attr("restart", ok("the kind of the workload")),
		attr("scale", ok("replicas")).withZero(),
		attr("attach", near("an up that stays leaves out its logs, berth dev shows them", "berth logs SERVICE")),
		attr("container_name", ok("the container's name, and a further name of the service")),
		attr("links[]", ok("a further name of the other service, which is started first")),
		attr("external_links[]", lost("containers outside the project are not in the cluster", "use extra_hosts, or x-berth.serviceType: ExternalName")),
		attr("provider", lost("provider plug-ins are not run: nothing stands for the service", "run what it provides elsewhere and set the variables")),
		attr("pre_start[]", ok("an init container")),
		attr("post_start[]", ok("run after the container's start")),
		attr("pre_stop[]", ok("run before the container's stop")),
		group("develop"),
		either("develop.watch[]", ok("followed by berth dev; nothing of it is in the manifests"), ok("followed by berth dev; nothing of it is in the manifests")),
	}
	return keys
}

// deployKeys are the keys of deploy.
func deployKeys() []key {
	keys := []key{
		group("deploy"),
		attr("deploy.mode", ok("the kind of the workload")),
		attr("deploy.endpoint_mode", ok("an address of its own for the Service, or none for dnsrr")),
		attr("deploy.replicas", ok("replicas")).withZero(),
		attr("deploy.labels", ok("labels and annotations of the workload")),
		group("deploy.resources"),
		group("deploy.resources.limits"),
		attr("deploy.resources.limits.cpus", ok("the CPU limit, with a small request")),
		attr("deploy.resources.limits.memory", ok("the memory limit, with a small request")),
		attr("deploy.resources.limits.pids", lost("the limit is the kubelet's, for all pods of a node", "kubelet --pod-max-pids")),
		group("deploy.resources.reservations"),
		attr("deploy.resources.reservations.cpus", ok("the request of CPU")),
		attr("deploy.resources.reservations.memory", ok("the request of memory")),
		attr("deploy.resources.reservations.generic_resources[]", lacks("asks for an extended resource", "")),
		attr("deploy.resources.reservations.devices[]", lacks("asks for GPUs", "")),
		group("deploy.restart_policy"),
		attr("deploy.restart_policy.condition", ok("the kind of the workload")),
		attr("deploy.restart_policy.delay", lost("the kubelet waits 10 s, then twice as long each time", "")),
		attr("deploy.restart_policy.max_attempts", ok("the number of attempts of a Job")),
		attr("deploy.restart_policy.window", lost("the kubelet decides when a start has succeeded", "")),
		group("deploy.placement"),
		attr("deploy.placement.constraints[]", ok("the nodes that the pods may run on")),
		attr("deploy.placement.preferences[]", ok("spread over the nodes by that label")),
		attr("deploy.placement.max_replicas_per_node", ok("at most one pod a node")),
		group("deploy.update_config"),
		attr("deploy.update_config.parallelism", ok("how many pods are replaced at once")),
		attr("deploy.update_config.delay", near("a new pod must be ready that long before the next is replaced", "")),
		attr("deploy.update_config.failure_action", ok("a failed update stops where it is")),
		attr("deploy.update_config.monitor", near("a new pod must be ready that long before the next is replaced", "")),
		attr("deploy.update_config.max_failure_ratio", lost("an update stops at the first pod that does not become ready", "")),
		attr("deploy.update_config.order", ok("whether new pods start before old ones stop")),
		group("deploy.rollback_config"),
	}
	return append(keys, attrs(near("a rollback is an update to what was before, by the rules of update_config", "berth rollback SERVICE"),
		"deploy.rollback_config.parallelism", "deploy.rollback_config.delay", "deploy.rollback_config.failure_action",
		"deploy.rollback_config.monitor", "deploy.rollback_config.max_failure_ratio", "deploy.rollback_config.order")...)
}

// jobKeys are the keys of jobs alone.
func jobKeys() []key {
	return []key{
		loaded("profiles", "decides whether the job is part of the project"),
		loaded(extension, "berth's own settings"),
		group("triggers"),
		attr("triggers.manual", ok("kubectl create job --from starts it")),
		attr("triggers.schedule[]", ok("a CronJob")).withBelow(),
		group("triggers.schedule[].cron"),
		attr("triggers.schedule[].timezone", ok("the time zone of the CronJob")),
		attr("triggers.schedule[].concurrency", ok("no two runs at once")),
		attr("triggers.schedule[].missed_fires", ok("a missed run is made up for once")),
	}
}
