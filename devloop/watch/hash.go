package watch

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
)

// hashBudget is how many bytes are read after the start to know what files
// hold, so that the first save of a file can be compared too.
const hashBudget = 1 << 30

// A hashJob is a file whose content is to be hashed aside.
type hashJob struct {
	dir  *dir
	name string
	file file
}

// compute hashes the file, if it still is as the index saw it: the hash of a
// newer content under the older time would hide the change.
func (j *hashJob) compute() {
	if j.file.racy {
		return
	}
	path := filepath.Join(j.dir.path, j.name)
	h := j.file
	h.content(path)
	stat := os.Stat
	if h.mode&fs.ModeSymlink != 0 {
		stat = os.Lstat
	}
	if info, err := stat(path); err != nil || !h.hashed || !h.stats(fileOf(info, info.ModTime())) {
		return
	}
	j.file = h
}

// hashFiles computes hashes and sends them in portions. It touches the index
// only through paths, which never change.
func hashFiles(ctx context.Context, jobs []hashJob, out chan<- []hashJob) {
	defer close(out)
	const portion = 256
	for len(jobs) > 0 {
		n := min(portion, len(jobs))
		for i := range jobs[:n] {
			if ctx.Err() != nil {
				return
			}
			jobs[i].compute()
		}
		select {
		case out <- jobs[:n]:
		case <-ctx.Done():
			return
		}
		jobs = jobs[n:]
	}
}
