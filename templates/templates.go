// Package templates holds the files that berth carries inside its binary, one
// file system a concern. It imports nothing of ours and does nothing.
package templates
