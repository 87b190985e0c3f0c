package frontend

import (
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
)

// Reductions, sums over a chunk's rows, and products.

// dimNames gives the dimensions of n that over names; all where it names none.
func (e *elab) dimNames(c *ruleCall, n *ir.Node) ([]string, bool) {
	var out []string
	if len(c.over) == 0 {
		for _, d := range n.Type.Dims {
			out = append(out, d.Name)
		}
	}
	for _, o := range c.over {
		name := o.Text
		if name == "last" && len(n.Type.Dims) > 0 {
			name = n.Type.Dims[len(n.Type.Dims)-1].Name
		} else if v, ok := c.s.find(name); ok {
			if d, ok := v.(dimV); ok {
				name = d.Name
			}
		} else if d := e.decls[name]; d != nil {
			if d, ok := e.declared(o.Pos, d).(dimV); ok {
				name = d.Name
			}
		}
		at := n.Type.Find(name)
		if at < 0 {
			var have []string
			for _, d := range n.Type.Dims {
				have = append(have, d.Name)
			}
			e.errorf(o.Pos, "there is no dimension %s in %s%s", o.Text, n.Type, near(o.Text, have))
			return nil, false
		}
		if slices.Contains(out, name) {
			e.errorf(o.Pos, "%s names the dimension %s twice", c.name, name)
			return nil, false
		}
		out = append(out, name)
	}
	for _, name := range out {
		d := n.Type.Dims[n.Type.Find(name)]
		if d.Len != nil {
			e.errorf(c.pos, "%s over %s: the number of its rows changes", c.name, d)
			return nil, false
		}
		if d.Clock != nil && d.Clock.Kind != ir.Chunk {
			e.errorf(c.pos, "%s over %s mixes rows of %s: cannot stream; inside a memory a chunk's rows can be summed", c.name, d.Name, d.Name)
			return nil, false
		}
		if d.Clock != nil && e.phase != writing {
			e.errorf(c.pos, "%s over %s: the chunk's rows are complete in its `write` only (cumsum_%s sums up to each row)", c.name, d.Name, d.Name)
			return nil, false
		}
	}
	return out, true
}

func (e *elab) square(c *ruleCall, n *ir.Node) value { return e.make(c.pos, "mul", ir.Attr{}, n, n) }

func (e *elab) reduce(c *ruleCall, op string, first func(*ruleCall, *ir.Node) value) value {
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	over, ok := e.dimNames(c, n)
	if !ok {
		return badV{}
	}
	if first != nil {
		t, ok := first(c, n).(tensorV)
		if !ok {
			return badV{}
		}
		n = t.Node
	}
	if len(over) == 0 {
		return tensorV{n}
	}
	return e.make(c.pos, op, ir.Attr{Over: over}, n)
}

func (e *elab) norm(c *ruleCall) value {
	t, ok := e.reduce(c, "sum", e.square).(tensorV)
	if !ok {
		return badV{}
	}
	return e.make(c.pos, "sqrt", ir.Attr{}, t.Node)
}

func (e *elab) mean(c *ruleCall) value {
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	over, ok := e.dimNames(c, n)
	if !ok {
		return badV{}
	}
	return e.average(c.pos, n, over)
}

func (e *elab) average(pos lexer.Position, n *ir.Node, over []string) value {
	count := 1.0
	for _, o := range over {
		d := n.Type.Dims[n.Type.Find(o)]
		if d.Clock != nil {
			count *= float64(d.Clock.Size)
		} else {
			count *= float64(d.Size)
		}
	}
	if len(over) == 0 {
		return tensorV{n}
	}
	t, ok := e.make(pos, "sum", ir.Attr{Over: over}, n).(tensorV)
	if !ok {
		return badV{}
	}
	return e.make(pos, "mul", ir.Attr{}, t.Node, e.b.F(1/count))
}

// rowsOf gives the operand of sum_t, mean_t, … and checks that it has rows of
// the running chunk of that clock.
func (e *elab) rowsOf(c *ruleCall, k int) (*ir.Node, bool) {
	n, ok := e.node(c, k)
	if !ok {
		return nil, false
	}
	_, clock, _ := rowRule(c.name)
	want := clock
	if v, ok := c.s.find(clock); ok {
		if d, ok := v.(dimV); ok {
			want = d.Name
		}
	} else if d := e.decls[clock]; d == nil || d.decl.Clock == nil && d.decl.Rows == nil {
		e.errorf(c.pos, "there is no clock %s for %s to go over", clock, c.name)
		return nil, false
	}
	if n.Type.Clock() == nil || n.Type.Dims[0].Name != want {
		e.errorf(c.pos, "%s goes over rows of %s, found %s", c.name, want, n.Type)
		return nil, false
	}
	return n, true
}

func (e *elab) sumRows(c *ruleCall) value {
	n, ok := e.rowsOf(c, 0)
	if !ok {
		return badV{}
	}
	d := n.Type.Dims[0]
	if d.Clock.Kind != ir.Chunk {
		return e.errorf(c.pos, "%s mixes rows of %s: cannot stream; inside a memory a chunk's rows can be summed", c.name, d.Name)
	}
	if e.phase != writing {
		return e.errorf(c.pos, "%s: the chunk's rows are complete in its `write` only (cumsum_%s sums up to each row)", c.name, d.Name)
	}
	if strings.HasPrefix(c.name, "mean_") {
		return e.average(c.pos, n, []string{d.Name})
	}
	return e.make(c.pos, "sum", ir.Attr{Over: []string{d.Name}}, n)
}

func (e *elab) cumsum(c *ruleCall) value {
	n, ok := e.rowsOf(c, 0)
	if !ok {
		return badV{}
	}
	if n.Type.Clock().Kind != ir.Chunk {
		return e.errorf(c.pos, "%s sums the rows of a chunk: it stands inside a memory", c.name)
	}
	return e.unique(e.full("cumsum"), func(name string) value { return e.make(c.pos, "cumsum", ir.Attr{Name: name}, n) })
}

func (e *elab) linrec(c *ruleCall) value {
	a, ok := e.rowsOf(c, 0)
	if !ok {
		return badV{}
	}
	b, ok := e.rowsOf(c, 1)
	if !ok {
		return badV{}
	}
	return e.unique(e.full("linrec"), func(name string) value { return e.make(c.pos, "linrec", ir.Attr{Name: name}, a, b) })
}

func (e *elab) dot(c *ruleCall) value {
	a, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	b, ok := e.node(c, 1)
	if !ok {
		return badV{}
	}
	if len(c.over) == 0 {
		return e.errorf(c.pos, "dot needs the dimensions to sum over: dot(a, b over d), found %s and %s", a.Type, b.Type)
	}
	over, ok := e.dimNames(c, a)
	if !ok {
		return badV{}
	}
	if _, ok := e.dimNames(c, b); !ok {
		return badV{}
	}
	return e.make(c.pos, "dot", ir.Attr{Over: over}, a, b)
}
