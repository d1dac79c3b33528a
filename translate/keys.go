package translate

// This file and keys_*.go say what becomes of every attribute of compose's
// schema when no rule has more to say. Rules report what depends on values or
// facts; the table speaks for the rest, so that nothing is lost in silence. A
// test walks the schema and fails on an attribute without a key.

// verdict is what the report says of an attribute.
type verdict struct {
	status   Status
	done, do string
}

// key is one attribute of the schema, or a group of them.
type key struct {
	path     string // relative: deploy.update_config.delay, volumes[], networks.*
	owned    verdict
	portable verdict
	silent   bool // nothing to say of it: what is below has keys of its own
	deep     bool // what is below has keys of its own
	loaded   bool // used up while the files are read; the typed project lacks it
	zero     bool // a zero value means something
}

func ok(done string) verdict          { return verdict{Exact, done, ""} }
func near(done, do string) verdict    { return verdict{Approximated, done, do} }
func lacks(done, do string) verdict   { return verdict{NeedsCluster, done, do} }
func lost(done, do string) verdict    { return verdict{Dropped, done, do} }
func attr(path string, v verdict) key { return key{path: path, owned: v, portable: v} }

// attrs are attributes of which the same is to be said.
func attrs(v verdict, paths ...string) []key {
	keys := make([]key, 0, len(paths))
	for _, path := range paths {
		keys = append(keys, attr(path, v))
	}
	return keys
}

func group(path string) key { return key{path: path, silent: true, deep: true} }
func loaded(path string, done string) key {
	return key{path: path, owned: ok(done), portable: ok(done), loaded: true}
}
func either(path string, owned, portable verdict) key {
	return key{path: path, owned: owned, portable: portable}
}

// verdict is what the table says for a target.
func (k key) verdict(target TargetKind) verdict {
	if target == Owned {
		return k.owned
	}
	return k.portable
}

func (k key) withBelow() key { k.deep = true; return k }
func (k key) withZero() key  { k.zero = true; return k }

// keyTree is the table by path segments. Entries of lists and mappings with
// free names are the child "*".
type keyTree struct {
	key      *key
	children map[string]*keyTree
}

// keyTrees are the tables of everything a compose file holds.
type keyTrees struct {
	top, service, job, hook, network, volume, secret, config, model *keyTree
}

func newKeyTrees() keyTrees {
	service := [][]key{containerKeys(), workloadKeys(), serviceKeys(), deployKeys()}
	return keyTrees{
		top:     newKeyTree(topKeys()),
		service: newKeyTree(service...),
		job:     newKeyTree(containerKeys(), workloadKeys(), jobKeys()),
		hook:    newKeyTree(containerKeys(), hookKeys()),
		network: newKeyTree(networkKeys()),
		volume:  newKeyTree(volumeKeys()),
		secret:  newKeyTree(fileKeys("Secret")),
		config:  newKeyTree(fileKeys("ConfigMap")),
		model:   newKeyTree(modelKeys()),
	}
}

func newKeyTree(tables ...[]key) *keyTree {
	root := &keyTree{children: map[string]*keyTree{}}
	for _, table := range tables {
		for i := range table {
			at := root
			for _, segment := range segments(table[i].path) {
				next := at.children[segment]
				if next == nil {
					next = &keyTree{children: map[string]*keyTree{}}
					at.children[segment] = next
				}
				at = next
			}
			at.key = &table[i]
		}
	}
	return root
}

// child returns the node of a key or, for "*", of any entry.
func (n *keyTree) child(segment string) *keyTree {
	if c := n.children[segment]; c != nil {
		return c
	}
	return n.children["*"]
}

// segments splits "a.b[].c" and "a.b[3].c" into a, b, *, c.
func segments(path string) []string {
	var out []string
	start := 0
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '.':
			if i > start {
				out = append(out, path[start:i])
			}
			start = i + 1
		case '[':
			if i > start {
				out = append(out, path[start:i])
			}
			out = append(out, "*")
			for i < len(path) && path[i] != ']' {
				i++
			}
			start = i + 1
		}
	}
	if start < len(path) {
		out = append(out, path[start:])
	}
	return out
}

// topKeys are the keys at the top of a compose file that are not tables of
// named things.
func topKeys() []key {
	return []key{
		loaded("version", "ignored, as docker compose does"),
		attr("name", ok("the namespace, and the label com.docker.compose.project of every object")),
		loaded("include", "read while the project is loaded"),
		loaded(extension, "berth's own settings"),
	}
}

// networkKeys are the keys of networks.*.
func networkKeys() []key {
	const noDriver = "the cluster has one network of its own"
	return []key{
		attr("name", near("kept as a label's name where the network is external; else the project's key names it", "")),
		attr("driver", near(noDriver, "")),
		attr("driver_opts", lost(noDriver, "")),
		attr("ipam", lost("the cluster gives out the addresses", "address services by name")),
		attr("external", near("members of all projects that name the network reach each other; nothing checks that it exists", "")),
		either("internal",
			near("a NetworkPolicy that lets members reach each other and DNS only, where the cluster enforces policies", "berth doctor says whether it does"),
			near("a NetworkPolicy that lets members reach each other and DNS only, where the cluster enforces policies", "")),
		attr("enable_ipv4", near("the cluster decides which IP families it has", "")),
		attr("enable_ipv6", lacks("the cluster decides which IP families it has", "create the cluster with IPv6")),
		attr("attachable", ok("any pod may be given the network's label")),
		attr("labels", lost("no object stands for a network alone", "")),
		loaded(extension, "berth's own settings"),
	}
}

// volumeKeys are the keys of volumes.*.
func volumeKeys() []key {
	return []key{
		attr("name", ok("the name of the claim")),
		attr("driver", near("the cluster's storage class makes the volume", "set x-berth.class of the volume")),
		attr("driver_opts", ok("options of the local driver: a bind mount, memory or NFS")),
		attr("external", ok("the claim of that name, which must exist")),
		attr("labels", ok("labels of the claim")),
		loaded(extension, "berth's own settings"),
	}
}

// fileKeys are the keys of secrets.* and configs.*.
func fileKeys(kind string) []key {
	return []key{
		attr("name", near("the object is named after the project's key and its content", "")),
		attr("file", ok("the content of an immutable "+kind)),
		attr("content", ok("the content of an immutable "+kind)),
		attr("environment", ok("the variable's value when the project is read, in an immutable "+kind)),
		attr("external", ok("the "+kind+" of that name, which must exist")),
		attr("labels", ok("annotations of the "+kind)),
		attr("driver", lost("secrets come from files, variables or the cluster", "create the Secret yourself and set external: true")),
		attr("driver_opts", lost("secrets come from files, variables or the cluster", "")),
		attr("template_driver", lost("the content is not a template", "render the file before")),
		loaded(extension, "berth's own settings"),
	}
}

// modelKeys are the keys of models.*.
func modelKeys() []key {
	return []key{
		attr("name", ok("the name services know the model by")),
		attr("model", ok("the value of the services' model variables")),
		attr("context_size", lost("the model runner decides", "docker model configure --context-size")),
		attr("runtime_flags", lost("the model runner decides", "docker model configure")),
		loaded(extension, "berth's own settings"),
	}
}
