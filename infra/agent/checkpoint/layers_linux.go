package checkpoint

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Where containerd keeps what below a node's /var.
const (
	contentDir  = "lib/containerd/io.containerd.content.v1.content/blobs"
	overlayDir  = "lib/containerd/io.containerd.snapshotter.v1.overlayfs"
	snapshotDir = overlayDir + "/snapshots"
	snapshotDB  = overlayDir + "/metadata.db"
)

// kindCommitted is the value of a layer, which never changes, in containerd's
// database of snapshots (core/snapshots.KindCommitted).
const kindCommitted = 3

// unchanging returns the folders of a node's state whose files never change:
// image layers and blobs, by their path.
func unchanging(state string) (map[string]bool, error) {
	found := map[string]bool{filepath.Join(state, contentDir): true}
	ids, err := committed(filepath.Join(state, snapshotDB))
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		found[filepath.Join(state, snapshotDir, strconv.FormatUint(id, 10))] = true
	}
	return found, nil
}

// committed lists the layers in containerd's database of snapshots. A node
// without one (another snapshotter) has none that are known.
func committed(path string) (ids []uint64, err error) {
	// The frozen containerd has a lock on its database: read a copy.
	dir, err := os.MkdirTemp("", "berth-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	duplicate := filepath.Join(dir, "metadata.db")
	if err := copyFile(path, duplicate); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	db, err := bolt.Open(duplicate, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(tx *bolt.Tx) error {
		version := tx.Bucket([]byte("v1"))
		if version == nil {
			return nil
		}
		snapshots := version.Bucket([]byte("snapshots"))
		if snapshots == nil {
			return nil
		}
		return snapshots.ForEachBucket(func(key []byte) error {
			s := snapshots.Bucket(key)
			if kind := s.Get([]byte("kind")); len(kind) != 1 || kind[0] != kindCommitted {
				return nil
			}
			if id, n := binary.Uvarint(s.Get([]byte("id"))); n > 0 {
				ids = append(ids, id)
			}
			return nil
		})
	})
	return ids, err
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
