//go:build unix

package atomicfile

import (
	"path/filepath"

	"github.com/google/renameio/v2"
)

type unixFile struct{ *renameio.PendingFile }

func (f unixFile) Replace() error { return f.CloseAtomicallyReplace() }

func open(path string) (pending, error) {
	// The temporary file lies in the same folder, so that renaming it cannot
	// cross a file system; without WithTempDir renameio probes $TMPDIR first.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return nil, err
	}
	return unixFile{f}, nil
}
