package frontend

import (
	"math"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// A rule is a function that the language has built in.
type rule struct {
	params string // names, optional ones with ?
	over   bool   // takes dimensions after over
	where  bool   // takes a mask
	per    bool
	whole  bool // takes integers as they are
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
		"concat":  {params: "a b c? d?", whole: true, over: true, doc: "one after another along a dimension (the first, unless over names it); rows of a state before a chunk's rows", apply: (*elab).concat},
		"gather":  {params: "table idx", whole: true, doc: "rows of a table by number", apply: (*elab).gather},
		"attend":  {params: "q k v scale? linear? cap? slopes?", where: true, doc: "masked attention; scale is 1/√d unless given; linear: true leaves out the softmax; cap: c makes scores c·tanh(s/c); slopes: one number a head, times j - i, is added to them", apply: (*elab).attend},
		"index":   {params: "t", doc: "the number of each row of a clock, or of a value's rows", apply: (*elab).indexOf},
		"turns":   {params: "pos d theta", whole: true, doc: "the angles pos·θ^(-2j/d) in turns, j < d/2, along d", apply: (*elab).turnsOf},
		"grad":    {params: "ell w", per: true, doc: "the gradient of Σ ell with respect to w, for each row's term alone with per t", apply: (*elab).grad},
		"last":    {params: "x n?", whole: true, doc: "the last row of the stream; the last n rows of a bounded value", apply: (*elab).last},
		"drop":    {params: "x n", whole: true, doc: "the chunk's own rows of x, without the n put before", apply: (*elab).drop},
		"len":     {params: "x", doc: "the number of rows of a value that is not over a clock; of a list", apply: (*elab).lenOf},
		"shift":   {params: "x k", whole: true, doc: "row i is row i-k of x, zero before the first", apply: (*elab).shift},
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
	whole := rules[c.name].whole
	if _, static := intOf(c.args[k]); static && whole {
		e.b.At = []ir.Pos{place(c.pos)}
		return e.chosen(c.args[k])
	}
	n, ok := e.tensor(c.pos, c.args[k], "the argument of "+c.name)
	if ok && !whole {
		n = e.numbers(n)
	}
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
	_, ma := a.(maskV)
	_, mb := b.(maskV)
	if ma || mb {
		return e.mask(c.pos, op, a, b)
	}
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
