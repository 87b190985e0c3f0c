package section

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n<!-- begin: it -->\nold\n<!-- end: it -->\nafter\n")
	if old, err := Read(file, "it"); err != nil || old != "old\n" {
		t.Fatalf("it reads %q, %v", old, err)
	}
	if err := Replace(file, "it", "new\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != "before\n<!-- begin: it -->\nnew\n<!-- end: it -->\nafter\n" {
		t.Errorf("the file is now:\n%s", got)
	}
	for _, text := range []string{"nothing", "<!-- begin: it -->\n", "<!-- end: it -->\n<!-- begin: it -->\n"} {
		write(text)
		if err := Replace(file, "it", "new\n"); err == nil {
			t.Errorf("%q is written", text)
		}
		if _, err := Read(file, "it"); err == nil {
			t.Errorf("%q is read", text)
		}
		if got, _ := os.ReadFile(file); string(got) != text {
			t.Errorf("%q is now %q", text, got)
		}
	}
}
