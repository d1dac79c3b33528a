// Package tree compares directories: the bench asks replicas whether theirs is
// the one on disk.
package tree

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Digest identifies the names and contents of all regular files below a
// directory.
func Digest(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		fmt.Fprintf(h, "%q %x\n", rel, sha256.Sum256(content))
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}
