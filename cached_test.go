package memc

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/cache"
)

// TestCompileCached counts how often a spec is elaborated: once for each version
// of its files and each choice of parameters and targets.
func TestCompileCached(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const spec = "import \"lib.spec\"\nclock t\nparam k: float = 2\nentry forward(x f32[t]) -> y f32[t] = scaled(x)\n"
	write("s.spec", spec)
	write("lib.spec", "fn scaled(x) = k * x\n")
	c, err := cache.Open(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	compile := func(o Options) *artifact.Artifact {
		t.Helper()
		reads = 0
		o.Read = func(name string) ([]byte, error) {
			reads++
			return ReadSpec(name)
		}
		if o.Targets == nil {
			o.Targets = []string{"interp"}
		}
		a, _, err := CompileCached(t.Context(), c, filepath.Join(dir, "s.spec"), o)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	entries := func() int {
		all, err := filepath.Glob(filepath.Join(dir, "cache", "*[0-9a-f]"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range all {
			if filepath.Ext(f) == "" {
				n++
			}
		}
		return n
	}
	first := compile(Options{})
	if n := entries(); n != 2 {
		t.Fatalf("%d entries after the first time, want the list of files and the artifact", n)
	}
	again := compile(Options{})
	if reads != 2 { // each file once, to compare it; elaborating reads them again
		t.Errorf("%d files read where nothing changed, want 2", reads)
	}
	if again.Manifest.Graph != first.Manifest.Graph || entries() != 2 {
		t.Error("the second time gives something else")
	}
	three := compile(Options{Set: map[string]json.RawMessage{"k": json.RawMessage("3")}})
	if three.Manifest.Graph == first.Manifest.Graph || entries() != 3 {
		t.Error("--set makes no difference")
	}
	if a := compile(Options{Targets: []string{"interp", "sm_80"}}); len(a.Targets) != 2 {
		t.Error("targets make no difference")
	}
	write("lib.spec", "fn scaled(x) = k * x + 1\n")
	if a := compile(Options{}); a.Manifest.Graph == first.Manifest.Graph {
		t.Error("a change of an imported file goes unnoticed")
	}
	write("lib.spec", "fn scaled(x) = k * x\n")
	if a := compile(Options{}); a.Manifest.Graph != first.Manifest.Graph {
		t.Error("the old text does not give the old artifact")
	}
	write("lib.spec", "fn scaled(x) = \n")
	if _, _, err := CompileCached(t.Context(), c, filepath.Join(dir, "s.spec"), Options{Targets: []string{"interp"}}); err == nil {
		t.Error("a faulty spec compiles out of the cache")
	}
}

// An import that was not beside the spec is looked for there each time: a file
// put there later takes the place of the compiler's own.
func TestCachedSeesNewFiles(t *testing.T) {
	files := []fileHash{{"new.spec", ""}}
	there := false
	read := func(string) ([]byte, error) {
		if there {
			return []byte("x"), nil
		}
		return nil, os.ErrNotExist
	}
	if err := unchanged(files, read); err != nil {
		t.Errorf("a file that is still not there: %v", err)
	}
	there = true
	if err := unchanged(files, read); err == nil {
		t.Error("a new file goes unnoticed")
	}
	if err := unchanged(files, func(string) ([]byte, error) { return nil, errors.New("no permission") }); err == nil {
		t.Error("a file that cannot be read goes unnoticed")
	}
}

// The artifact does not depend on how the spec's path is written.
func TestPlacesAreRelative(t *testing.T) {
	a, err := Compile(t.Context(), "specs/bench/recur.spec", benchOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("specs")
	b, err := Compile(t.Context(), "../specs/bench/recur.spec", benchOptions())
	if err != nil {
		t.Fatal(err)
	}
	if a.Manifest.Graph != b.Manifest.Graph {
		t.Error("the graphs differ")
	}
}

func benchOptions() Options {
	return Options{Targets: []string{"interp"}, Set: map[string]json.RawMessage{"heads": json.RawMessage("2"), "dim": json.RawMessage("16"), "hidden": json.RawMessage("32"), "chunk": json.RawMessage("16")}}
}
