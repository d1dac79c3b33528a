package names

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/infra/model"
)

func TestZoneHoldsWhatEachNamespaceHas(t *testing.T) {
	all := func(string) bool { return true }
	z := zone{serial: 1}
	z = z.with("shop", []model.Name{
		{FQDN: "db.back.shop." + Zone, KubeService: "db"},
		{FQDN: "DB_Main.back.shop." + Zone, KubeService: "db"},
		{FQDN: "web.front.shop." + Zone, KubeService: "web"},
	}, all)
	z = z.with("vote", []model.Name{{FQDN: "my.redis.default.vote." + Zone, KubeService: "redis"}}, all)
	want := strings.Join([]string{
		"berth.internal. 5 IN SOA ns.berth.internal. berth.berth.internal. 3 60 60 3600 1",
		"berth.internal. 5 IN NS ns.berth.internal.",
		`serial.berth.internal. 0 IN TXT "3"`,
		"db.back.shop.berth.internal. 5 IN CNAME db.shop.svc.cluster.local.",
		"db_main.back.shop.berth.internal. 5 IN CNAME db.shop.svc.cluster.local.",
		"my.redis.default.vote.berth.internal. 5 IN CNAME redis.vote.svc.cluster.local.",
		"web.front.shop.berth.internal. 5 IN CNAME web.shop.svc.cluster.local.",
	}, "\n") + "\n"
	if got := z.String(); got != want {
		t.Errorf("the zone is\n%s\nwant\n%s", got, want)
	}
	if again := parseZone(want); again.String() != want {
		t.Errorf("read back it is\n%s", again)
	}

	cases := map[string]struct {
		namespace string
		names     []model.Name
		exists    func(string) bool
		serial    uint32
		records   string
	}{
		"the same names are no change": {"vote", []model.Name{{FQDN: "my.redis.default.vote." + Zone, KubeService: "redis"}}, all, 3, "db db_main my web"},
		"a namespace without names":    {"shop", nil, all, 4, "my"},
		"one that is gone is forgotten": {"shop", []model.Name{{FQDN: "db.back.shop." + Zone, KubeService: "db"}},
			func(n string) bool { return n != "vote" }, 4, "db"},
		"names that differ in case only are one": {"shop", []model.Name{
			{FQDN: "db.back.shop." + Zone, KubeService: "db"}, {FQDN: "DB.back.shop." + Zone, KubeService: "other"},
		}, all, 4, "db my"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := z.with(c.namespace, c.names, c.exists)
			var first []string
			for _, r := range got.records {
				label, _, _ := strings.Cut(r, ".")
				first = append(first, label)
			}
			if text := strings.Join(first, " "); text != c.records || got.serial != c.serial {
				t.Errorf("serial %d, records of %q, want %d, %q", got.serial, text, c.serial, c.records)
			}
		})
	}
}

func TestNamesOfRemovedServicesAreForgotten(t *testing.T) {
	z := zone{serial: 1}.with("shop", []model.Name{
		{FQDN: "db.back.shop." + Zone, KubeService: "db"}, {FQDN: "main.back.shop." + Zone, KubeService: "db"}, {FQDN: "web-db.back.shop." + Zone, KubeService: "web-db"},
	}, func(string) bool { return true })
	left := z.without("shop", []string{"db", "other"})
	if got := strings.Join(left.records, "\n"); got != "web-db.back.shop.berth.internal. 5 IN CNAME web-db.shop.svc.cluster.local." || left.serial != z.serial+1 {
		t.Errorf("serial %d\n%s", left.serial, got)
	}
	if same := left.without("vote", []string{"web-db"}); same.serial != left.serial {
		t.Errorf("another namespace's: serial %d, was %d", same.serial, left.serial)
	}
}

func TestCorefileIsConfiguredOnce(t *testing.T) {
	const before = ".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n"
	once, err := configure(before)
	if err != nil {
		t.Fatal(err)
	}
	want := ".:53 {\n" + single + "    errors\n    forward . /etc/resolv.conf\n}\n" + block
	if once != want {
		t.Errorf("it is\n%s\nwant\n%s", once, want)
	}
	if twice, err := configure(once); err != nil || twice != once {
		t.Errorf("again it is\n%s\n%v", twice, err)
	}
	for name, text := range map[string]string{
		"no server for everything":  "example.org:53 {\n}\n",
		"another part for the zone": before + Zone + ":53 {\n}\n",
	} {
		if got, err := configure(text); err == nil {
			t.Errorf("%s: it is\n%s", name, got)
		}
	}
}
