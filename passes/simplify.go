package passes

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir"
)

// A rule says that two texts mean one value. From and To are written in the
// graph's own syntax: ops over variables (lower-case words, each standing for
// any value) and numbers (constants, also repeated ones). The right side may
// have fewer dimensions; it is repeated along the others. Rules of one op are
// tried in the table's order. A right side of another element type than the left
// one's is none.
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
	{"cast-same", "cast(x)", "x"},
	{"add-same", "add(x, x)", "mul(x, 2)"},
}

// sharedRules are rules that hold where With, a value of the right side, is
// computed anyway: the gradient of silu(x) has sigmoid(x).
var sharedRules = []struct {
	rule
	With string
}{
	{rule{"silu-by-sigmoid", "silu(x)", "mul(x, sigmoid(x))"}, "sigmoid(x)"},
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
	from, to, with *pattern // with may be nil
}

var byOp = func() map[string][]compiledRule {
	m := map[string][]compiledRule{}
	add := func(r rule, with *pattern) {
		from, _ := parsePattern(r.From)
		to, _ := parsePattern(r.To)
		m[from.op] = append(m[from.op], compiledRule{r, from, to, with})
	}
	for _, r := range rules {
		add(r, nil)
	}
	for _, r := range sharedRules {
		with, _ := parsePattern(r.With)
		add(r.rule, with)
	}
	return m
}()

// needed are the nodes of a graph that sharedRules ask for, by their ops.
type needed map[string][]*ir.Node

func neededIn(g *ir.Graph) needed {
	found := needed{}
	for _, rs := range byOp {
		for _, r := range rs {
			if r.with != nil {
				found[r.with.op] = nil
			}
		}
	}
	everyNode(g, func(n *ir.Node) {
		if list, ok := found[n.Op.Name]; ok {
			found[n.Op.Name] = append(list, n)
		}
	})
	return found
}

// has reports whether some node matches p with what the variables stand for.
func (found needed) has(p *pattern, vars map[string]*ir.Node) bool {
	return slices.ContainsFunc(found[p.op], func(n *ir.Node) bool { return p.match(n, maps.Clone(vars)) })
}

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
// operands: integers have no neg, and no constants but 0.
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
	if p.num != 0 && !like.Type.Elem.Float() {
		return nil
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
		found := neededIn(g)
		h := newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node { return simpler(g.B, found, n, args) }).graph(g)
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
	{"scale-of-scale", scaleOfScale},
	{"divide-few", divideFew},
	{"scale-once", scaleOnce},
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

func simpler(b *ir.Builder, found needed, old *ir.Node, args []*ir.Node) *ir.Node {
	if old.Body != nil || old.Op.Name == "keep" {
		return nil
	}
	n := b.Must(old.Op.Name, old.Attr, args...)
	for _, r := range byOp[n.Op.Name] {
		vars := map[string]*ir.Node{}
		if r.from.match(n, vars) && (r.with == nil || found.has(r.with, vars)) {
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

// scaleOfScale: (x·a)·b = x·(a·b) for constants a and b.
func scaleOfScale(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "mul" || !n.Type.Elem.Float() {
		return nil
	}
	x, y, ok := scaled(n)
	if !ok || x.Op.Name != "mul" {
		return nil
	}
	x, z, ok := scaled(x)
	// An f32 has to hold the product as well as it does its factors.
	if c := math.Abs(y * z); !ok || c != 0 && c < 0x1p-126 || c > math.MaxFloat32 {
		return nil
	}
	return b.Mul(x, b.F(y*z))
}

// scaled is a product with a constant as what is multiplied and the constant.
func scaled(n *ir.Node) (x *ir.Node, by float64, ok bool) {
	for i, a := range n.Args {
		if by, ok = constant(a); ok {
			return n.Args[1-i], by, true
		}
	}
	return nil, 0, false
}

// divideFew: x / y = x · (1/y) where y is repeated along what x has: as many
// divisions as y has elements. (They differ where f32 has no 1/y, for y below
// 2^-128.) Values with rows stay: x/y may be what a call keeps for the next, and x
// and 1/y would be two of these.
func divideFew(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "div" || !n.Type.Elem.Float() || n.Args[1].Op.Name == "const" || n.Type.Clock() != nil || len(n.Args[1].Type.Dims) >= len(n.Type.Dims) {
		return nil
	}
	return b.Mul(n.Args[0], b.Div(b.F(1), n.Args[1]))
}

// scaleOnce: (x · y) · z = x · (y · z) where x alone has all the dimensions, and
// none of them rows.
func scaleOnce(b *ir.Builder, n *ir.Node) *ir.Node {
	if n.Op.Name != "mul" || !n.Type.Elem.Float() || n.Type.Clock() != nil {
		return nil
	}
	all := len(n.Type.Dims)
	for i, m := range n.Args {
		z := n.Args[1-i]
		if m.Op.Name != "mul" || len(z.Type.Dims) == all {
			continue
		}
		for k, x := range m.Args {
			y := m.Args[1-k]
			if len(x.Type.Dims) < all || len(y.Type.Dims) == all {
				continue
			}
			_, known := constant(y)
			if _, both := constant(z); both && known {
				continue // see scaleOfScale
			}
			if small := b.Mul(y, z); len(small.Type.Dims) < all {
				return b.Mul(x, small)
			}
		}
	}
	return nil
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
