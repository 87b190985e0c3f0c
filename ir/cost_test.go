package ir

import (
	"testing"

	"github.com/memc-lang/memc/ir/elem"
)

func TestCost(t *testing.T) {
	b := NewBuilder()
	x := input(b, "x", RowDim(tokens), dim("k", 6))
	w := b.Must("weight", Attr{Name: "w", Elem: elem.BF16, Dims: []Dim{dim("n", 5), dim("k", 6)}})
	g := graphOf(b.Dot(x, w, "k"))
	c, err := g.Cost(100, 7)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Cost{2 * 7 * 6 * 5, 7*6*4 + 5*6*2 + 7*5*4}); c != want {
		t.Errorf("a product costs %v, want %v", c, want)
	}

	q := input(b, "q", RowDim(tokens), dim("h", 2), dim("d", 3))
	kv := input(b, "kv", RowDim(tokens), dim("g", 1), dim("d", 3))
	g = graphOf(b.Must("attend", Attr{Name: "a", Value: 1, Where: mustParse("j <= i && i - j < 4")}, q, kv, kv))
	for _, at := range []struct{ pos, n, pairs int64 }{{0, 1, 1}, {0, 10, 1 + 2 + 3 + 4*7}, {9, 3, 12}, {0, 1 << 20, 4<<20 - 6}} {
		c, err := g.Cost(at.pos, at.n)
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 * at.pairs * 2 * 6; c.Flops != want {
			t.Errorf("attend at %d over %d rows costs %d flops, want %d", at.pos, at.n, c.Flops, want)
		}
	}
}

// TestCostAddsUp: a stream in pieces costs as much as whole, in both forms.
func TestCostAddsUp(t *testing.T) {
	for _, kept := range []bool{false, true} {
		g := streamed(NewBuilder(), kept)
		whole, nodes, _, err := g.Costs(0, 40)
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, c := range nodes {
			sum += c.Flops
		}
		if sum != whole.Flops {
			t.Errorf("the nodes cost %d flops, the graph %d", sum, whole.Flops)
		}
		// Constants, and what has no rows outside of the scan, cost nothing here.
		var parts Cost
		for at := int64(0); at < 40; at += 8 {
			c, err := g.Cost(at, 8)
			if err != nil {
				t.Fatal(err)
			}
			parts.add(c)
		}
		if parts.Flops != whole.Flops {
			t.Errorf("kept %v: five pieces cost %d flops, the whole %d", kept, parts.Flops, whole.Flops)
		}
	}
}
