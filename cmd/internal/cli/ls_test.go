package cli

import "testing"

func TestProjectsAreFilteredByName(t *testing.T) {
	for _, c := range []struct {
		filters []string
		want    bool // of the project shop-ci
	}{
		{nil, true}, {[]string{"name=shop"}, true}, {[]string{"name=^ci"}, false}, {[]string{"name=^ci", "name=ci$"}, true},
	} {
		wanted, err := projectFilter(c.filters)
		if err != nil || wanted("shop-ci") != c.want {
			t.Errorf("%v: %v, want %t", c.filters, err, c.want)
		}
	}
}
