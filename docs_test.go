package memc

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands in the documentation print into it")

// A block of the documentation that follows a command in a comment,
//
//	<!-- $ memc dump docs/note.spec --level plan -->
//
// is what that command prints when the shell runs it in the repository's root.
var docBlock = regexp.MustCompile("(?s)(<!-- \\$ ([^\n]*) -->\n+```[a-z]*\n)(.*?)(```\n)")

// docFiles are the files whose blocks are checked.
var docFiles = []string{"README.md", "docs/*.md", "ir/README.md"}

func TestDocumentedOutput(t *testing.T) {
	for _, tool := range []string{"go", "sh", "sed", "grep", "llc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the commands in the documentation need %s, which is not in PATH", tool)
		}
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/memc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	blocks := 0
	for _, pattern := range docFiles {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := docBlock.ReplaceAllFunc(text, func(b []byte) []byte {
				blocks++
				part := docBlock.FindSubmatch(b)
				cmd := exec.Command("sh", "-c", string(part[2]))
				cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil || len(out) == 0 {
					t.Errorf("%s: %s: %v, %d bytes\n%s", file, part[2], err, len(out), &stderr)
					return b
				}
				if !*update && string(part[3]) != string(out) {
					t.Errorf("%s: %s\nprints\n%s\nand not, as the text has it,\n%s\n(go test -run %s -update . writes it anew)", file, part[2], out, part[3], t.Name())
				}
				return []byte(string(part[1]) + string(out) + string(part[4]))
			})
			if *update && !bytes.Equal(got, text) {
				if err := os.WriteFile(file, got, 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if blocks == 0 {
		t.Error("no block is found")
	}
}

// TestDocumentedLinks: every link of the documentation to a file of the
// repository leads somewhere.
func TestDocumentedLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s,]+)(#[^)]*)?\)`)
	for _, pattern := range docFiles {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllStringSubmatch(string(text), -1) {
				to := filepath.Join(filepath.Dir(file), strings.TrimSpace(m[1]))
				if _, err := os.Stat(to); err != nil {
					t.Errorf("%s: the link %s leads nowhere", file, m[1])
				}
			}
		}
	}
}

// TestDocumentedDependencies: docs/dependencies.md has a row for each module that
// the repository imports, and no other.
func TestDocumentedDependencies(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllStringSubmatch(string(mod), -1) {
		modules = append(modules, m[1])
	}
	direct := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, imp := range f.imports() {
			for _, m := range modules {
				if matches(m+"/...", imp) {
					direct[m] = true
				}
			}
		}
	}
	text, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \|`).FindAllStringSubmatch(string(text), -1) {
		if !direct[m[1]] {
			t.Errorf("docs/dependencies.md has a row for %s, which nothing imports", m[1])
		}
		delete(direct, m[1])
	}
	for m := range direct {
		t.Errorf("docs/dependencies.md has no row for %s", m)
	}
}
