package passes_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/passes"
)

var update = flag.Bool("update", false, "write what passes give into testdata/*.txtar")

// A case is a graph before a pass and after it, in a txtar file:
//
//	What it shows, in a line or more.
//	pass: simplify
//	-- in --
//	clock t base …
//	-- out --
//	clock t base …
//
// Instead of out it may have nothing (the pass leaves the graph as it is), or
// error: the words that the pass must fail with. More lines of the head are
// "tokens: N", the length of the stream that it runs over, and "no plan: WHY"
// where lowering must refuse it.
//
// Every case is run: in, out, and what the passes after it make of out, whole
// and in pieces, down to the plan.
type testCase struct {
	name, pass string
	tokens     int
	noPlan     string
	in, out    string
	err        string
	archive    *txtar.Archive
}

func readCase(t *testing.T, path string) *testCase {
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCase{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), tokens: 23, archive: a}
	for line := range strings.Lines(string(a.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "pass":
			c.pass = value
		case "tokens":
			if c.tokens, err = strconv.Atoi(value); err != nil {
				t.Fatal(err)
			}
		case "no plan":
			c.noPlan = value
		}
	}
	for _, f := range a.Files {
		switch f.Name {
		case "in":
			c.in = string(f.Data)
		case "out":
			c.out = string(f.Data)
		case "error":
			c.err = strings.TrimSpace(string(f.Data))
		default:
			t.Fatalf("%s: a case has no part %q", path, f.Name)
		}
	}
	return c
}

// put sets a part of a case's file, or takes it away.
func (c *testCase) put(name, text string) {
	at := slices.IndexFunc(c.archive.Files, func(f txtar.File) bool { return f.Name == name })
	switch {
	case at < 0 && text != "":
		c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: []byte(text)})
	case at >= 0 && text == "":
		c.archive.Files = slices.Delete(c.archive.Files, at, at+1)
	case at >= 0:
		c.archive.Files[at].Data = []byte(text)
	}
}

// TestCases runs every case, and holds that each rewrite fires in one of them,
// and each pass both fires and does not.
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	count := map[string]int{}
	fires, keeps := map[string]bool{}, map[string]bool{}
	for _, path := range paths {
		c := readCase(t, path)
		t.Run(c.name, func(t *testing.T) {
			old := slices.Clone(txtar.Format(c.archive))
			c.run(t, count)
			if text := txtar.Format(c.archive); *update && !t.Failed() && !bytes.Equal(text, old) {
				if err := os.WriteFile(path, text, 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
		if c.err == "" {
			fires[c.pass] = fires[c.pass] || c.out != ""
			keeps[c.pass] = keeps[c.pass] || c.out == ""
		}
	}
	for _, p := range passes.Table {
		if !fires[p.Name] || !keeps[p.Name] {
			t.Errorf("the pass %s needs a case that it changes, and one that it leaves alone", p.Name)
		}
	}
	for _, name := range passes.Rewrites() {
		if count[name] == 0 {
			t.Errorf("the rewrite %s is applied in no case", name)
		}
	}
}

func (c *testCase) run(t *testing.T, count map[string]int) {
	m, err := ir.Parse(c.in)
	if err != nil {
		t.Fatal(err)
	}
	g := m.Entries[0]
	at := slices.IndexFunc(passes.Table, func(p passes.Pass) bool { return p.Name == c.pass })
	if at < 0 {
		t.Fatalf("there is no pass %q", c.pass)
	}
	pass := passes.Table[at]
	if src := m.String(); src != c.in {
		if c.in = src; *update {
			c.put("in", src)
		} else {
			t.Fatalf("-- in -- is not as it prints:\n%s", src)
		}
	}

	stop := passes.CountRewrites(func(name string) { count[name]++ })
	h, err := pass.Apply(g)
	stop()
	if c.err != "" {
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("error %v, want %q", err, c.err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	out := h.String()
	if out == c.in {
		out = ""
	}
	if *update {
		c.out = out
		c.put("out", out)
	} else if out != c.out {
		t.Errorf("%s gives\n%s\nwant\n%s", c.pass, h, c.out)
	}

	in := irtest.Inputs(rand.New(rand.NewPCG(3, uint64(c.tokens))), g, c.tokens)
	ref, derived := numericGradients(g)
	if errs := g.Verify(); len(errs) > 0 {
		t.Fatal(ir.Explain(errs))
	}
	want, err := whole(ref, in)
	if err != nil {
		t.Fatal(err)
	}
	tolerance := 1e-9
	if derived {
		tolerance = 2e-6
	}
	through(t, g, c.pass, in, c.tokens, want, tolerance, c.noPlan)
}

// TestWrongRewriteIsSeen: running the cases would show a rule that is wrong.
func TestWrongRewriteIsSeen(t *testing.T) {
	m, err := ir.Parse("clock t base\n\nentry f base t clocks t {\n  %0 = input {name = \"x\"} : f32[t, a:3]\n  inputs %0\n  output y %0\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	g := m.Entries[0]
	wrong := passes.Replace(g, func(n *ir.Node, _ []*ir.Node) *ir.Node { return g.B.Mul(n, g.B.F(1+1e-7)) })
	in := irtest.Inputs(rand.New(rand.NewPCG(1, 1)), g, 5)
	want, _ := whole(g, in)
	got, err := whole(wrong, in)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.differ(want); err == nil {
		t.Error("x·(1+1e-7) passes for x")
	}
}
