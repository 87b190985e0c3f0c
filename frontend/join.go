package frontend

import (
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Functions that join, pick and move rows, and gradients.

func (e *elab) concat(c *ruleCall) value {
	var list []*ir.Node
	for k, v := range c.args {
		if v == nil {
			break
		}
		n, ok := e.node(c, k)
		if !ok {
			return badV{}
		}
		list = append(list, n)
	}
	if slices.ContainsFunc(list, func(n *ir.Node) bool { return n.Type.Elem.Float() }) {
		for k, n := range list {
			list[k] = e.numbers(n)
		}
	}
	if len(list[0].Type.Dims) == 0 {
		return e.errorf(c.pos, "concat joins values along a dimension, found %s", list[0].Type)
	}
	if len(c.over) == 0 {
		if n := list[len(list)-1]; len(list) == 2 && list[0].Type.Clock() == nil && n.Type.Clock() != nil {
			return e.prefixed(c, list[0], n)
		}
		if clock := list[0].Type.Clock(); clock != nil {
			return e.errorf(c.pos, "rows of %s cannot be put behind others: say along which dimension, concat(a, b over d); found %s", clock.Name, list[0].Type)
		}
		return e.make(c.pos, "concat", ir.Attr{Dim: list[0].Type.Dims[0].Name}, list...)
	}
	over, ok := e.oneDim(c, list[0])
	if !ok {
		return badV{}
	}
	return e.make(c.pos, "concat", ir.Attr{Dim: over}, list...)
}

// oneDim is the one dimension that over names.
func (e *elab) oneDim(c *ruleCall, n *ir.Node) (string, bool) {
	if len(c.over) != 1 {
		e.errorf(c.over[1].Pos, "%s goes along one dimension", c.name)
		return "", false
	}
	over, ok := e.dimNames(c, n)
	if !ok {
		return "", false
	}
	return over[0], true
}

func (e *elab) gather(c *ruleCall) value {
	t, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	i, ok := e.node(c, 1)
	if !ok {
		return badV{}
	}
	return e.make(c.pos, "gather", ir.Attr{}, t, i)
}

func (e *elab) grad(c *ruleCall) value {
	ell, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	dim := ""
	if c.per != nil {
		if ell.Type.Clock() == nil {
			return e.errorf(c.per.Pos, "the loss has no rows of %s: %s", c.per.Text, ell.Type)
		}
		dim = ell.Type.Dims[0].Name
		v := e.lookup(c.per.Pos, c.per.Text, c.s)
		if isBad(v) {
			return v
		}
		want := ""
		switch v := v.(type) {
		case clockV:
			want = v.Name
		case dimV:
			want = v.Name
		}
		if want != dim {
			return e.errorf(c.per.Pos, "the loss has rows of %s, not of %s: %s", dim, c.per.Text, ell.Type)
		}
	}
	one := func(w value) value {
		n, ok := e.tensor(c.pos, w, "what the gradient is taken with respect to")
		if !ok {
			return badV{}
		}
		if !slices.Contains(ir.Postorder(ell), n) {
			return e.errorf(c.pos, "the loss does not depend on what its gradient is taken with respect to (%s)", n.Type)
		}
		if clock := ell.Type.Clock(); dim == "" && clock != nil && (clock.Kind != ir.Chunk || e.phase != writing) {
			return e.errorf(c.pos, "grad adds the losses of all rows of %s up: cannot stream; in a memory's write those of its chunk are added", ell.Type.Dims[0].Name)
		}
		return e.make(c.pos, "grad", ir.Attr{Dim: dim}, ell, n)
	}
	if r, ok := c.args[1].(recordV); ok {
		out := recordV{of: r.of}
		for _, w := range r.fields {
			g := one(w)
			if isBad(g) {
				return g
			}
			out.fields = append(out.fields, g)
		}
		return out
	}
	return one(c.args[1])
}

func (e *elab) last(c *ruleCall) value {
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	if c.args[1] == nil {
		return e.make(c.pos, "last", ir.Attr{}, n)
	}
	d, ok := e.sized(c.pos, "the queue", c.args[1])
	if !ok {
		return badV{}
	}
	return e.make(c.pos, "tail", ir.Attr{Size: d.Size}, n)
}

func (e *elab) drop(c *ruleCall) value {
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	k, ok := c.args[1].(lenV)
	if clock := n.Type.Clock(); !ok || clock == nil || clock.Kind != ir.Prefixed || !ints.Equal(clock.Prefix, k.Expr) {
		return e.errorf(c.pos, "drop takes rows that concat put len(m) rows before, and that len(m); found %s and %s", n.Type, c.args[1].what())
	}
	return e.make(c.pos, "suffix", ir.Attr{}, n)
}

func (e *elab) lenOf(c *ruleCall) value {
	if l, ok := c.args[0].(listV); ok {
		return intV(len(l))
	}
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	if len(n.Type.Dims) == 0 || n.Type.Clock() != nil {
		return e.errorf(c.pos, "len counts rows that are not over a clock, found %s", n.Type)
	}
	return lenV{ir.LenOf(n.Type.Dims[0])}
}

func (e *elab) shift(c *ruleCall) value {
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	k, ok := intOf(c.args[1])
	if !ok || k < 1 || k > 1<<20 {
		return e.errorf(c.pos, "shift goes back by 1 to %d rows, found %s", 1<<20, c.args[1].what())
	}
	return e.unique(e.full("shift"), func(name string) value {
		return e.make(c.pos, "shift", ir.Attr{Name: name, Start: int(k)}, n)
	})
}

// intTable is constant data of integers along one new dimension.
func (e *elab) intTable(name string, et elem.Type, data []int64) *ir.Node {
	return e.b.Must("table", ir.Attr{Elem: et, Dims: []ir.Dim{{Name: name, Size: len(data)}}, Ints: data})
}
