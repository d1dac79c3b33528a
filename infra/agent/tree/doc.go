// Package tree copies directories with everything Linux keeps of a file:
// owners, modes, times, extended attributes, holes, links and devices. It
// follows no symbolic link and knows nothing of what the files are for.
package tree
