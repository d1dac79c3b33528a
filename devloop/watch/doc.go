// Package watch tells which files below some roots changed: recursive, with
// ignore rules, a debounce and content hashes, so that a save that changes
// nothing is no change. It is the one importer of fsnotify.
//
// Events of the operating system only say where to look. What changed is
// always the difference between an index and the file system, so that lost,
// doubled and reordered events do no harm, and polling gives the same answers.
//
// It must never write a file or act on a change.
package watch
