package frontend

import (
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// A rule is a function that the language has built in.
type rule struct {
	params string // names, optional ones with ?
	over   bool   // takes dimensions after over
	where  bool   // takes a mask
	per    bool
	doc    string
	apply  func(e *elab, c *ruleCall) value
}

// A ruleCall is a call of a rule with its arguments at hand; an optional
// argument that is left out is nil.
type ruleCall struct {
	*call
	name string
	args []value
	over []*name
	mask *ints.Expr
}

var rules map[string]rule

func init() {
	rules = map[string]rule{
		"sum":     {params: "x", over: true, doc: "the sum over the named dimensions, over all where none is named", apply: func(e *elab, c *ruleCall) value { return e.reduce(c, "sum", nil) }},
		"maximum": {params: "x", over: true, doc: "the largest over the named dimensions", apply: func(e *elab, c *ruleCall) value { return e.reduce(c, "maximum", nil) }},
		"mean":    {params: "x", over: true, doc: "sum / number of elements", apply: (*elab).mean},
		"norm2":   {params: "x", over: true, doc: "the sum of squares", apply: func(e *elab, c *ruleCall) value { return e.reduce(c, "sum", e.square) }},
		"norm":    {params: "x", over: true, doc: "the root of the sum of squares", apply: (*elab).norm},
		"dot":     {params: "a b", over: true, doc: "the sum over the named dimensions of a · b", apply: (*elab).dot},
		"concat":  {params: "a b c? d?", over: true, doc: "one after another along a dimension (the first, unless over names it); rows of a state before a chunk's rows", apply: (*elab).concat},
		"gather":  {params: "table idx", doc: "rows of a table by number", apply: (*elab).gather},
		"attend":  {params: "q k v scale? linear?", where: true, doc: "masked attention; scale is 1/√d unless given; linear: true leaves out the softmax", apply: (*elab).attend},
		"index":   {params: "t", doc: "the number of each row of a clock, or of a value's rows", apply: (*elab).indexOf},
		"turns":   {params: "pos d theta", doc: "the angles pos·θ^(-2j/d) in turns, j < d/2, along d", apply: (*elab).turnsOf},
		"grad":    {params: "ell w", per: true, doc: "the gradient of Σ ell with respect to w, for each row's term alone with per t", apply: (*elab).grad},
		"last":    {params: "x n?", doc: "the last row of the stream; the last n rows of a bounded value", apply: (*elab).last},
		"drop":    {params: "x n", doc: "the chunk's own rows of x, without the n put before", apply: (*elab).drop},
		"len":     {params: "x", doc: "the number of rows of a value that is not over a clock; of a list", apply: (*elab).lenOf},
		"shift":   {params: "x k", doc: "row i is row i-k of x, zero before the first", apply: (*elab).shift},
		"max":     {params: "a b", doc: "the larger", apply: func(e *elab, c *ruleCall) value { return e.pairwise(c, "max", math.Max) }},
		"min":     {params: "a b", doc: "the smaller", apply: func(e *elab, c *ruleCall) value { return e.pairwise(c, "min", math.Min) }},
		"weave":   {params: "r text", doc: "rows over r: those of text, and for each kind its literal rows", apply: (*elab).weave},
		"text":    {params: "y", doc: "the rows of y that stand for rows of the clock it was woven from", apply: (*elab).textRows},
	}
	for op, f := range map[string]func(float64) float64{
		"exp": math.Exp, "log": math.Log, "sqrt": math.Sqrt, "abs": math.Abs, "floor": math.Floor, "tanh": math.Tanh,
		"rsqrt":   func(x float64) float64 { return 1 / math.Sqrt(x) },
		"sigmoid": func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
		"silu":    nil, "softplus": nil, "costurn": nil, "sinturn": nil, "stop": nil,
	} {
		rules[op] = rule{params: "x", doc: ir.Ops[op].Doc, apply: func(e *elab, c *ruleCall) value { return e.single(c, op, f) }}
	}
	rowRules = map[string]rule{
		"sum_":    {params: "x", doc: "the sum over the chunk's rows", apply: (*elab).sumRows},
		"mean_":   {params: "x", doc: "the mean over the chunk's rows", apply: (*elab).sumRows},
		"cumsum_": {params: "x", doc: "the sum from the chunk's first row to this one", apply: (*elab).cumsum},
		"linrec_": {params: "a b", doc: "y_i = a_i·y_(i-1) + b_i", apply: (*elab).linrec},
	}
}

// rowRules are completed by the name of the clock whose rows they go over.
var rowRules map[string]rule

func rowRule(name string) (r rule, clock string, ok bool) {
	before, after, cut := strings.Cut(name, "_")
	r, ok = rowRules[before+"_"]
	return r, after, cut && ok && after != ""
}

func isRule(e *elab, name string) bool {
	if _, ok := rules[name]; ok {
		return true
	}
	_, _, ok := rowRule(name)
	return ok
}

func (e *elab) callRule(name string, c *call) value {
	r, ok := rules[name]
	if !ok {
		r, _, _ = rowRule(name)
	}
	var names []string
	need := 0
	for _, p := range strings.Fields(r.params) {
		if !strings.HasSuffix(p, "?") {
			need++
		}
		names = append(names, strings.TrimSuffix(p, "?"))
	}
	rc := &ruleCall{call: c, name: name, over: c.args.Over}
	switch {
	case len(rc.over) > 0 && !r.over:
		return e.errorf(rc.over[0].Pos, "%s takes no dimensions after over", name)
	case c.where != nil && !r.where:
		return e.errorf(c.where.Pos, "%s takes no mask", name)
	case c.where == nil && r.where:
		return e.errorf(c.pos, "%s needs a mask: %s(…) where j <= i", name, name)
	case c.per != nil && !r.per:
		return e.errorf(c.per.Pos, "per follows grad, not %s", name)
	case c.at != nil:
		return e.errorf(c.at.Pos, "at names the place of a layer or a memory, not of %s", name)
	}
	if name == "weave" {
		return r.apply(e, rc)
	}
	if rc.args, ok = e.bound(c, name, names); !ok {
		return badV{}
	}
	for i, v := range rc.args {
		if v == nil && i < need {
			return e.errorf(c.pos, "%s needs %d arguments (%s), found %d", name, need, strings.Join(names, ", "), len(c.args.List))
		}
	}
	if c.where != nil {
		m, ok := e.masked(c.where, c.s)
		if !ok {
			return badV{}
		}
		rc.mask = m
	}
	return r.apply(e, rc)
}

func (e *elab) node(c *ruleCall, k int) (*ir.Node, bool) {
	n, ok := e.tensor(c.pos, c.args[k], "the argument of "+c.name)
	if ok && e.scan != nil {
		n = e.scan.part(e, n)
	}
	return n, ok
}

func (e *elab) single(c *ruleCall, op string, f func(float64) float64) value {
	if x, ok := floatOf(c.args[0]); ok && f != nil {
		y := f(x)
		if math.IsNaN(y) || math.IsInf(y, 0) {
			return e.errorf(c.pos, "%s(%v) is not a number", op, x)
		}
		return floatV(y)
	}
	n, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	return e.make(c.pos, op, ir.Attr{}, n)
}

func (e *elab) pairwise(c *ruleCall, op string, f func(a, b float64) float64) value {
	a, b := c.args[0], c.args[1]
	x, okx := intOf(a)
	y, oky := intOf(b)
	if okx && oky {
		if (x < y) == (op == "min") {
			return intV(x)
		}
		return intV(y)
	}
	p, okp := floatOf(a)
	q, okq := floatOf(b)
	if okp && okq {
		return floatV(f(p, q))
	}
	m, ok := e.number(c.pos, a, b)
	if !ok {
		return badV{}
	}
	n, ok := e.number(c.pos, b, a)
	if !ok {
		return badV{}
	}
	return e.make(c.pos, op, ir.Attr{}, m, n)
}

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
	return e.make(c.pos, "cumsum", ir.Attr{}, n)
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
	return e.make(c.pos, "linrec", ir.Attr{}, a, b)
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
	if len(list[0].Type.Dims) == 0 {
		return e.errorf(c.pos, "concat joins values along a dimension, found %s", list[0].Type)
	}
	if len(c.over) == 0 {
		if n := list[len(list)-1]; len(list) == 2 && list[0].Type.Clock() == nil && n.Type.Clock() != nil {
			return e.prefixed(c, list[0], n)
		}
		return e.make(c.pos, "concat", ir.Attr{Dim: list[0].Type.Dims[0].Name}, list...)
	}
	over, ok := e.dimNames2(c, list[0])
	if !ok {
		return badV{}
	}
	return e.make(c.pos, "concat", ir.Attr{Dim: over}, list...)
}

// dimNames2 is the one dimension that over names.
func (e *elab) dimNames2(c *ruleCall, n *ir.Node) (string, bool) {
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

func (e *elab) attend(c *ruleCall) value {
	var n [3]*ir.Node
	for k := range n {
		var ok bool
		if n[k], ok = e.node(c, k); !ok {
			return badV{}
		}
	}
	dims := n[0].Type.Dims
	if len(dims) != 3 {
		return e.errorf(c.pos, "attend takes q, k and v as [rows, heads, size], found %s", n[0].Type)
	}
	if later(c.mask) {
		return e.errorf(c.where.Pos, "the mask lets a row see a later row (j > i): cannot stream; add `j <= i and …`")
	}
	scale := pow(float64(dims[2].Size), -0.5)
	if v := c.args[3]; v != nil {
		f, ok := floatOf(v)
		if !ok {
			return e.errorf(c.pos, "the scale of attend is a static number, found %s", v.what())
		}
		scale = f
	}
	linear := false
	if v := c.args[4]; v != nil {
		b, ok := v.(boolV)
		if !ok {
			return e.errorf(c.pos, "linear is true or false, found %s", v.what())
		}
		linear = bool(b)
	}
	base := e.path
	if base == "" {
		base = "attend"
	}
	return e.unique(base, func(name string) value {
		return e.make(c.pos, "attend", ir.Attr{Name: name, Value: scale, Linear: linear, Where: c.mask}, n[0], n[1], n[2])
	})
}

func (e *elab) indexOf(c *ruleCall) value {
	var clock *ir.Clock
	switch v := c.args[0].(type) {
	case clockV:
		clock = v.Clock
	case dimV:
		clock = v.Clock
	case tensorV:
		clock = v.Type.Clock()
	}
	if clock == nil {
		return e.errorf(c.pos, "index numbers the rows of a clock, found %s", c.args[0].what())
	}
	return e.make(c.pos, "index", ir.Attr{Clock: clock})
}

// maxHead bounds the angles of one row.
const maxHead = 1 << 16

// turnsOf makes the fractions round(θ^(-2j/d)/2π · 2^64): the op multiplies them
// by the position modulo one turn, which stays exact at any position.
func (e *elab) turnsOf(c *ruleCall) value {
	pos, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	d, ok := c.args[1].(dimV)
	if !ok || !d.Static() || d.Size%2 != 0 || d.Size > maxHead {
		return e.errorf(c.pos, "turns needs an even dimension of at most %d, found %s", maxHead, c.args[1].what())
	}
	if !e.charge(c.pos, d.Size) {
		return badV{}
	}
	theta, ok := floatOf(c.args[2])
	if !ok || theta < 1 {
		return e.errorf(c.pos, "turns needs a base of at least 1, found %s", c.args[2].what())
	}
	fractions := make([]int64, d.Size/2)
	for j := range fractions {
		fractions[j] = turnFraction(theta, j, d.Size)
	}
	return e.make(c.pos, "turns", ir.Attr{Dim: d.Name, Ints: fractions}, pos)
}

// pi with 128 bits and more.
var pi, _, _ = big.ParseFloat("3.14159265358979323846264338327950288419716939937510582097494459", 10, 256, big.ToNearestEven)

func turnFraction(theta float64, j, size int) int64 {
	x := new(big.Float).SetPrec(256).SetFloat64(pow(theta, -2*float64(j)/float64(size)))
	x.Quo(x, new(big.Float).Mul(big.NewFloat(2), pi))
	x.SetMantExp(x, 64)
	x.Add(x, big.NewFloat(0.5))
	i, _ := x.Int(nil)
	return int64(new(big.Int).And(i, new(big.Int).SetUint64(math.MaxUint64)).Uint64())
}

func pow(x, y float64) float64 { return math.Pow(x, y) }

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

// Functions lists the names of the functions that the language has built in;
// those that end in _ are completed by the name of a clock.
func Functions() []string {
	var out []string
	for n := range rules {
		out = append(out, n)
	}
	for n := range rowRules {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
