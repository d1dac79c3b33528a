package watch

import (
	"slices"
	"strings"
)

// entries are the files, or the directories, of a directory by name. There are
// a hundred thousand in a large project: a sorted list takes half the memory
// of a map, and directories are listed in its order.
type entries[T any] []entry[T]

type entry[T any] struct {
	name  string
	value T
}

// find returns where name is, or would be.
func (es entries[T]) find(name string) (int, bool) {
	return slices.BinarySearchFunc(es, name, func(e entry[T], name string) int { return strings.Compare(e.name, name) })
}

func (es entries[T]) get(name string) (value T, ok bool) {
	i, ok := es.find(name)
	if ok {
		value = es[i].value
	}
	return value, ok
}

func (es entries[T]) has(name string) bool {
	_, ok := es.find(name)
	return ok
}

func (es *entries[T]) set(name string, value T) {
	i, ok := es.find(name)
	if !ok {
		*es = slices.Insert(*es, i, entry[T]{name: name})
	}
	(*es)[i].value = value
}

// trim gives back what was taken to grow into, if that is much.
func (es *entries[T]) trim() {
	if cap(*es) > len(*es)+len(*es)/4 {
		*es = slices.Clone(*es)
	}
}

// remove reports whether there was something to remove. Those who go backward
// through the list may remove what they pass.
func (es *entries[T]) remove(name string) bool {
	i, ok := es.find(name)
	if ok {
		*es = slices.Delete(*es, i, i+1)
	}
	return ok
}
