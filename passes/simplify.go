package passes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir"
)

// A rule says that two texts mean one value. From and To are written in the
// graph's own syntax: ops over variables (lower-case words, each standing for
// any value) and numbers (constants, also repeated ones). The right side may
// have fewer dimensions; it is repeated along the others. Rules of one op are
// tried in the table's order.
type rule struct {
	Name, From, To string
}

var rules = []rule{
	{"add-zero", "add(x, 0)", "x"},
	{"zero-add", "add(0, x)", "x"},
	{"sub-zero", "sub(x, 0)", "x"},
	{"zero-sub", "sub(0, x)", "neg(x)"},
	{"mul-one", "mul(x, 1)", "x"},
	{"one-mul", "mul(1, x)", "x"},
	{"mul-minus-one", "mul(x, -1)", "neg(x)"},
	{"mul-zero", "mul(x, 0)", "0"},
	{"zero-mul", "mul(0, x)", "0"},
	{"div-one", "div(x, 1)", "x"},
	{"zero-div", "div(0, x)", "0"},
	{"neg-neg", "neg(neg(x))", "x"},
	{"neg-zero", "neg(0)", "0"},
	{"neg-mul", "mul(neg(x), y)", "neg(mul(x, y))"},
	{"mul-neg", "mul(x, neg(y))", "neg(mul(x, y))"},
	{"add-neg", "add(x, neg(y))", "sub(x, y)"},
	{"neg-add", "add(neg(x), y)", "sub(y, x)"},
	{"sub-neg", "sub(x, neg(y))", "add(x, y)"},
	{"neg-sub", "neg(sub(x, y))", "sub(y, x)"},
	{"select-same", "select(c, x, x)", "x"},
	{"max-same", "max(x, x)", "x"},
	{"min-same", "min(x, x)", "x"},
	{"not-not", "not(not(x))", "x"},
}

// pattern is one side of a rule.
type pattern struct {
	op   string // "" for a variable or a number
	name string
	num  float64
	args []*pattern
}

func parsePattern(s string) (*pattern, string) {
	s = strings.TrimLeft(s, " ")
	end := strings.IndexAny(s, "(,)")
	if end < 0 {
		end = len(s)
	}
	word, rest := strings.TrimSpace(s[:end]), s[end:]
	if strings.HasPrefix(rest, "(") {
		p := &pattern{op: word}
		for rest[0] != ')' {
			var a *pattern
			a, rest = parsePattern(rest[1:])
			p.args = append(p.args, a)
		}
		return p, rest[1:]
	}
	if v, err := strconv.ParseFloat(word, 64); err == nil {
		return &pattern{num: v}, rest
	}
	return &pattern{name: word}, rest
}

type compiledRule struct {
	rule
	from, to *pattern
}

var byOp = func() map[string][]compiledRule {
	m := map[string][]compiledRule{}
	for _, r := range rules {
		from, _ := parsePattern(r.From)
		to, _ := parsePattern(r.To)
		m[from.op] = append(m[from.op], compiledRule{r, from, to})
	}
	return m
}()

func (p *pattern) match(n *ir.Node, vars map[string]*ir.Node) bool {
	switch {
	case p.op != "":
		if n.Op.Name != p.op || len(n.Args) != len(p.args) {
			return false
		}
		for i, a := range p.args {
			if !a.match(n.Args[i], vars) {
				return false
			}
		}
		return true
	case p.name != "":
		if old, ok := vars[p.name]; ok {
			return old == n
		}
		vars[p.name] = n
		return true
	}
	v, ok := constant(n)
	return ok && v == p.num
}

// build makes the right side, or gives nil where its ops do not take these
// operands: integers have no neg.
func (p *pattern) build(b *ir.Builder, like *ir.Node, vars map[string]*ir.Node) *ir.Node {
	switch {
	case p.op != "":
		args := make([]*ir.Node, len(p.args))
		for i, a := range p.args {
			if args[i] = a.build(b, like, vars); args[i] == nil {
				return nil
			}
		}
		n, err := b.Make(p.op, ir.Attr{}, args...)
		if err != nil {
			return nil
		}
		return n
	case p.name != "":
		return vars[p.name]
	}
	return b.Must("const", ir.Attr{Value: p.num, Elem: like.Type.Elem})
}

// constant gives the value of a constant, also of a repeated one.
func constant(n *ir.Node) (float64, bool) {
	for n.Op.Name == "expand" {
		n = n.Args[0]
	}
	return n.Attr.Value, n.Op.Name == "const"
}

// simplify applies the rules and the structural rewrites below until nothing
// changes; they only ever make values smaller or fewer, so it ends.
func simplify(g *ir.Graph) (*ir.Graph, error) {
	const rounds = 50
	for range rounds {
		h := newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node { return simpler(g.B, n, args) }).graph(g)
		if slices.Equal(h.Roots(), g.Roots()) {
			return h, nil
		}
		g = h
	}
	return nil, fmt.Errorf("simplify did not settle after %d rounds", rounds)
}

// structural rewrites: each gives nil where it does not apply.
var structural = []struct {
	name string
	try  func(b *ir.Builder, n *ir.Node) *ir.Node
}{
	{"drop-expand", dropExpand},
	{"lift-repeat", liftRepeat},
	{"view-of-view", viewOfView},
	{"sum-of-repeats", sumOfRepeats},
	{"sum-of-products", sumOfProducts},
	{"dot-of-lazy", dotOfLazy},
	{"running-sum", runningSum},
	{"sum-in-steps", sumInSteps},
	{"dot-of-one", dotOfOne},
	{"dot-over-one", dotOverOne},
}

// fired, where a test sets it, is told the name of each rewrite that is applied.
var fired func(name string)

func tell(name string) {
	if fired != nil {
		fired(name)
	}
}

func simpler(b *ir.Builder, old *ir.Node, args []*ir.Node) *ir.Node {
	if old.Body != nil || old.Op.Name == "keep" {
		return nil
	}
	n := b.Must(old.Op.Name, old.Attr, args...)
	for _, r := range byOp[n.Op.Name] {
		vars := map[string]*ir.Node{}
		if r.from.match(n, vars) {
			if m := r.to.build(b, n, vars); m != nil && m.Type.Elem == n.Type.Elem {
				tell(r.Name)
				return fill(b, m, n.Type.Dims)
			}
		}
	}
	for _, s := range structural {
		if m := s.try(b, n); m != nil && m != n {
			tell(s.name)
			return fill(b, m, n.Type.Dims)
		}
	}
	if n == old {
		return nil
	}
	return n
}

// dropExpand: op(expand(x), y) = op(x, y) where y has the dimensions anyway;
// an expand that repeats along nothing is its operand.
func dropExpand(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name == "expand" {
		x := n.Args[0]
		if slices.EqualFunc(x.Type.Dims, n.Type.Dims, ir.Dim.Same) {
			return x
		}
		if x.Op.Name == "expand" {
			return fill(b, x.Args[0], n.Type.Dims)
		}
		if x.Op.Name == "dot" { // one that moves its dimensions: the product the other way round
			if m := b.Dot(x.Args[1], x.Args[0], x.Attr.Over...); m.Type.Equal(n.Type) {
				return m
			}
		}
		return nil
	}
	if n.Op.Type == nil || n.Op.Variadic || len(n.Args) < 2 || n.Op.Name == "attend" || n.Op.Name == "grad" {
		return nil
	}
	for i, a := range n.Args {
		if a.Op.Name != "expand" {
			continue
		}
		args := slices.Clone(n.Args)
		args[i] = a.Args[0]
		// The operand may lose only dimensions that another one still has.
		if m, err := b.Make(n.Op.Name, n.Attr, args...); err == nil && sameSet(m.Type, n.Type) {
			return m
		}
	}
	return nil
}

// liftRepeat: op(expand(x), expand(y)) = expand(op(x, y)) where the operands are
// repeated along rows.
func liftRepeat(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Type.Clock() == nil || n.Op.Rows != ir.Rowwise || n.Op.Variadic || len(n.Attr.Dims) > 0 || len(n.Args) == 0 || ir.MixesRows(n) {
		return nil
	}
	args := slices.Clone(n.Args)
	for i, a := range args {
		if a.Type.Clock() == nil {
			continue
		}
		if a.Op.Name != "expand" || a.Args[0].Type.Clock() != nil {
			return nil
		}
		args[i] = fill(b, a.Args[0], a.Type.Dims[1:])
	}
	m, err := b.Make(n.Op.Name, n.Attr, args...)
	if err != nil {
		return nil
	}
	return m
}

func sameSet(a, b ir.Type) bool {
	if a.Elem != b.Elem || len(a.Dims) != len(b.Dims) {
		return false
	}
	for _, d := range a.Dims {
		if i := b.Find(d.Name); i < 0 || !b.Dims[i].Same(d) {
			return false
		}
	}
	return true
}

func viewOfView(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "view" {
		return nil
	}
	x := n.Args[0]
	if x.Type.Equal(n.Type) {
		return x
	}
	if x.Op.Name == "view" {
		return b.Must("view", n.Attr, x.Args[0])
	}
	return nil
}

// sumOfRepeats: Σ over a dimension along which x is only repeated is size · x;
// along the others the sum is repeated, not what it sums.
func sumOfRepeats(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "sum" || n.Args[0].Op.Name != "expand" {
		return nil
	}
	x := n.Args[0].Args[0]
	times := 1.0
	var over []string
	for _, o := range n.Attr.Over {
		d := n.Args[0].Type.Dims[n.Args[0].Type.Find(o)]
		switch {
		case x.Type.Find(o) >= 0:
			over = append(over, o)
		case d.Static():
			times *= float64(d.Size)
		default:
			return nil
		}
	}
	if times == 1 && len(over) > 0 {
		return b.Sum(x, over...)
	}
	return b.Mul(b.Sum(x, over...), b.F(times))
}
