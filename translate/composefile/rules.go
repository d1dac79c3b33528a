package composefile

import (
	"strings"
	"sync"
)

// A rule says what is particular to the attributes that a path pattern
// matches. What no rule mentions is merged by compose's general rule: mappings
// key by key, lists appended, of scalars the later one.
type rule struct {
	merge     func(m *merger, base, over *node, rule *rule, p *attribute) *node // how the values of two files become one
	key       func(n *node) string                                              // what may be in a list only once; the last one wins
	cast      func(text string) (any, error)                                    // the type that text becomes
	canonical func(c *canon, n *node, p *attribute) *node                       // from the short form to the long one
	complete  func(n *node)                                                     // default values of the long form
	resolve   func(d directory, n *node)                                        // relative paths to absolute ones
	check     func(r *reader, n *node, p *attribute)                            // what the schema cannot say
	keyed     bool                                                              // a list of KEY=value whose entries have positions of their own
	named     bool                                                              // keys are names that the user chose, not attributes
	below     map[string]*rule                                                  // by key; "*" is any key or list item
}

// child is the rule of an entry; nil means that nothing below is particular.
func (r *rule) child(key string) *rule {
	if r == nil {
		return nil
	}
	if c := r.below[key]; c != nil {
		return c
	}
	return r.below["*"]
}

// at returns the rule of a pattern, made when it is not there.
func (r *rule) at(pattern string) *rule {
	for _, key := range strings.Split(pattern, ".") {
		next := r.below[key]
		if next == nil {
			next = &rule{}
			if r.below == nil {
				r.below = map[string]*rule{}
			}
			r.below[key] = next
		}
		r = next
	}
	return r
}

// set changes the rules of patterns, which spaces separate.
func (r *rule) set(patterns string, change func(*rule)) {
	for _, pattern := range strings.Fields(patterns) {
		change(r.at(pattern))
	}
}

// composeRules are the rules of the compose specification. The table never
// changes once made.
var composeRules = sync.OnceValue(func() *rule {
	root := &rule{}
	for _, container := range []string{"services.*", "jobs.*", "services.*.pre_start.*"} {
		containerRules(root.at(container))
	}
	for _, workload := range []string{"services.*", "jobs.*"} {
		workloadForms(root.at(workload))
		workloadMerges(root.at(workload))
	}
	serviceRules(root.at("services.*"))
	resourceRules(root)
	return root
})

// containerRules hold wherever a container is declared.
func containerRules(r *rule) {
	r.set("label_file", func(x *rule) { x.canonical = canonList })
	r.set("networks models", func(x *rule) { x.canonical = canonSet })
	r.set("secrets.* configs.*", func(x *rule) { x.canonical = canonFileMount })
	r.set("env_file", func(x *rule) { x.canonical = canonEnvFile })
	r.set("gpus", func(x *rule) { x.canonical = canonGPUs })
	r.set("volumes.*", func(x *rule) { x.canonical = canonVolume; x.resolve = directory.mount })
	r.set("dns", func(x *rule) { x.canonical = canonDNS })
	r.set("devices.*", func(x *rule) { x.canonical = canonDevice })
	r.set("ulimits.*", func(x *rule) { x.canonical = canonUlimit; x.cast = toInt })

	r.set("cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares oom_score_adj pids_limit", func(x *rule) { x.cast = toInt64 })
	r.set("ulimits.*.hard ulimits.*.soft", func(x *rule) { x.cast = toInt })
	r.set("init networks.*.use_service_name_alias oom_kill_disable privileged read_only volumes.*.read_only volumes.*.volume.nocopy",
		func(x *rule) { x.cast = toBool })
	r.set("cpu_percent", func(x *rule) { x.cast = toFloat })
	r.set("cpus", func(x *rule) { x.cast = toFloat32 })
	r.set("umask", func(x *rule) { x.cast = toUmask })

	r.set("env_file.*.path label_file.*", func(x *rule) { x.resolve = directory.file })
	r.set("environment labels annotations sysctls extra_hosts", func(x *rule) { x.keyed, x.named = true, true })
	r.set("networks models ulimits storage_opt", func(x *rule) { x.named = true })
}

// workloadForms are the long forms, types and defaults of services and jobs.
func workloadForms(r *rule) {
	r.set("build", func(x *rule) { x.canonical = canonBuild; x.complete = completeBuild })
	r.set("build.secrets.*", func(x *rule) { x.canonical = canonFileMount })
	r.set("build.provenance build.sbom", func(x *rule) { x.canonical = canonText })
	r.set("build.additional_contexts", func(x *rule) { x.canonical = canonKeyValue })
	r.set("build.ssh", func(x *rule) { x.canonical = canonSSH })
	r.set("build.ulimits.*", func(x *rule) { x.canonical = canonUlimit })
	r.set("depends_on", func(x *rule) { x.canonical = canonDependsOn })
	r.set("ports", func(x *rule) { x.canonical = canonPorts })

	r.set("depends_on.*.required depends_on.*.restart healthcheck.disable stdin_open tty", func(x *rule) { x.cast = toBool })
	r.set("healthcheck.retries ports.*.target", func(x *rule) { x.cast = toInt })

	r.set("build.context build.additional_contexts.*", func(x *rule) { x.resolve = directory.context })
	r.set("build.ssh.*", func(x *rule) { x.resolve = directory.maybeUnix })

	r.set("secrets.*", func(x *rule) { x.complete = completeSecret })
	r.set("ports.*", func(x *rule) { x.complete = completePort; x.check = checkHostIP })
	r.set("gpus.*", func(x *rule) { x.complete = completeDevices; x.check = checkDevices })
	r.set("volumes.*.bind", func(x *rule) { x.complete = completeBind })
	r.set("build.args build.labels build.extra_hosts", func(x *rule) { x.keyed, x.named = true, true })
	r.set("build.additional_contexts build.ssh build.ulimits depends_on logging.options", func(x *rule) { x.named = true })
}

// workloadMerges say how attributes of services and jobs are merged.
func workloadMerges(r *rule) {
	r.set("annotations build.args build.additional_contexts build.labels environment labels sysctls", func(x *rule) { x.merge = mergeKeyValues })
	r.set("build.extra_hosts dns dns_opt dns_search env_file label_file extra_hosts tmpfs", func(x *rule) { x.merge = mergeLists })
	r.set("command entrypoint healthcheck.test", func(x *rule) { x.merge = replace })
	r.set("models networks", func(x *rule) { x.merge = mergeSets })
	r.set("depends_on", func(x *rule) { x.merge = mergeDependsOn })
	r.set("build", func(x *rule) { x.merge = mergeBuild })
	r.set("logging", func(x *rule) { x.merge = mergeLogging })
	r.set("ulimits.*", func(x *rule) { x.merge = mergeUlimit })
}

// serviceRules hold for services alone.
func serviceRules(r *rule) {
	r.set("deploy.labels", func(x *rule) { x.merge = mergeKeyValues; x.keyed, x.named = true, true })
	r.set("deploy.replicas deploy.update_config.parallelism deploy.rollback_config.parallelism scale"+
		" deploy.restart_policy.max_attempts deploy.placement.max_replicas_per_node", func(x *rule) { x.cast = toInt })
	r.set("deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio", func(x *rule) { x.cast = toFloat })
	r.set("deploy.resources.reservations.devices.*", func(x *rule) { x.complete = completeDevices; x.check = checkDevices })
	r.set("develop.watch.*.ignore develop.watch.*.include", func(x *rule) { x.canonical = canonList })
	r.set("develop.watch.*.path", func(x *rule) { x.resolve = directory.link; x.check = checkNotBlank })

	r.set("annotations build.args build.additional_contexts build.platform build.tags build.labels cap_add cap_drop deploy.labels"+
		" dns dns_opt dns_search environment labels links networks.*.aliases networks.*.link_local_ips profiles sysctls tmpfs",
		func(x *rule) { x.key = keyOfPair })
	r.set("volumes", func(x *rule) { x.key = keyOfVolume })
	r.set("devices", func(x *rule) { x.key = keyOfDevice })
	r.set("configs", func(x *rule) { x.key = keyOfMount("") })
	r.set("secrets", func(x *rule) { x.key = keyOfMount("/run/secrets") })
	r.set("env_file", func(x *rule) { x.key = keyOfEnvFile })
	r.set("expose", func(x *rule) { x.key = keyOfScalar })
	r.set("ports", func(x *rule) { x.key = keyOfPort })
}

// resourceRules hold for the other top-level sections.
func resourceRules(root *rule) {
	for _, section := range []string{"networks.*", "volumes.*", "secrets.*", "configs.*"} {
		r := root.at(section)
		r.canonical = canonExternal
		r.set("labels", func(x *rule) { x.merge = mergeKeyValues; x.keyed, x.named = true, true })
		r.set("driver_opts", func(x *rule) { x.named = true })
		r.set("external", func(x *rule) { x.cast = toBool })
	}
	for _, section := range sections {
		root.at(section).named = true
	}
	networks := root.at("networks.*")
	networks.set("internal attachable enable_ipv4 enable_ipv6", func(x *rule) { x.cast = toBool })
	networks.set("ipam.config", func(x *rule) { x.merge = mergeIPAM })
	networks.set("labels ipam.options", func(x *rule) { x.key = keyOfPair })
	root.set("volumes.*", func(x *rule) { x.resolve = directory.volume; x.check = checkVolume })
	root.set("configs.*.file secrets.*.file", func(x *rule) { x.resolve = directory.maybeUnix })
	root.set("configs.*", func(x *rule) { x.check = checkOneOf("file", "environment", "content") })
	root.set("secrets.*", func(x *rule) { x.check = checkOneOf("file", "environment") })
	root.set("jobs.*.triggers.schedule.*", func(x *rule) { x.canonical = canonSchedule })
}
