package ir

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// TestAdded: blocks begin at multiples of their size, are added when they are
// complete, and the last one is when the chunk is.
func TestAdded(t *testing.T) {
	for _, c := range []struct{ size, block int }{{16, 8}, {17, 8}, {23, 8}, {24, 5}, {8, 8}, {3, 8}, {64, 1}, {1, 1}} {
		for x := range int64(c.size + 1) {
			e, err := Added(ints.V("x"), c.size, c.block).Eval(map[string]int64{"x": x})
			if n := added(x, c.size, c.block); err != nil || e != n {
				t.Fatalf("%v: %d rows: %d and %d, %v", c, x, e, n, err)
			}
			if all := x == int64(c.size); all && e != x || !all && (e%int64(c.block) != 0 || e > x || x-e >= int64(c.block)) {
				t.Errorf("%v: of %d rows %d are added", c, x, e)
			}
		}
	}
}

// blocks is a scan whose write is Σ y⊗x and Σ x over its chunks of 16 rows, in
// blocks of 4.
func blocks(b *Builder, change func(r *Region)) *Graph {
	base := &Clock{Name: "t"}
	c := &Clock{Name: "c", Kind: Chunk, Of: base, Size: 16}
	rows, a, d := RowDim(c), dim("a", 3), dim("b", 2)
	x := b.Must("input", Attr{Name: "x", Elem: elem.F32, Dims: []Dim{RowDim(base), a}})
	p := b.Must("param", Attr{Name: "x", Elem: elem.F32, Dims: []Dim{rows, a}})
	w := b.Must("state", Attr{Name: "w", Elem: elem.F32, Dims: []Dim{d, a}})
	s := b.Must("state", Attr{Name: "s", Elem: elem.F32, Dims: []Dim{d, a}})
	m := b.Must("state", Attr{Name: "m", Elem: elem.F32, Dims: []Dim{a}})
	keep := b.Must("keep", Attr{Name: "r", Keep: Keep{Chunk: true, Ring: 16, Block: 4}}, p)
	kept := b.Must("kept", Attr{Name: "r", Elem: elem.F32, Dims: []Dim{rows, a}})
	y := b.Dot(w, kept, "a")
	sum := b.Must("accumulate", Attr{Over: []string{"t"}}, s, y, kept)
	mean := b.Must("accumulate", Attr{Over: []string{"t"}}, m, kept)
	zero := func(dims ...Dim) *Node { return b.Must("expand", Attr{Dims: dims}, b.F(0)) }
	one := b.Must("expand", Attr{Dims: []Dim{d, a}}, b.F(1))
	r := &Region{Clock: c, Params: []*Node{p}, States: []*Node{w, s, m}, Init: []*Node{one, zero(d, a), zero(a)},
		Rows: []*Node{b.Dot(w, p, "a")}, Kept: []*Node{keep}, Block: 4}
	next := b.Add(b.Mul(w, b.F(0.5)), b.Mul(b.Add(sum, mean), b.F(0.01)))
	r.Write = &Region{Next: []*Node{next, zero(d, a), zero(a)}, Sums: []*Node{nil, sum, mean}}
	if change != nil {
		change(r)
	}
	scan, err := b.Scan("scan", r, x)
	if err != nil {
		panic(err)
	}
	return &Graph{Name: "g", Base: base, Clocks: []*Clock{base}, B: b, Inputs: []*Node{x}, Outputs: []Output{{"y", b.Result(scan, 0)}}}
}

// TestSumsGrow: a session that is cut anywhere computes what whole chunks give,
// keeps a block's rows at most, and goes on from a saved state.
func TestSumsGrow(t *testing.T) {
	g := blocks(NewBuilder(), nil)
	if errs := g.Verify(); len(errs) > 0 {
		t.Fatal(Explain(errs))
	}
	if m, err := Parse(g.String()); err != nil || m.Entries[0].String() != g.String() {
		t.Fatalf("its text reads back as\n%v (%v), is\n%s", m, err, g)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	const n = 45
	x := random(rng, n, 3)
	want, err := Run(g, map[string]*Tensor{"x": x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range 20 {
		s, err := NewSession([]*Graph{g}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var parts []*Tensor
		for at := 0; at < n; {
			k := min(1+rng.IntN(1+cut), n-at)
			out, err := s.Call("g", map[string]*Tensor{"x": x.cut(at, at+k)})
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, out["y"])
			at += k
			if kept := s.State()["keep/r"]; kept != nil && kept.Dims[0] > 3 {
				t.Fatalf("after %d rows %d are kept", at, kept.Dims[0])
			}
			again, err := NewSession([]*Graph{g}, nil)
			if err == nil {
				err = again.SetState(s.State())
			}
			if err != nil {
				t.Fatal(err)
			}
			s = again
		}
		got := stack(parts...)
		for i, v := range want["y"].Data {
			if d := got.Data[i] - v; d > 1e-12 || d < -1e-12 {
				t.Fatalf("in calls of at most %d rows, element %d is %g, want %g", cut+1, i, got.Data[i], v)
			}
		}
	}
}

func TestVerifyBlocks(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(b *Builder, r *Region)
	}{
		{"blocks of 17 rows of a chunk of 16", func(b *Builder, r *Region) { r.Block = 17 }},
		{"in blocks of 5", func(b *Builder, r *Region) { r.Block = 5 }},
		{"add to 2 of 3 states", func(b *Builder, r *Region) { r.Write.Sums = r.Write.Sums[:2] }},
		{"blocks give f32[a:3] to the state s", func(b *Builder, r *Region) { r.Write.Sums[1] = r.Write.Sums[2] }},
		{"of which a write has the last blocks only", func(b *Builder, r *Region) {
			r.Write.Next[0] = b.Add(r.Write.Next[0], b.Sum(b.Must("kept", Attr{Name: "r", Elem: elem.F32, Dims: []Dim{RowDim(r.Clock), dim("a", 3)}}), "t"))
		}},
		{"added before the chunk is complete", func(b *Builder, r *Region) {
			r.Kept = append(r.Kept, b.Must("keep", Attr{Name: "all", Keep: Keep{Chunk: true, Ring: 16}}, r.Params[0]))
			all := b.Must("kept", Attr{Name: "all", Elem: elem.F32, Dims: []Dim{dim("t", 16), dim("a", 3)}})
			r.Write.Sums[2] = b.Add(r.Write.Sums[2], b.Sum(all, "t"))
		}},
		{"and no write that stands apart", func(b *Builder, r *Region) { r.Write, r.Kept, r.Next = nil, nil, make([]*Node, 3) }},
	} {
		b := NewBuilder()
		g := blocks(b, func(r *Region) { c.change(b, r) })
		var all []string
		for _, err := range g.Verify() {
			all = append(all, err.Error())
		}
		if !strings.Contains(strings.Join(all, "\n"), c.want) {
			t.Errorf("want %q, found %s", c.want, fmt.Sprint(all))
		}
	}
}
