package gen

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime/artifact"
)

// attend is the program of specs/bench/attend.spec for a GPU, which needs no
// tools to compile.
func attend(t *testing.T) *artifact.Artifact {
	t.Helper()
	a, err := memc.Compile(context.Background(), "../specs/bench/attend.spec", memc.Options{Targets: []string{"sm_80"}, Set: map[string]json.RawMessage{
		"heads": []byte("4"), "kv_heads": []byte("2"), "head_dim": []byte("32"), "window": []byte("64"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestHostileText puts into every text of an artifact what could end a comment
// or begin code; what is written still is formatted Go with one package clause.
func TestHostileText(t *testing.T) {
	a := attend(t)
	bad := "a */ b\r\nimport \"C\"\x00\xff\ufeff\n//go:build ignore\n+build ignore\u2028x"
	a.Manifest.Doc, a.Manifest.Entries[0].Doc, a.Manifest.Entries[0].Inputs[0].Doc = bad, bad, bad
	files, err := Package(a, Options{Package: "attend", Params: []Param{{"x", "int", "1", bad}, {"X", "string", `"\u0000\\"`, ""}, {"y", "[string]", `["*/"]`, ""}, {"z", "float", "1e300", ""}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Ext(f.Name) != ".go" {
			continue
		}
		if !strings.HasPrefix(string(f.Data), mark) {
			t.Errorf("%s does not say that it is generated", f.Name)
		}
		if again, err := format.Source(f.Data); err != nil || string(again) != string(f.Data) {
			t.Errorf("%s is not as gofmt wants it: %v", f.Name, err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name, f.Data, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(tree) {
			t.Errorf("%s is not recognised as generated", f.Name)
		}
		for _, i := range tree.Imports {
			if i.Path.Value == `"C"` {
				t.Errorf("a comment of the spec became code of %s", f.Name)
			}
		}
		for line := range strings.SplitSeq(string(f.Data), "\n") {
			if strings.HasPrefix(line, "//go:build ignore") {
				t.Errorf("a comment of the spec became a build constraint of %s", f.Name)
			}
		}
	}
}

func TestSameBytes(t *testing.T) {
	a, b := attend(t), attend(t)
	first, err := Package(a, Options{Package: "p"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Package(b, Options{Package: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if string(first[i].Data) != string(second[i].Data) {
			t.Errorf("%s differs between two runs", first[i].Name)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	files := []File{{"x.memc", []byte("1")}, {"x.go", []byte(mark + "1. DO NOT EDIT.\n")}}
	for range 2 {
		if err := Write(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(dir, "x.go")
	if err := os.WriteFile(own, []byte("package b\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	files[0].Data = []byte("2")
	if err := Write(dir, files); err == nil || !strings.Contains(err.Error(), own) {
		t.Errorf("over a file of the user's own: %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "x.memc")); string(b) != "1" {
		t.Error("files are written although one cannot be")
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		pkg        string
		change     func(a *artifact.Artifact)
	}{
		{"keyword", "no name for a Go package", "type", nil},
		{"empty", "no name for a Go package", "", nil},
		{"import", "no name for a Go package", "runtime", nil},
		{"no target", "no targets", "p", func(a *artifact.Artifact) { a.Targets = nil }},
		{"interpreter", "interp", "p", func(a *artifact.Artifact) { a.Targets[0].Format = "graph"; a.Targets[0].Name = "interp" }},
		{"plan", "target sm_80: the plan", "p", func(a *artifact.Artifact) { a.Targets[0].Plan = "plan" }},
		{"entries", "not those of the manifest", "p", func(a *artifact.Artifact) { a.Manifest.Entries[0].Name = "other" }},
		{"element", "no element type f8", "p", func(a *artifact.Artifact) { a.Manifest.Entries[0].Inputs[1].Elem = "f8" }},
		{"dimension", `"m"`, "p", func(a *artifact.Artifact) { a.Manifest.Entries[0].Outputs[0].Dims[1] = "m" }},
	} {
		a := attend(t)
		if c.change != nil {
			c.change(a)
		}
		if _, err := Package(a, Options{Package: c.pkg}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ spec, exported, local, pkg string }{
		{"forward", "Forward", "forward", "forward"},
		{"mem_layers", "MemLayers", "memLayers", "memlayers"},
		{"ttt-linear.v2", "TttLinearV2", "tttLinearV2", "tttlinearv2"},
		{"_x__y_", "XY", "xY", "xy"},
		{"3d", "X3d", "x3d", "model3d"},
		{"函", "X函", "x函", "函"},
		{"type", "Type", "type", "typemodel"},
		{"main", "Main", "main", "mainmodel"},
		{"", "X", "x", "model"},
	} {
		if got := exported(c.spec); got != c.exported {
			t.Errorf("exported %q: %s, not %s", c.spec, got, c.exported)
		}
		if got := local(c.spec); got != c.local {
			t.Errorf("local %q: %s, not %s", c.spec, got, c.local)
		}
		if got := PackageName(c.spec); got != c.pkg {
			t.Errorf("package %q: %s, not %s", c.spec, got, c.pkg)
		}
	}
	n := newNames("_", fixed)
	for _, c := range [][2]string{{"x", "x"}, {"x", "x_"}, {"x", "x_2"}, {"type", "type_"}, {"ctx", "ctx_"}, {"runtime", "runtime_"}, {"err", "err_"}} {
		if got := n.pick(c[0]); got != c[1] {
			t.Errorf("picked for %s: %s, not %s", c[0], got, c[1])
		}
	}
}
