package ir

import (
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// streamed is one graph in both forms: as a spec says it and as streaming
// derives it. It looks back in every way there is.
func streamed(b *Builder, kept bool) *Graph {
	x := input(b, "x", RowDim(tokens), dim("a", 2))
	history := func(n *Node, name string, k Keep) *Node {
		if !kept {
			return n
		}
		return b.Must("keep", Attr{Name: name, Keep: k}, n)
	}
	// Windowed attention with sinks, over heads of one.
	h := b.Must("view", Attr{Dims: []Dim{RowDim(tokens), dim("h", 2), dim("d", 1)}}, x)
	k := history(h, "k", Keep{Ring: 5, Pin: 2})
	v := history(b.Mul(h, b.F(2)), "v", Keep{Ring: 5, Pin: 2})
	att := b.Must("attend", Attr{Name: "att", Value: 0.7, Where: mustParse("j <= i && (i - j < 5 || j < 2)")}, h, k, v)
	// Inside blocks of 6.
	k6 := history(h, "k6", Keep{Ring: 6, Chunk: true})
	att6 := b.Must("attend", Attr{Name: "att6", Value: 1, Where: mustParse("j <= i && i div 6 == j div 6")}, h, k6, k6)
	back := b.Must("shift", Attr{Name: "back", Start: 3}, history(x, "back", Keep{Ring: 3}))
	rec := b.Must("linrec", Attr{Name: "rec"}, b.F(0.9), x)

	y := keptScan(b, x, kept)
	flat := func(n *Node) *Node {
		return b.Must("view", Attr{Dims: []Dim{RowDim(tokens), dim("a", 2)}}, n)
	}
	sum := b.Add(b.Add(b.Add(flat(att), flat(att6)), b.Add(back, rec)), y)
	return &Graph{Name: "g", Base: tokens, Clocks: []*Clock{tokens}, Inputs: []*Node{x},
		Outputs: []Output{{"y", sum}, {"last", b.Must("last", Attr{}, sum)}}}
}

// keptScan is a scan over chunks of 4 that attends inside the chunk, over rows
// of a queue put before it, and writes from the chunk's rows.
func keptScan(b *Builder, x *Node, kept bool) *Node {
	const size = 4
	c := &Clock{Name: "t.chunk", Kind: Chunk, Of: tokens, Size: size}
	p := b.Must("param", Attr{Name: "x", Elem: elem.F32, Dims: []Dim{RowDim(c), dim("a", 2)}})
	s := b.Must("state", Attr{Name: "s", Elem: elem.F32, Dims: []Dim{dim("a", 2)}})
	fifo := Dim{Name: "n", Size: 3, Len: ints.V("nf")}
	f := b.Must("state", Attr{Name: "f", Elem: elem.BF16, Dims: []Dim{fifo, dim("a", 2)}})
	pc := &Clock{Name: "p", Kind: Prefixed, Of: c, Prefix: ints.V("nf"), Most: 3}
	z := b.Must("prefix", Attr{Clock: pc}, f, b.Mul(p, s))
	h := b.Must("view", Attr{Dims: []Dim{RowDim(pc), dim("h", 2), dim("d", 1)}}, z)
	hk := h
	if kept {
		hk = b.Must("keep", Attr{Name: "z", Keep: Keep{Ring: 7, Chunk: true}}, h)
	}
	att := b.Must("attend", Attr{Name: "inner", Value: 1, Where: mustParse("j <= i")}, h, hk, hk)
	at := b.Must("cast", Attr{Elem: elem.F32}, b.Must("index", Attr{Clock: c}))
	run := b.Must("cumsum", Attr{Name: "run"}, b.Mul(p, at))
	rows := b.Add(b.Must("suffix", Attr{}, b.Must("view", Attr{Dims: []Dim{RowDim(pc), dim("a", 2)}}, att)), run)

	whole, over := p, "t"
	var keeps []*Node
	if kept {
		keeps = []*Node{b.Must("keep", Attr{Name: "x", Keep: Keep{Ring: 4, Chunk: true}}, p)}
		whole, over = b.Must("kept", Attr{Name: "x", Elem: elem.F32, Dims: []Dim{dim("rows", size), dim("a", 2)}}), "rows"
	}
	total := b.Sum(whole, over)
	index := b.Must("cast", Attr{Elem: elem.F32}, b.Must("chunk.index", Attr{Clock: c}))
	next := b.Add(b.Mul(s, b.F(0.5)), b.Add(total, index))
	queue := b.Must("tail", Attr{Size: 3}, b.Must("concat", Attr{Dim: "n"}, f, b.Must("expand", Attr{Dims: []Dim{dim("n", 1), dim("a", 2)}}, total)))
	body := &Region{Clock: c, Params: []*Node{p}, States: []*Node{s, f}, Rows: []*Node{rows}, Kept: keeps,
		Init: []*Node{b.Must("expand", Attr{Dims: []Dim{dim("a", 2)}}, b.F(1)), b.Must("expand", Attr{Dims: []Dim{dim("n", 3), dim("a", 2)}}, b.F(0))},
		Lens: []Length{{"nf", 0, 3, mustParse("min(nf + 1, 3)")}}}
	probes := []Probe{{"total", b.Sum(next, "a")}}
	if kept {
		body.Write = &Region{Next: []*Node{next, queue}, Probes: probes}
	} else {
		body.Next, body.Probes = []*Node{next, queue}, probes
	}
	scan, err := b.Scan("scan", body, x)
	if err != nil {
		panic(err)
	}
	return b.Result(scan, 0)
}

func TestSessionIsCutInvariant(t *testing.T) {
	const n = 47
	rng := rand.New(rand.NewPCG(7, 8))
	x := random(rng, n, 2)
	want, wantProbes, err := RunProbes(streamed(NewBuilder(), false), map[string]*Tensor{"x": x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := streamed(NewBuilder(), true)
	for cut := range 20 {
		s, err := NewSession([]*Graph{g}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var parts []*Tensor
		var last *Tensor
		for at := 0; at < n; {
			k := min(1+rng.IntN(1+cut), n-at)
			out, err := s.Call("g", map[string]*Tensor{"x": x.cut(at, at+k)})
			if err != nil {
				t.Fatal(err)
			}
			parts, last = append(parts, out["y"]), out["last"]
			at += k
			if s.Position() != int64(at) {
				t.Fatalf("position %d after %d rows", s.Position(), at)
			}
			// Every state goes on in a fresh session.
			next, err := NewSession([]*Graph{g}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := next.SetState(s.State()); err != nil {
				t.Fatal(err)
			}
			if next.StateBytes() != s.StateBytes() || s.StateBytes() > 400 {
				t.Fatalf("%d bytes of state, %d restored", s.StateBytes(), next.StateBytes())
			}
			next.was.probes = s.TakeProbes()
			s = next
		}
		near(t, "the stream", stack(parts...), want["y"])
		near(t, "the last row", last, want["last"])
		if p := s.TakeProbes(); len(p) != len(wantProbes) || p[3] != wantProbes[3] {
			t.Errorf("probes %v, want %v", p, wantProbes)
		}
	}
}

func TestFailedCallChangesNothing(t *testing.T) {
	b := NewBuilder()
	idx := b.Must("input", Attr{Name: "i", Elem: elem.I32, Dims: []Dim{RowDim(tokens)}})
	table := b.Must("table", Attr{Elem: elem.F32, Dims: []Dim{dim("v", 3)}, Floats: []float64{1, 2, 3}})
	rec := b.Must("linrec", Attr{Name: "r"}, b.F(1), b.Must("gather", Attr{}, table, idx))
	g := &Graph{Name: "g", Base: tokens, Inputs: []*Node{idx}, Outputs: []Output{{"y", rec}}}
	s, err := NewSession([]*Graph{g}, nil)
	if err != nil {
		t.Fatal(err)
	}
	feed := func(v float64) (float64, error) {
		out, err := s.Call("g", map[string]*Tensor{"i": {Elem: elem.I32, Dims: []int{1}, Data: []float64{v}}})
		if err != nil {
			return 0, err
		}
		return out["y"].Data[0], nil
	}
	feed(2)
	if _, err := feed(3); err == nil {
		t.Error("row 3 of a table of 3 rows was read")
	}
	if y, err := feed(0); err != nil || y != 4 || s.Position() != 2 {
		t.Errorf("after a failed call: %v, %v at %d; want 4 at 2", y, err, s.Position())
	}
}

func TestSetStateRejects(t *testing.T) {
	g := streamed(NewBuilder(), true)
	s, err := NewSession([]*Graph{g}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Call("g", map[string]*Tensor{"x": NewTensor(elem.F32, 6, 2)}); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]*Tensor{
		"position": Scalar(elem.I64, -1),
		"len/nf":   Scalar(elem.I64, 4),
		"state/s":  NewTensor(elem.F32, 3),
		"state/q":  NewTensor(elem.F32, 2),
		"keep/k":   NewTensor(elem.F32, 2, 2, 2),
		"rows/k":   NewTensor(elem.I64, 2),
		"else":     Scalar(elem.F32, 0),
		"state/f":  NewTensor(elem.F32, 9, 2),
	} {
		st := s.State()
		st[name] = bad
		if err := s.SetState(st); err == nil {
			t.Errorf("a state with %s = %s was accepted", name, bad)
		}
	}
	if err := s.SetState(s.State()); err != nil || s.Position() != 6 {
		t.Errorf("the session was changed: %v", err)
	}
}

func TestNewSessionWantsStreamedGraphs(t *testing.T) {
	if _, err := NewSession([]*Graph{streamed(NewBuilder(), false)}, nil); err == nil {
		t.Error("a graph without histories makes a session")
	}
}

// TestEntriesShareTheStream: calls of two entries go on where the other stopped.
func TestEntriesShareTheStream(t *testing.T) {
	const n = 33
	rng := rand.New(rand.NewPCG(9, 9))
	x := random(rng, n, 2)
	want, err := Run(streamed(NewBuilder(), false), map[string]*Tensor{"x": x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, next := streamed(NewBuilder(), true), streamed(NewBuilder(), true)
	next.Name, next.Outputs = "next", next.Outputs[1:]
	s, err := NewSession([]*Graph{g, next}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < n; {
		k := min(1+rng.IntN(7), n-at)
		entry := []string{"g", "next"}[rng.IntN(2)]
		out, err := s.Call(entry, map[string]*Tensor{"x": x.cut(at, at+k)})
		if err != nil {
			t.Fatal(err)
		}
		at += k
		near(t, entry, out["last"], &Tensor{Dims: []int{2}, Data: want["y"].Data[2*at-2 : 2*at]})
		if entry == "g" {
			near(t, "g", out["y"], want["y"].cut(at-k, at))
		}
	}
}

// TestNestedScan: a scan inside a scan starts anew with each outer chunk.
func TestNestedScan(t *testing.T) {
	b := NewBuilder()
	x := input(b, "x", RowDim(tokens))
	outer := &Clock{Name: "outer", Kind: Chunk, Of: tokens, Size: 6}
	inner := &Clock{Name: "inner", Kind: Chunk, Of: outer, Size: 2}
	scalar := func(name string, c *Clock) *Node {
		return b.Must("param", Attr{Name: name, Elem: elem.F32, Dims: []Dim{RowDim(c)}})
	}
	p, q := scalar("p", outer), scalar("q", inner)
	s := b.Must("state", Attr{Name: "s", Elem: elem.F32})
	r := b.Must("state", Attr{Name: "r", Elem: elem.F32})
	in, err := b.Scan("in", &Region{Clock: inner, Params: []*Node{q}, States: []*Node{r}, Init: []*Node{s},
		Rows: []*Node{b.Add(q, r)}, Next: []*Node{b.Add(r, b.Sum(q, "t"))}}, p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := b.Scan("out", &Region{Clock: outer, Params: []*Node{p}, States: []*Node{s}, Init: []*Node{b.F(1)},
		Rows: []*Node{b.Result(in, 0)}, Next: []*Node{b.Mul(s, b.F(10))}}, x)
	if err != nil {
		t.Fatal(err)
	}
	g := graphOf(b.Result(out, 0))
	g.Inputs = []*Node{x}
	if errs := g.Verify(); len(errs) > 0 {
		t.Fatal(Explain(errs))
	}
	v := NewTensor(elem.F32, 15)
	want := NewTensor(elem.F32, 15)
	first := 1.0
	for i := range v.Data {
		v.Data[i] = float64(i)
		if i > 0 && i%6 == 0 {
			first *= 10
		}
		want.Data[i] = v.Data[i] + first
		for j := i / 6 * 6; j < i/2*2; j++ {
			want.Data[i] += v.Data[j]
		}
	}
	got, err := Run(g, map[string]*Tensor{"x": v}, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the nested scan", got["y"], want)
	m, err := Parse(g.String())
	if err != nil || m.Entries[0].String() != g.String() {
		t.Errorf("the text of a nested scan: %v", err)
	}
}
