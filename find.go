package memc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/runtime/regular"
	"github.com/memc-lang/memc/specs"
)

// maxSpec is the most bytes of a spec file that are read.
const maxSpec = 1 << 24

// embeddedDir is the folder that the specs in the compiler seem to lie in.
const embeddedDir = "specs/"

// ReadSpec reads a spec file from disk or, where there is none of that name,
// from the specs that come with the compiler: "specs/NAME.spec".
func ReadSpec(name string) ([]byte, error) {
	b, err := regular.Read(name, maxSpec)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if rest, ok := strings.CutPrefix(path.Clean(filepath.ToSlash(name)), embeddedDir); ok {
		if b, err := specs.FS.ReadFile(rest); err == nil {
			return b, nil
		}
	}
	return nil, err
}

// specFiles reads a spec and what it imports, by names as seen from the spec's
// folder.
type specFiles struct {
	dir   string
	read  frontend.Reader // nil: ReadSpec
	found map[string]bool
}

func (s *specFiles) file(name string) ([]byte, error) {
	read := s.read
	if read == nil {
		read = ReadSpec
	}
	b, err := read(filepath.Join(s.dir, name))
	s.found[name] = s.found[name] || err == nil
	return b, err
}

// FindSpec gives the file of a spec: the file of that name in dir (empty: where
// the program runs), or the spec of that name that comes with the compiler. The
// ending .spec may be left out.
func FindSpec(dir, name string) (string, error) {
	for _, n := range []string{name, name + ".spec"} {
		file := filepath.Join(dir, n)
		if st, err := os.Stat(file); err == nil && !st.IsDir() {
			return file, nil
		}
	}
	within := strings.TrimPrefix(path.Clean(filepath.ToSlash(name)), embeddedDir)
	for _, n := range []string{within, within + ".spec"} {
		if st, err := fs.Stat(specs.FS, n); err == nil && !st.IsDir() {
			return embeddedDir + n, nil
		}
	}
	return "", fmt.Errorf("there is no spec %s, neither as a file nor among those that come with the compiler (%s)", filepath.Join(dir, name), strings.Join(embedded(), ", "))
}

// embedded lists the specs that come with the compiler.
func embedded() []string {
	var out []string
	for _, pattern := range []string{"*.spec", "bench/*.spec"} {
		found, _ := fs.Glob(specs.FS, pattern)
		for _, f := range found {
			out = append(out, strings.TrimSuffix(f, ".spec"))
		}
	}
	return out
}
