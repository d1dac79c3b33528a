package translate

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

func TestWrongHintsAreErrorsThatHelp(t *testing.T) {
	for name, c := range map[string]struct {
		service any
		project any
		want    []string
	}{
		"unknown key":         {service: map[string]any{"hots": "a.example.com"}, want: []string{"compose.yaml:3: services.web.x-berth.hots: is not a key of x-berth", `did you mean "host"?`}},
		"far off":             {service: map[string]any{"zzzzzzzz": 1}, want: []string{"known: autoscale, externalName"}},
		"nested":              {service: map[string]any{"autoscale": map[string]any{"maxx": 2}}, want: []string{"services.web.x-berth.autoscale.maxx", `did you mean "max"?`}},
		"in a list":           {service: map[string]any{"patches": []any{map[string]any{"knd": "x"}}}, want: []string{"services.web.x-berth.patches[0].knd", `did you mean "kind"?`}},
		"no mapping":          {service: "fast", want: []string{`services.web.x-berth: is "fast", must be a mapping`}},
		"wrong type":          {service: map[string]any{"port": "eighty"}, want: []string{"services.web.x-berth.port: is a string, must be a number"}},
		"wrong kind":          {service: map[string]any{"kind": "deploymnt"}, want: []string{`"deploymnt" is not one of deployment, statefulset, daemonset, job, cronjob`, `did you mean "deployment"?`}},
		"cronjob":             {service: map[string]any{"kind": "cronjob"}, want: []string{"a cronjob needs a schedule"}},
		"schedule":            {service: map[string]any{"schedule": "* * *"}, want: []string{"only a cronjob has a schedule", "no cron expression"}},
		"an hour of 99":       {service: map[string]any{"kind": "cronjob", "schedule": "99 99 * * *"}, want: []string{`services.web.x-berth.schedule: "99 99 * * *" is no cron expression of five fields`}},
		"a zone in front":     {service: map[string]any{"kind": "cronjob", "schedule": "TZ=UTC 0 0 * * *"}, want: []string{"names a time zone"}},
		"an address":          {service: map[string]any{"host": "10.0.0.1"}, want: []string{`services.web.x-berth.host[0]: "10.0.0.1" is no lower case DNS name`}},
		"two slashes":         {service: map[string]any{"path": "/a//b"}, want: []string{`services.web.x-berth.path: "/a//b" is no plain path`}},
		"an encoded slash":    {service: map[string]any{"path": "/a%2Fb"}, want: []string{"no plain path"}},
		"size":                {service: map[string]any{"storage": map[string]any{"size": "big"}}, want: []string{`"big" is no size`, "write it as 10Gi"}},
		"host":                {service: map[string]any{"host": "A_B"}, want: []string{`services.web.x-berth.host[0]: "A_B" is no lower case DNS name`}},
		"sidecar":             {service: map[string]any{"sidecarOf": "wbe"}, want: []string{`there is no service "wbe"`, `did you mean "web"?`}},
		"external":            {service: map[string]any{"serviceType": "ExternalName"}, want: []string{"go together"}},
		"max below min":       {service: map[string]any{"autoscale": map[string]any{"min": 3, "max": 2}}, want: []string{"must be at least min, 3"}},
		"port range":          {service: map[string]any{"ports": []any{"80-70"}}, want: []string{`"80-70" is no port or range of ports`}},
		"project":             {project: map[string]any{"cluster": map[string]any{"worker": 3}}, want: []string{"x-berth.cluster.worker", `did you mean "workers"?`}},
		"controller":          {project: map[string]any{"cluster": map[string]any{"ingress": "nginx"}}, want: []string{"ingress-nginx, traefik, none", `did you mean "ingress-nginx"?`}},
		"patch of nothing":    {service: map[string]any{"patches": []any{map[string]any{"kind": "Deploymnet", "patch": map[string]any{}}}}, want: []string{`no object of kind "Deploymnet"`, `did you mean "Deployment"?`}},
		"patch of a field":    {service: map[string]any{"patches": []any{map[string]any{"kind": "Deployment", "patch": map[string]any{"spec": map[string]any{"nonsense": 1}}}}}, want: []string{"services.web.x-berth.patches[0]", "nonsense"}},
		"patch of the name":   {service: map[string]any{"patches": []any{map[string]any{"kind": "Deployment", "patch": map[string]any{"metadata": map[string]any{"name": "x"}}}}}, want: []string{"cannot change the name"}},
		"patch of a selector": {service: map[string]any{"patches": []any{map[string]any{"kind": "Service", "patch": map[string]any{"spec": map[string]any{"selector": map[string]any{"x": "y"}}}}}}, want: []string{"services.web.x-berth.patches[0]: a patch cannot change the selector"}},
		"patch of a label":    {service: map[string]any{"patches": []any{map[string]any{"kind": "Deployment", "patch": map[string]any{"metadata": map[string]any{"labels": map[string]any{labelService: "y"}}}}}}, want: []string{"a patch cannot change the label com.docker.compose.service"}},
		"own sidecar":         {service: map[string]any{"sidecarOf": "web"}, want: []string{"services.web.x-berth.sidecarOf: the service cannot run in a pod of itself"}},
		"kind of a sidecar":   {service: map[string]any{"sidecarOf": "db", "kind": "job", "autoscale": map[string]any{"max": 2}}, want: []string{"x-berth.kind: a sidecar has no workload of its own", "x-berth.autoscale: a sidecar", "set it for db"}},
		"sidecar of nothing":  {service: map[string]any{"sidecarOf": "out"}, want: []string{`nothing of "out" runs in the cluster`}},
		"scaled daemonset":    {service: map[string]any{"kind": "daemonset", "autoscale": map[string]any{"max": 2}}, want: []string{"x-berth.autoscale: a daemonset has one pod on every node"}},
		"host of a cronjob":   {service: map[string]any{"kind": "cronjob", "schedule": "@daily", "host": "a.example.com", "revisionHistoryLimit": 1}, want: []string{"x-berth.host: a cronjob serves no requests", "x-berth.revisionHistoryLimit: a cronjob ends"}},
		"two errors at once":  {service: map[string]any{"kind": "x", "path": "y"}, want: []string{"2 errors", "kind", "does not begin with a slash"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &types.Project{Name: "demo", Services: types.Services{"web": {Name: "web", Extensions: types.Extensions{extension: c.service}}}}
			web := p.Services["web"]
			web.Image = "i"
			p.Services["web"] = web
			p.Services["db"] = types.ServiceConfig{Name: "db"}
			p.Services["out"] = types.ServiceConfig{Name: "out", Extensions: types.Extensions{extension: map[string]any{"serviceType": "ExternalName", "externalName": "a.example.com"}}}
			if c.service == nil {
				p.Services["web"] = types.ServiceConfig{Name: "web"}
			}
			p.Extensions = types.Extensions{extension: c.project}
			_, err := Translate(Input{Project: p, Positions: Positions{"services.web.x-berth": {File: "compose.yaml", Line: 3}}}, Target{Kind: Owned})
			if err == nil {
				t.Fatal("no error")
			}
			var wrong Errors
			if !errors.As(err, &wrong) {
				t.Fatalf("%T: %v", err, err)
			}
			text := wrong.Error() + "\n" + wrong.Hint()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
		})
	}
}

// The JSON schema and the Go types name the same keys.
func TestSchemaOfHintsMatchesTheirTypes(t *testing.T) {
	raw, err := os.ReadFile("../templates/schema/x-berth.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type node struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	var schema struct {
		Defs map[string]node `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{
		"project": ProjectHints{}, "cluster": ClusterHints{}, "service": serviceHints{}, "autoscale": scaleHints{}, "storage": storageHints{}, "mount": mountHints{},
	} {
		var fields []string
		for i := range reflect.TypeOf(value).NumField() {
			fields = append(fields, reflect.TypeOf(value).Field(i).Tag.Get("json"))
		}
		sort.Strings(fields)
		if got := sortedKeys(schema.Defs[name].Properties); !slices.Equal(got, fields) {
			t.Errorf("%s: the schema has %v, the type %v", name, got, fields)
		}
	}
}

func TestWrongSchedulesOfJobsAreErrors(t *testing.T) {
	for cron, want := range map[string]string{
		"* * *":       `compose.yaml:7: jobs.tidy.triggers.schedule[0].cron: "* * *" is no cron expression of five fields`,
		"":            `"" is no cron expression`,
		"TZ=0":        "names a time zone",
		"99 99 * * *": "is no cron expression",
		"0 0 * * *":   `jobs.tidy.triggers.schedule[0].timezone: "Mars/X" is no time zone`,
	} {
		job := types.JobConfig{Name: "tidy", Triggers: &types.TriggerConfig{Schedule: []types.ScheduleConfig{{Cron: cron, Timezone: "Mars/X"}}}}
		job.Image = "i"
		p := &types.Project{Name: "demo", Jobs: types.Jobs{"tidy": job}}
		_, err := Translate(Input{Project: p, Positions: Positions{"jobs.tidy.triggers": {File: "compose.yaml", Line: 7}}}, Target{Kind: Owned})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", cron, err, want)
		}
	}
}
