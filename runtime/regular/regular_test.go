package regular

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, size := range []int{0, 1, 99, 100} {
		b, err := Read(file("f", size), 100)
		if err != nil || len(b) != size {
			t.Errorf("of %d bytes there are %d, %v", size, len(b), err)
		}
	}
	hole := file("hole", 0)
	if err := os.Truncate(hole, 1<<50); err != nil {
		t.Log("no file with a hole can be made here:", err)
		hole = file("hole", 101)
	}
	for path, want := range map[string]string{
		file("long", 101):          "more than 100 bytes",
		hole:                       "more than 100 bytes",
		dir:                        "a folder",
		filepath.Join(dir, "none"): "no such file",
		os.DevNull:                 "a pipe or a device",
	} {
		if _, err := Read(path, 100); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
