//go:build unix

package regular

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPipe: nobody writes to the pipe, and nobody waits for that.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 100); err == nil || !strings.Contains(err.Error(), "a pipe") {
		t.Error(err)
	}
}
