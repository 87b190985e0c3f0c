package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put := func(s string, fail error) error {
		return Write(path, func(w io.Writer) error {
			if _, err := io.WriteString(w, s); err != nil {
				return err
			}
			return fail
		})
	}
	if err := put("one", nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := put("two", broken); !errors.Is(err, broken) {
		t.Errorf("the writer's error is %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "one" {
		t.Errorf("after a failed write the file holds %q, %v", b, err)
	}
	if err := put("three", nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "three" {
		t.Errorf("the file holds %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files are left behind: %v", left)
	}
	if err := Write(filepath.Join(dir, "no", "f"), nil); err == nil {
		t.Error("a file in a missing folder is written")
	}
}

// TestWriteElsewhere: a link stays and what it names is written; so stays what is
// no file.
func TestWriteElsewhere(t *testing.T) {
	put := func(path string) error {
		return Write(path, func(w io.Writer) error {
			_, err := io.WriteString(w, "text")
			return err
		})
	}
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Skip("no links can be made here:", err)
	}
	if err := put(link); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); string(b) != "text" {
		t.Errorf("behind the link is %q, %v", b, err)
	}
	null := filepath.Join(dir, "null")
	if err := os.Symlink(os.DevNull, null); err != nil {
		t.Fatal(err)
	}
	if err := put(null); err != nil {
		t.Error(err)
	}
	for _, l := range []string{link, null} {
		if st, err := os.Lstat(l); err != nil || st.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", l, err)
		}
	}
	if st, err := os.Stat(os.DevNull); err != nil || st.Mode().IsRegular() {
		t.Errorf("%s has become a file: %v", os.DevNull, err)
	}
	if err := put(dir); err == nil {
		t.Error("a folder is written")
	}
}

// TestCheck: what cannot be written is known before, by the name that was given,
// and nothing is left of finding out.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := Check(file); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(file); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(file); string(b) != "old" {
		t.Errorf("after a check the file holds %q, %v", b, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files are left behind: %v", left)
	}
	if err := Check(os.DevNull); err != nil {
		t.Error(err)
	}
	if err := Check(dir); err == nil {
		t.Error("a folder can be written")
	}
	for _, path := range []string{filepath.Join(file, "f"), filepath.Join(dir, "no", "f")} {
		var at *fs.PathError
		for _, err := range []error{Check(path), Write(path, nil)} {
			if !errors.As(err, &at) || at.Path != path {
				t.Errorf("%s: %v, which names another file or none", path, err)
			}
		}
	}
}
