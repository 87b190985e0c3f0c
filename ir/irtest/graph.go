package irtest

import (
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Graph makes a graph of about size nodes beside the scans' bodies, over the
// clock t, with inputs x f32[t, …] and tokens i32[t], an output y over t, and
// last, y's last row. It has no op grad: its stage is the one after gradients.
func Graph(src Source, size int) *ir.Graph {
	t := &ir.Clock{Name: "t", Kind: ir.Base}
	m := &maker{src: src, b: ir.NewBuilder(), clock: t}
	m.b.At = []ir.Pos{{File: "random.spec", Line: 1, Col: 1}}
	x := m.b.Must("input", ir.Attr{Name: "x", Elem: elem.F32, Dims: []ir.Dim{ir.RowDim(t), m.dim()}})
	tokens := m.b.Must("input", ir.Attr{Name: "tokens", Elem: elem.I32, Dims: []ir.Dim{ir.RowDim(t)}})
	e := m.b.Must("gather", ir.Attr{}, m.weight(1, ir.Dim{Name: "v", Size: Vocabulary}, m.dim()), tokens)
	m.pool, m.number = []*ir.Node{x, e}, tokens
	clocks := []*ir.Clock{t}
	if m.chance(4) {
		m.pool = []*ir.Node{x, e, m.weave(x, tokens, size/2)}
		clocks = append(clocks, m.pool[2].Args[0].Type.Clock())
		size /= 2
	}
	for m.made < size {
		m.b.At[0].Line++
		m.grow(topSteps)
	}
	y := m.gather(ir.Dim{Name: "out", Size: m.odd(9)})
	return &ir.Graph{Name: "forward", Base: t, Clocks: clocks, Inputs: []*ir.Node{x, tokens}, B: m.b,
		Outputs: []ir.Output{{Name: "y", Node: y}, {Name: "last", Node: m.b.Must("last", ir.Attr{}, y)}}}
}

// maker grows a pool of values over one clock. Every value in it is floating,
// has rows, and at most mostWidth elements a row; a static dimension's size
// follows from its name, so that any two values broadcast.
type maker struct {
	src   Source
	b     *ir.Builder
	clock *ir.Clock
	pool  []*ir.Node
	made  int
	names *int // of weights, states and all that is carried
	up    *maker

	number *ir.Node // an i32 of each row, where there is one
}

const mostWidth = 400

func (m *maker) pick(n int) int     { return m.src.IntN(n) }
func (m *maker) chance(of int) bool { return m.src.IntN(of) == 0 }

// odd is a size from 1 to most, rarely a round one.
func (m *maker) odd(most int) int { return 1 + m.pick(most) }

func (m *maker) name(what string) string {
	for m.up != nil {
		m = m.up
	}
	if m.names == nil {
		m.names = new(int)
	}
	*m.names++
	return fmt.Sprintf("%s.%d", what, *m.names)
}

// dim is one of few dimensions: the letter tells those of one size apart.
func (m *maker) dim() ir.Dim { return sized([]string{"a", "b", "c"}[m.pick(3)], m.odd(7)) }

func sized(letter string, size int) ir.Dim {
	return ir.Dim{Name: fmt.Sprintf("%s%d", letter, size), Size: size}
}

// fresh is a dimension of that size that x does not have.
func fresh(x *ir.Node, size int) ir.Dim {
	for _, letter := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		if d := sized(letter, size); x.Type.Find(d.Name) < 0 {
			return d
		}
	}
	panic("irtest: too many dimensions of one size")
}

// weight is a weight that keeps a product over terms of them near 1.
func (m *maker) weight(terms int, dims ...ir.Dim) *ir.Node {
	e := elem.F32
	if m.chance(4) {
		e = []elem.Type{elem.BF16, elem.F16}[m.pick(2)]
	}
	return m.b.Must("weight", ir.Attr{Name: m.name("w"), Elem: e, Dims: dims, Init: ir.Init{Kind: "normal", Scale: 1 / math.Sqrt(float64(terms))}})
}

func (m *maker) any() *ir.Node { return m.pool[m.pick(len(m.pool))] }

// static lists the dimensions of x that are not rows.
func static(x *ir.Node) []ir.Dim { return x.Type.Dims[1:] }

func width(dims []ir.Dim) int {
	n := 1
	for _, d := range dims {
		n *= d.Size
	}
	return n
}

// add puts a value into the pool, tamed where it may have grown.
func (m *maker) add(x *ir.Node, tame bool) {
	if width(static(x)) > mostWidth || len(x.Type.Dims) > 5 {
		return
	}
	if tame {
		x = m.b.Must("tanh", ir.Attr{}, x)
	}
	m.made++
	m.pool = append(m.pool, x)
}

// grow takes one random step.
func (m *maker) grow(steps []func(m *maker)) { steps[m.pick(len(steps))](m) }

// rowSteps work row by row, anywhere; topSteps outside of scans.
var rowSteps, topSteps []func(m *maker)

func init() {
	rowSteps = []func(m *maker){(*maker).unary, (*maker).unary, (*maker).binary, (*maker).binary, (*maker).reduce, (*maker).reshape,
		(*maker).part, (*maker).project, (*maker).project, (*maker).contract, (*maker).position, (*maker).choose, (*maker).norm}
	topSteps = append(append(topSteps, rowSteps...), (*maker).attend, (*maker).attend, (*maker).shift, (*maker).recur, (*maker).scan, (*maker).scan)
}

func (m *maker) op(name string, args ...*ir.Node) *ir.Node {
	return m.b.Must(name, ir.Attr{}, args...)
}

// unary applies a function inside its domain.
func (m *maker) unary() {
	x, b := m.any(), m.b
	positive := b.Add(m.op("abs", x), b.F(0.5))
	switch m.pick(10) {
	case 0:
		x = b.Neg(x)
	case 1:
		x = m.op("log", positive)
	case 2:
		x = m.op("sqrt", positive)
	case 3:
		x = m.op("rsqrt", positive)
	case 4:
		x = m.op("exp", m.op("tanh", x))
	case 5:
		x = m.op("costurn", b.Mul(m.op("tanh", x), b.F(0.5)))
	case 6:
		x = b.Div(x, b.Add(positive, m.op("softplus", m.any())))
	default:
		x = m.op([]string{"sigmoid", "silu", "softplus"}[m.pick(3)], x)
	}
	m.add(x, false)
}

func (m *maker) binary() {
	m.add(m.op([]string{"add", "sub", "mul", "max", "min"}[m.pick(5)], m.any(), m.any()), true)
}

func (m *maker) reduce() {
	x := m.any()
	for len(static(x)) < 4 && m.chance(2) {
		y := m.op("mul", x, m.any())
		if width(static(y)) > mostWidth || len(static(y)) > 4 {
			break
		}
		x = y
	}
	var over []string
	for _, d := range static(x) {
		if m.chance(2) {
			over = append(over, d.Name)
		}
	}
	if len(over) == 0 {
		return
	}
	if m.chance(2) {
		slices.Reverse(over)
	}
	m.add(m.b.Must([]string{"sum", "maximum"}[m.pick(2)], ir.Attr{Over: over}, x), true)
}

// norm divides rows by their size.
func (m *maker) norm() {
	x := m.any()
	dims := static(x)
	if len(dims) == 0 {
		return
	}
	d := dims[m.pick(len(dims))]
	mean := m.b.Mul(m.b.Sum(m.b.Mul(x, x), d.Name), m.b.F(1/float64(d.Size)))
	m.add(m.b.Mul(x, m.op("rsqrt", m.b.Add(mean, m.b.F(1e-3)))), false)
}

// reshape sees a row under one dimension, or as two.
func (m *maker) reshape() {
	x := m.any()
	n := width(static(x))
	dims := []ir.Dim{sized("f", n)}
	for k := 2 + m.pick(3); k < n; k++ {
		if n%k == 0 {
			dims = []ir.Dim{sized("g", k), sized("h", n/k)}
			break
		}
	}
	m.add(m.b.Must("view", ir.Attr{Dims: append([]ir.Dim{ir.RowDim(m.clock)}, dims...)}, x), false)
}

// part slices, pads, joins or repeats. The new size has a name of its own.
func (m *maker) part() {
	x, b := m.any(), m.b
	dims := static(x)
	if len(dims) == 0 {
		m.add(b.Must("expand", ir.Attr{Dims: append([]ir.Dim{m.dim()}, x.Type.Dims...)}, x), false)
		return
	}
	d := dims[m.pick(len(dims))]
	var y *ir.Node
	switch m.pick(3) {
	case 0:
		start := m.pick(d.Size)
		y = b.Must("slice", ir.Attr{Dim: d.Name, Start: start, Size: 1 + m.pick(d.Size-start)}, x)
	case 1:
		y = b.Must("pad", ir.Attr{Dim: d.Name, Start: m.pick(3), Size: d.Size + 2 + m.pick(2)}, x)
	default:
		y = b.Must("concat", ir.Attr{Dim: d.Name}, x, m.op("silu", x), b.Neg(x))
	}
	// Under the old name no other value would fit it.
	i := y.Type.Find(d.Name)
	new := append([]ir.Dim{}, y.Type.Dims...)
	new[i] = fresh(y, new[i].Size)
	m.add(b.Must("view", ir.Attr{Dims: new}, y), false)
}

// project multiplies by a weight over one or all dimensions of a row, or over
// one with another as a batch.
func (m *maker) project() {
	x := m.any()
	dims := static(x)
	if len(dims) == 0 {
		return
	}
	d := dims[m.pick(len(dims))]
	out := fresh(x, m.odd(9))
	over := []string{d.Name}
	with := []ir.Dim{out, d}
	switch {
	case len(dims) > 1 && m.chance(3):
		over, with = nil, []ir.Dim{out}
		for _, d := range dims {
			over, with = append(over, d.Name), append(with, d)
		}
	case len(dims) > 1 && m.chance(2):
		e := dims[m.pick(len(dims))]
		if e.Name != d.Name {
			with = []ir.Dim{e, out, d}
		}
	}
	w := m.weight(width(with)/out.Size, with...)
	if m.chance(2) {
		m.add(m.b.Dot(x, w, over...), true)
	} else {
		m.add(m.b.Dot(w, x, over...), true)
	}
}

// contract multiplies two values of the pool over a dimension of both.
func (m *maker) contract() {
	x, y := m.any(), m.any()
	for _, d := range static(x) {
		if y.Type.Find(d.Name) >= 0 {
			m.add(m.b.Mul(m.b.Dot(x, y, d.Name), m.b.F(1/float64(d.Size))), true)
			return
		}
	}
}

// position makes a value of the row's number: an angle, or a table's row.
func (m *maker) position() {
	i := m.b.Must("index", ir.Attr{Clock: m.clock})
	if m.chance(2) {
		d := sized("t", m.odd(4))
		f := make([]int64, d.Size)
		for k := range f {
			f[k] = int64(m.pick(1<<30)) << 32
		}
		x := m.b.Must("turns", ir.Attr{Dim: d.Name, Ints: f}, i)
		m.add(m.op([]string{"costurn", "sinturn"}[m.pick(2)], x), false)
		return
	}
	rows := ir.Dim{Name: "v", Size: 2 + m.pick(6)}
	m.add(m.op("gather", m.weight(1, rows, m.dim()), m.op("mod", i, m.b.I(int64(rows.Size)))), false)
}

// choose selects by a test on the row's number.
func (m *maker) choose() {
	i := m.b.Must("index", ir.Attr{Clock: m.clock})
	k := int64(2 + m.pick(5))
	c := m.op([]string{"lt", "le", "eq"}[m.pick(3)], m.op("mod", i, m.b.I(k)), m.b.I(int64(m.pick(int(k)))))
	switch m.pick(3) {
	case 0:
		c = m.op("not", c)
	case 1:
		c = m.op([]string{"and", "or"}[m.pick(2)], c, m.op("lt", m.b.I(7), i))
	}
	m.add(m.b.Select(c, m.any(), m.any()), false)
}

// flat gives x as [t, n].
func (m *maker) flat(x *ir.Node) *ir.Node {
	return m.b.Must("view", ir.Attr{Dims: []ir.Dim{ir.RowDim(m.clock), sized("f", width(static(x)))}}, x)
}

// heads projects a value to [t, heads, size].
func (m *maker) heads(x *ir.Node, h, d ir.Dim) *ir.Node {
	x = m.flat(x)
	f := x.Type.Dims[1]
	return m.b.Dot(x, m.weight(f.Size, h, d, f), f.Name)
}

// attend attends under a random causal mask.
func (m *maker) attend() {
	groups, repeat := m.odd(3), m.odd(3)
	h, g := ir.Dim{Name: "heads", Size: groups * repeat}, ir.Dim{Name: "groups", Size: groups}
	d, e := ir.Dim{Name: "size", Size: m.odd(9)}, ir.Dim{Name: "wide", Size: m.odd(9)}
	q, k, v := m.heads(m.any(), h, d), m.heads(m.any(), g, d), m.heads(m.any(), g, e)
	where, rows := m.mask()
	m.attended(q, k, v, where, rows...)
}

func (m *maker) attended(q, k, v *ir.Node, where *ints.Expr, rows ...*ir.Node) *ir.Node {
	h, d, e := q.Type.Dims[1], q.Type.Dims[2], v.Type.Dims[2]
	linear := m.chance(5)
	o := m.b.Must("attend", ir.Attr{Name: m.name("attend"), Where: where, Value: 1 / math.Sqrt(float64(d.Size)), Linear: linear}, append([]*ir.Node{q, k, v}, rows...)...)
	if linear {
		o = m.op("tanh", m.b.Mul(o, m.b.F(0.1)))
	}
	o = m.b.Must("view", ir.Attr{Dims: []ir.Dim{q.Type.Dims[0], sized("h", h.Size), sized("e", e.Size)}}, o)
	if o.Type.Clock() == m.clock {
		m.add(o, false)
	}
	return o
}

// mask is a causal predicate and the integers of rows that it asks for, if any.
func (m *maker) mask() (*ints.Expr, []*ir.Node) {
	where := m.plainMask()
	if !m.chance(3) {
		return where, nil
	}
	var rows []*ir.Node
	var last *ir.Node
	row := func(side string) *ints.Expr {
		if last == nil || m.chance(2) {
			last = m.integer()
		}
		for n, x := range rows { // one that the mask has already
			if name := fmt.Sprintf("%s.%d", side, n); x == last && where.Has(name) {
				return ints.V(name)
			}
		}
		rows = append(rows, last)
		return ints.V(fmt.Sprintf("%s.%d", side, len(rows)-1))
	}
	i, j := ints.V("i"), ints.V("j")
	small := func() *ints.Expr { return ints.C(int64(m.odd(4))) }
	for range m.odd(2) {
		var test *ints.Expr
		switch m.pick(6) {
		case 0, 1:
			test = ints.Bin(ints.Eq, row("i"), row("j"))
		case 2:
			test = ints.Bin(ints.Lt, ints.Minus(i, j), row("i"))
		case 3:
			c := small()
			test = ints.Bin(ints.Le, ints.Quo(row("j"), c), ints.Rem(ints.Plus(row("i"), j), ints.Plus(c, ints.C(3))))
		case 4:
			test = ints.Bin(ints.Ne, ints.Rem(row("j"), ints.C(3)), ints.C(1))
		default:
			test = ints.If(ints.Bin(ints.Lt, row("j"), small()), ints.Bin(ints.Lt, j, small()), ints.Bin(ints.Le, small(), ints.Most(row("i"), ints.Minus(i, j))))
		}
		if m.chance(3) {
			test = ints.No(test)
		}
		if m.chance(4) {
			where = ints.Bin(ints.And, ints.Bin(ints.Le, j, i), ints.Bin(ints.Or, test, where))
		} else {
			where = ints.Bin(ints.And, where, test)
		}
	}
	return where, rows
}

// integer is one of each row: small, or so large that f32 does not tell it from
// its neighbours.
func (m *maker) integer() *ir.Node {
	if m.number != nil && !m.chance(3) {
		if m.chance(3) {
			return m.op("div", m.number, m.b.I(int64(m.odd(4))))
		}
		return m.number
	}
	i := m.b.Must("index", ir.Attr{Clock: m.clock})
	if m.chance(4) {
		return i
	}
	x := m.op("mod", i, m.b.I(int64(2+m.pick(5))))
	if m.chance(2) {
		return m.b.Add(x, m.b.I(1<<30))
	}
	return x
}

// plainMask is a causal predicate of i and j alone; one in eight never forgets.
func (m *maker) plainMask() *ints.Expr {
	i, j := ints.V("i"), ints.V("j")
	causal := ints.Bin(ints.Le, j, i)
	near := ints.Bin(ints.Lt, ints.Minus(i, j), ints.C(int64(m.odd(9))))
	first := ints.Bin(ints.Lt, j, ints.C(int64(m.odd(4))))
	c := ints.C(int64(1 + m.odd(8)))
	block := ints.Bin(ints.Eq, ints.Quo(i, c), ints.Quo(j, c))
	switch m.pick(8) {
	case 0:
		return causal
	case 1, 2:
		return ints.Bin(ints.And, causal, block)
	case 3, 4:
		return ints.Bin(ints.And, causal, near)
	case 5:
		return ints.Bin(ints.And, causal, ints.Bin(ints.And, near, ints.Bin(ints.Ne, ints.Rem(j, ints.C(3)), ints.C(1))))
	}
	return ints.Bin(ints.And, causal, ints.Bin(ints.Or, near, first))
}

func (m *maker) shift() {
	m.add(m.b.Must("shift", ir.Attr{Name: m.name("shift"), Start: m.odd(5)}, m.any()), false)
}

// recur is a linear recurrence that forgets.
func (m *maker) recur() {
	a := m.b.Mul(m.op("sigmoid", m.any()), m.b.F(0.9))
	m.add(m.b.Must("linrec", ir.Attr{Name: m.name("rec")}, a, m.any()), true)
}

// gather makes one value [t, out] of all that nothing else uses yet.
func (m *maker) gather(out ir.Dim) *ir.Node {
	used := map[*ir.Node]bool{}
	for _, n := range ir.Postorder(m.pool...) {
		for _, a := range n.Args {
			used[a] = true
		}
	}
	var y *ir.Node
	for i, x := range m.pool {
		if used[x] && i < len(m.pool)-1 {
			continue
		}
		x = m.flat(x)
		x = m.b.Dot(x, m.weight(x.Type.Dims[1].Size, out, x.Type.Dims[1]), x.Type.Dims[1].Name)
		if y == nil {
			y = x
		} else {
			y = m.b.Add(y, x)
		}
	}
	return y
}
