// Package workshop reads workshops (a folder with steps), runs the programs of
// a step against a cluster, and remembers how far each learner has come. What a
// cluster is and how its state is saved it is told by its caller.
//
// It must never change anything of a learner's outside the learner's namespace
// by itself: steps do that, in the name of the workshop's author.
package workshop
