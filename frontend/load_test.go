package frontend_test

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
)

// nowhere is a disk without files.
func nowhere(string) ([]byte, error) { return nil, fs.ErrNotExist }

// inline loads a spec given as text.
func inline(src string) (*ir.Module, *frontend.Diagnostics) {
	return frontend.Load("a.spec", func(name string) ([]byte, error) {
		if name == "a.spec" {
			return []byte(src), nil
		}
		return nil, fs.ErrNotExist
	}, nil, nil)
}

func mustLoad(t *testing.T, src string) *ir.Module {
	t.Helper()
	m, d := inline(src)
	if d != nil {
		t.Fatal(d)
	}
	return m
}

// The specs that come with the compiler are found from anywhere, and from a spec
// that lies anywhere.
func TestEmbeddedSpecs(t *testing.T) {
	config := values(t, small)
	for _, name := range []string{"specs/qwen3.spec", "specs/allmem.spec", "specs/comet.spec", "specs/lact.spec", "specs/ttt_linear.spec", "specs/bench/hybrid.spec", "./specs/bench/recur.spec"} {
		if _, d := frontend.Load(name, nowhere, nil, config); d != nil {
			t.Errorf("%s: %s", name, d)
		}
	}
	read := func(name string) ([]byte, error) {
		if name == "far/away/my.spec" {
			return []byte("import \"lib/qwen3.spec\"\nclock t\nentry forward(tokens i32[t]) -> y f32[t, vocab_size] = head(embed(tokens))\n"), nil
		}
		return nil, fs.ErrNotExist
	}
	m, d := frontend.Load("far/away/my.spec", read, nil, config)
	if d != nil {
		t.Fatal(d)
	}
	if m.Spec != "my.spec" || len(m.Params) < 5 || m.Params[0].Name != "hidden_size" || m.Params[0].Value != "16" || m.Params[0].Type != "dim" {
		t.Errorf("spec %s, params %v", m.Spec, m.Params)
	}
	if _, d := frontend.Load("no.spec", nowhere, nil, nil); d == nil {
		t.Error("a spec that is nowhere loads")
	}
}

func TestSettings(t *testing.T) {
	const src = "clock t\nparam width: dim = 4  # how wide\nparam layers: [int] = 0..3\nparam scale: float = 1\nentry forward(x f32[t, width]) -> y f32[t, width] = x * scale\n"
	read := func(string) ([]byte, error) { return []byte(src), nil }
	for _, c := range []struct{ set, config, want string }{
		{`{}`, `{}`, "4 [0,1,2] 1"},
		{`{"scale": 2}`, `{"width": 8, "other": {"deep": [1]}, "scale": null}`, "8 [0,1,2] 2"},
		{`{"width": 2, "layers": []}`, `{"width": 8, "layers": "bad"}`, "2 [] 1"},
		{`{"layers": [5, 7]}`, `{"scale": 0.5}`, "4 [5,7] 0.5"},
		{`{"wdth": 2}`, `{}`, "--set wdth: the spec has no such parameter; did you mean width?; it has width: dim, layers: [int], scale: float"},
		{`{"width": 2.5}`, `{}`, "--set gives the parameter width the value 2.5; it must be a dimension"},
		{`{"layers": [1, "x"]}`, `{}`, "it must be a list [int]"},
		{`{"width": null}`, `{}`, "the value null"},
		{`{"width": 99999999999}`, `{}`, "must be a dimension"},
		{`{"scale": 1e999}`, `{}`, "must be a number"},
		{`{}`, `{"scale": [[[[1]]]]}`, "the config gives the parameter scale the value [[[[1]]]]; it must be a number"},
	} {
		m, d := frontend.Load("a.spec", read, values(t, c.set), values(t, c.config))
		if d != nil {
			if !strings.Contains(d.Error(), c.want) {
				t.Errorf("%s, %s: want %q, found %s", c.set, c.config, c.want, d)
			}
			continue
		}
		var got []string
		for _, p := range m.Params {
			got = append(got, p.Value)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s, %s: %v, want %s", c.set, c.config, got, c.want)
		}
		if m.Params[0].Doc != "how wide" {
			t.Errorf("doc %q", m.Params[0].Doc)
		}
	}
}

// Specs that ask for far too much end in an error, soon.
func TestHostile(t *testing.T) {
	const head = "clock t\ndim d = 4\n"
	entry := func(x string) string { return head + "entry forward(x f32[t, d]) -> y f32[t, d] = " + x + "\n" }
	masks := head + "layer l0[z](x[z, h: 1, d]) where m = attend(x, x, x) where m\n"
	for k := range 60 {
		masks += fmt.Sprintf("layer l%d[z](x[z, h: 1, d]) where m = l%d(x) where m and m\n", k+1, k)
	}
	masks += "entry forward(x f32[t, h: 1, d]) -> y f32[t, h: 1, d] = l60(x) where j <= i\n"
	memory := func(body string) string {
		return head + "memory M(x[t, d]) chunk 4 of t {\n" + body + "\n  return x\n}\nentry forward(x f32[t, d]) -> y f32[t, d] = M(x) at \"m\"\n"
	}
	for name, c := range map[string]struct{ src, want string }{
		"long sum":        {entry("x" + strings.Repeat(" + x", 20_000)), ""},
		"long chain":      {entry("x" + strings.Repeat(".a", 20_000)), "has no fields"},
		"many names":      {head + strings.Repeat("a, ", 100_000), "expected a declaration"},
		"masks doubled":   {masks, "more than 5000 operators"},
		"rows doubled":    {memory("  state q[m: 1, d] len n = empty\n  read z = q\n  for k in 0..40 { read z = concat(z, z) }"), "made of too many parts"},
		"lists doubled":   {head + "fn f(k) {\n  l = [1]\n  for k in 0..80 { l = [l, l] }\n  return l\n}\nmemory M(x[t, d], l) chunk 4 of t {\n  return x\n}\nentry forward(x f32[t, d]) -> y f32[t, d] = M(x, f(1)) at \"m\"\n", "arguments of a memory are too large"},
		"strings doubled": {head + "fn f(k) {\n  s = \"ab\"\n  for k in 0..80 { s = s + s }\n  return s\n}\nentry forward(x f32[t, d]) -> y f32[t, d] = x * weight(f(1))[d]\n", "cannot be applied to the string"},
		"calls doubled": {head + "fn f0(x) = x\n" + func() (s string) {
			for k := range 60 {
				s += fmt.Sprintf("fn f%d(x) = f%d(x) + f%d(x)\n", k+1, k, k)
			}
			return
		}() + "entry forward(x f32[t, d]) -> y f32[t, d] = f60(x)\n", "more than 2000000 steps"},
		"weights":       {head + "fn f(x) {\n  for k in 0..90000 { for l in 0..9 { x = x + weight(\"w{k}.{l}\")[d] } }\n  return x\n}\nentry forward(x f32[t, d]) -> y f32[t, d] = f(x)\n", "nodes"},
		"wide turns":    {"clock t\ndim z = 2000000000\nentry forward(n i32[t]) -> y f32[t, z: 1000000000] = turns(n, z, 1e4)\n", "at most 65536"},
		"weaves":        {"clock t\nrows r from t every 500000 {\n  group 1 { text; b }\n}\nentry forward(n i32[t]) -> y i32[t] {\n  for k in 0..90000 { n = text(weave(r, text: n, b: k)) }\n  return n\n}\n", "steps"},
		"no bytes":      {"", "no entry point"},
		"zero bytes":    {"\x00\xff\xfe", "unexpected character"},
		"carriage":      {"clock t\r\ndim d = 4\r\nentry forward(x f32[t, d]) -> y f32[t, d] = x +\r\n  x\r\n", ""},
		"too long":      {strings.Repeat("#", 1<<20+1), "a spec has at most"},
		"nested blocks": {head + "fn f(x) {\n" + strings.Repeat("if true {\n", 10_000), "nested more than"},
		"if chain":      {head + "fn f(x) = " + strings.Repeat("if true then x else ", 10_000) + "x\n", "more than 64"},
		"else chain":    {head + "fn f(x) {\n  if true { x = x }" + strings.Repeat(" else if true { x = x }", 10_000) + "\n  return x\n}\n", "more than 64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, d := inline(c.src)
			switch {
			case c.want == "" && d != nil:
				t.Fatal(short(d.Error()))
			case c.want != "" && d == nil:
				t.Fatal("the spec loads")
			case c.want != "" && !strings.Contains(d.Error(), c.want):
				t.Fatalf("want %q, found %s", c.want, short(d.Error()))
			}
		})
	}
}

func short(s string) string { return s[:min(len(s), 400)] }

// Two entries share what they have in common, the memories too.
func TestEntriesShare(t *testing.T) {
	m, d := frontend.Load("../specs/allmem.spec", nil, nil, values(t, small))
	if d != nil {
		t.Fatal(d)
	}
	scans := func(g *ir.Graph) (out []*ir.Node) {
		for _, n := range ir.Postorder(g.Roots()...) {
			if n.Op.Name == "scan" {
				out = append(out, n)
			}
		}
		return out
	}
	a, b := scans(m.Entries[0]), scans(m.Entries[1])
	if len(a) != 1 || !slices.Equal(a, b) {
		t.Errorf("scans %v and %v", a, b)
	}
	for _, g := range m.Entries {
		for _, n := range ir.Postorder(g.Roots()...) {
			if len(n.Pos()) == 0 || n.Pos()[0].Line == 0 {
				t.Errorf("%s has no place", n.Op.Name)
			}
		}
	}
	r := a[0].Body
	var names []string
	for _, s := range r.States {
		names = append(names, s.Attr.Name)
	}
	if got := fmt.Sprint(names); got != "[model.layers.0.mem.w.w0 model.layers.0.mem.w.w1 model.layers.0.mem.w.w2 model.layers.0.mem.m.w0 model.layers.0.mem.m.w1 model.layers.0.mem.m.w2]" {
		t.Errorf("states %s", got)
	}
	if r.Init[0].Op.Name != "weight" || r.Init[3].Op.Name != "expand" || len(r.Params) != 1 || r.Params[0].Attr.Name != "model.layers.0.mem.x0" {
		t.Errorf("first values %s and %s, %d parameters", r.Init[0].Op.Name, r.Init[3].Op.Name, len(r.Params))
	}
	if len(r.Probes) != 1 || r.Probes[0].Name != "inner_loss" || r.Clock.Kind != ir.Chunk || r.Clock.Size != 8 {
		t.Errorf("probes %v, clock %v", r.Probes, r.Clock)
	}
}

// A chunk of 10 tokens in groups of 4: beacons after 4, 8 and the chunk's end.
func TestPattern(t *testing.T) {
	m := mustLoad(t, "clock t\nrows r from t every 10 {\n  group 4 { text; a; b[2] }\n  end { z[3] }\n}\nentry forward(n i32[t]) -> y i32[t] = text(weave(r, text: n, a: 1, b: [2, 3], z: [4, 5, 6]))\n")
	var p *ir.Pattern
	var r *ir.Clock
	for _, c := range m.Entries[0].Clocks {
		if c.Kind == ir.Woven {
			p, r = c.Pattern, c
		}
	}
	for _, c := range []struct {
		what string
		got  []int64
		want string
	}{
		{"From", p.From, "[0 1 2 3 -1 -2 -3 4 5 6 7 -1 -2 -3 8 9 -1 -2 -3 -4 -5 -6]"},
		{"Kind", p.Kind, "[0 0 0 0 1 2 2 0 0 0 0 1 2 2 0 0 1 2 2 3 3 3]"},
		{"Rows", p.Rows, "[0 1 2 3 7 8 9 10 14 15 22]"},
		{"Row", p.Row, "[0 1 2 3 7 8 9 10 14 15]"},
	} {
		if got := fmt.Sprint(c.got); got != c.want {
			t.Errorf("%s is %s, want %s", c.what, got, c.want)
		}
	}
	if fmt.Sprint(p.Kinds) != "[a b z]" || r.Size != 22 || p.Every != 10 {
		t.Errorf("kinds %v, size %d, every %d", p.Kinds, r.Size, p.Every)
	}
	in := &ir.Tensor{Dims: []int{23}}
	for k := range 23 {
		in.Data = append(in.Data, float64(100+k))
	}
	out, err := ir.Run(m.Entries[0], map[string]*ir.Tensor{"n": in}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out["y"].Data, in.Data) {
		t.Errorf("text(weave(…)) is %v", out["y"].Data)
	}
}

// The fractions of a turn are those of theta^(-2j/d)/2π to a double's precision.
func TestTurns(t *testing.T) {
	m := mustLoad(t, "clock t\ndim d = 64\nentry forward(n i32[t]) -> y f32[t, d: 32] = turns(n, d, 1000000.0)\n")
	n := m.Entries[0].Outputs[0].Node
	for j, f := range n.Attr.Ints {
		want := math.Pow(1e6, -float64(j)/32) / (2 * math.Pi)
		if got := float64(uint64(f)) / math.Exp2(64); math.Abs(got-want) > 1e-15*want+math.Exp2(-64) {
			t.Errorf("fraction %d is %v, want %v", j, got, want)
		}
	}
}

// What a state's number of rows becomes is derived from the write.
func TestQueueLengths(t *testing.T) {
	m := mustLoad(t, "clock t\ndim d = 4\nmemory Q(x[t, d]) chunk 4 of t {\n  state q[m: 3, d] len n = empty\n  read k = q\n  write { q = last(concat(q, mean_t(x) as [m: 1, d]), 3) }\n  return drop(concat(k, x), len(k))\n}\nentry forward(x f32[t, d]) -> y f32[t, d] = Q(x) at \"q\"\n")
	for _, n := range ir.Postorder(m.Entries[0].Roots()...) {
		if n.Body == nil {
			continue
		}
		l := n.Body.Lens[0]
		if l.Name != "q.n" || l.Start != 0 || l.Max != 3 || l.Next.String() != "min(q.n + 1, 3)" {
			t.Errorf("length %s from %d to %d, next %s", l.Name, l.Start, l.Max, l.Next)
		}
		return
	}
	t.Error("there is no scan")
}

// Rows may be named freely: a memory over any clock, functions in it, a mask
// with min and max, a state stored as bf16.
func TestFreeRows(t *testing.T) {
	m := mustLoad(t, `clock t
dim h = 1, d = 4

layer Look[z](x[z, d]) where mask {
  y = x as [z, h, d]
  o = attend(y, y, y) where mask and j >= max(i - 3, 0)
  return o as [z, d]
}

memory M[z](x[z, d]) chunk 4 of z {
  state w[d] as bf16 = 0
  y[z, d] = Look(x) at "look" where j <= i
  read o = y * w + Look(y * cumsum_z(y)) at "look" where j <= i
  write { w = w + mean_z(o as [z, h, d])[h: 0] }
  return o
}

entry forward(x f32[t, d]) -> y f32[t, d] = M(x) at "m"
`)
	if errs := m.Entries[0].Verify(); len(errs) > 0 {
		t.Fatal(ir.Explain(errs))
	}
	var names []string
	for _, n := range ir.Postorder(m.Entries[0].Roots()...) {
		if n.Body == nil {
			continue
		}
		for _, x := range ir.Postorder(n.Body.Roots()...) {
			if x.Op.Name == "attend" {
				names = append(names, x.Attr.Name+": "+x.Attr.Where.String())
			}
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, ", "); got != "m.look.2: j <= i && max(i - 3, 0) <= j, m.look: j <= i && max(i - 3, 0) <= j" {
		t.Errorf("attends %s", got)
	}
}
