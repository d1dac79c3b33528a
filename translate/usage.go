package translate

// usage says which of the project's named things some service uses.
type usage map[string]map[string]bool

// has returns whether a thing of a table is used.
func (u usage) has(table string) func(string) bool {
	return func(name string) bool { return u[table][name] }
}

// usage collects what the units use.
func (t *translator) usage() usage {
	out := usage{"networks": {}, "volumes": {}, "secrets": {}, "configs": {}, "models": {}}
	for _, name := range t.usedNetworks {
		out["networks"][name] = true
	}
	for name := range t.mountedBy {
		out["volumes"][name] = true
	}
	for name := range t.files.secrets {
		out["secrets"][name] = true
	}
	for name := range t.files.configs {
		out["configs"][name] = true
	}
	for _, u := range t.units {
		for name := range u.svc.Models {
			out["models"][name] = true
		}
		if u.svc.Build != nil {
			for _, s := range u.svc.Build.Secrets {
				out["secrets"][s.Source] = true
			}
		}
	}
	return out
}
