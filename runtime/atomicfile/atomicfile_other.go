//go:build !unix

package atomicfile

import (
	"os"
	"path/filepath"
)

type otherFile struct {
	*os.File
	path string
}

// Replace renames as the system does it: atomically or not.
func (f otherFile) Replace() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), f.path)
}

func (f otherFile) Cleanup() error {
	f.Close()
	return os.Remove(f.Name())
}

func open(path string) (pending, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return otherFile{f, path}, nil
}
