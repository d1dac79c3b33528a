package watch

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEntriesAreLikeAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var list entries[int]
	want := map[string]int{}
	for i := range 2000 {
		name := strconv.Itoa(random.IntN(100))
		if random.IntN(2) == 0 {
			list.set(name, i)
			want[name] = i
		} else {
			_, there := want[name]
			if list.remove(name) != there {
				t.Fatalf("whether %s was there: %v", name, !there)
			}
			delete(want, name)
		}
		list.trim()
		got := map[string]int{}
		for _, e := range list {
			got[e.name] = e.value
		}
		if !maps.Equal(got, want) || len(list) != len(want) || !slices.IsSortedFunc(list, func(a, b entry[int]) int { return strings.Compare(a.name, b.name) }) {
			t.Fatalf("got %v, want %v", list, want)
		}
		if value, ok := list.get(name); value != want[name] || ok != list.has(name) {
			t.Fatalf("%s is %d, want %d", name, value, want[name])
		}
	}
}

func TestEntriesCanBeRemovedGoingBackward(t *testing.T) {
	var list entries[bool]
	for i := range 100 {
		list.set(strconv.Itoa(i), i%3 == 0)
	}
	for _, e := range slices.Backward(list) {
		if !e.value {
			list.remove(e.name)
		}
	}
	if len(list) != 34 || slices.ContainsFunc(list, func(e entry[bool]) bool { return !e.value }) {
		t.Errorf("left: %v", list)
	}
}

func TestEntriesGiveBackRoomToGrow(t *testing.T) {
	list := slices.Grow(entries[int]{}, 1000)
	list.set("a", 1)
	if list.trim(); cap(list) > 2 {
		t.Errorf("room for %d", cap(list))
	}
}
