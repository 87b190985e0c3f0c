package kerneltest

import (
	"math"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// mapped makes a new tile by a map.
func (g *gen) mapped(e kernel.Elem, r, c *dim) (*tile, bool) {
	t, ok := g.fresh(e, r, c)
	if !ok {
		return nil, false
	}
	var x *kernel.Val
	if e == kernel.F32 {
		x, t.bound = g.floatVal(r, c, 4)
	} else if x, ok = g.intVal(e, r, c, 4); !ok {
		return nil, false
	}
	g.emit(&kernel.Map{Dst: t.Tile, Expr: x, Note: g.note()})
	g.define(t)
	return t, true
}

// remap gives a tile a new value that may use its old one.
func (g *gen) remap() {
	ts := g.tiles(func(t *tile) bool { return t.Elem == kernel.F32 && t.frozen == 0 })
	if len(ts) == 0 {
		return
	}
	t := pick(g, ts)
	x, b := g.floatVal(t.r, t.c, 4)
	g.emit(&kernel.Map{Dst: t.Tile, Expr: x, Note: g.note()})
	t.bound = b
}

// operand draws a readable tile that a map over r and c can use.
func (g *gen) operand(r, c *dim, ok func(*tile) bool) (*tile, bool) {
	ts := g.tiles(func(t *tile) bool { return (t.r == r || t.r == g.one) && (t.c == c || t.c == g.one) && ok(t) })
	if len(ts) == 0 {
		return nil, false
	}
	return pick(g, ts), true
}

func (g *gen) floatLeaf(r, c *dim, exact bool) (*kernel.Val, bound) {
	t, ok := g.operand(r, c, func(t *tile) bool {
		return t.Elem == kernel.F32 && t.bound.useful() && (t.bound.exact() || !exact)
	})
	if !ok || g.Intn(5) == 0 {
		f := float64(g.Intn(33)-16) / 8
		return kernel.N(float32(f)), bound{b: math.Abs(f), q: 3}
	}
	x, b := kernel.R(t.Tile), t.bound
	if b.b > 8 { // scaled to a size that products can bear
		k := int(math.Ceil(math.Log2(b.b / 4)))
		s := bound{b: b.b * math.Exp2(float64(-k)), e: b.e * math.Exp2(float64(-k)), q: b.q + k}
		return kernel.F(kernel.Mul, x, kernel.N(float32(math.Exp2(float64(-k))))), s
	}
	return x, b
}

// clamp keeps a value within lo and hi, both multiples of 1/8.
func clamp(x *kernel.Val, b bound, lo, hi float64) (*kernel.Val, bound) {
	x = kernel.F(kernel.Min, kernel.F(kernel.Max, x, kernel.N(float32(lo))), kernel.N(float32(hi)))
	return x, bound{b: max(math.Abs(lo), math.Abs(hi)), e: b.e, q: max(b.q, 3)}.checked()
}

// floatVal draws a floating expression.
func (g *gen) floatVal(r, c *dim, depth int) (*kernel.Val, bound) {
	if depth == 0 {
		return g.floatLeaf(r, c, false)
	}
	switch g.Intn(6) {
	case 0:
		return g.floatLeaf(r, c, false)
	case 1:
		return g.function(r, c, depth)
	case 2:
		return g.converted(r, c, depth)
	}
	x, bx := g.floatVal(r, c, depth-1)
	if bx.b > 64 {
		x, bx = clamp(x, bx, -4, 4)
	}
	switch g.Intn(4) {
	case 0:
		return kernel.F(pick(g, []kernel.ValOp{kernel.Neg, kernel.Abs}), x), bx
	case 1:
		if x, bx := g.exactVal(r, c, depth-1); g.coin() {
			return kernel.F(kernel.Floor, x), bound{b: bx.b + 1}
		}
	}
	y, by := g.floatVal(r, c, depth-1)
	if by.b > 64 {
		y, by = clamp(y, by, -4, 4)
	}
	switch g.Intn(6) {
	case 0:
		return kernel.F(kernel.Add, x, y), bx.plus(by)
	case 1:
		return kernel.F(kernel.Sub, x, y), bx.plus(by)
	case 2:
		return kernel.F(kernel.Mul, x, y), bx.times(by)
	case 3: // a divisor of at least 1
		y = kernel.F(kernel.Max, kernel.F(kernel.Abs, y), kernel.N(1))
		return kernel.F(kernel.Div, x, y), bound{b: bx.b, e: bx.e + bx.b*by.e + bx.b*unit}
	case 4:
		return kernel.F(pick(g, []kernel.ValOp{kernel.Min, kernel.Max}), x, y), bx.join(by)
	}
	return kernel.F(kernel.Choose, g.boolVal(r, c, depth-1), x, y), bx.join(by)
}

// function applies a function where it is not steep.
func (g *gen) function(r, c *dim, depth int) (*kernel.Val, bound) {
	x, b := g.floatVal(r, c, depth-1)
	switch op := kernel.Exp + kernel.ValOp(g.Intn(int(kernel.SinTurn-kernel.Exp)+1)); op {
	case kernel.Exp, kernel.Exp2, kernel.Exp2Near:
		x, b = clamp(x, b, -6, 2)
		if g.coin() { // a mask
			x = kernel.F(kernel.Choose, g.boolVal(r, c, depth-1), x, kernel.N(float32(math.Inf(-1))))
		}
		return kernel.F(op, x), b.through(8, 8)
	case kernel.Log, kernel.Sqrt, kernel.Rsqrt:
		x, b = clamp(kernel.F(kernel.Abs, x), b, 0.25, 8)
		return kernel.F(op, x), b.through(3, 4)
	case kernel.CosTurn, kernel.SinTurn:
		x, b = clamp(x, b, -0.5, 0.5)
		return kernel.F(op, x), b.through(1, 2*math.Pi)
	case kernel.Silu, kernel.Softplus:
		return kernel.F(op, x), b.through(b.b+1, 1.1)
	default: // Sigmoid, Tanh
		return kernel.F(op, x), b.through(1, 1)
	}
}

// converted makes a floating value of an integer or a test.
func (g *gen) converted(r, c *dim, depth int) (*kernel.Val, bound) {
	switch g.Intn(4) {
	case 0:
		return kernel.F(kernel.ToF32, g.boolVal(r, c, depth-1)), bound{b: 1}
	case 1:
		if x, b := g.exactVal(r, c, depth-1); b.b < 1<<24 {
			to := pick(g, []kernel.ValOp{kernel.ToI32, kernel.ToI64})
			return kernel.F(kernel.ToF32, kernel.F(to, x)), bound{b: b.b}
		}
	case 2:
		x, _ := g.intVal(kernel.I64, r, c, depth-1)
		x = kernel.F(kernel.Mul, x, kernel.IndexOf(ints.C(g.Int63())))
		return kernel.F(kernel.Turns, x), bound{}.through(0.5, 0)
	}
	if t, ok := g.operand(r, c, func(t *tile) bool { return t.Elem == kernel.I32 && t.positive }); ok && g.coin() {
		x, _ := g.intVal(kernel.I32, r, c, depth-1)
		return kernel.F(kernel.ToF32, kernel.F(kernel.Mod, x, kernel.R(t.Tile))), bound{b: 50}
	}
	x, _ := g.intVal(kernel.I64, r, c, depth-1)
	k := 1 + g.Int63n(100)
	return kernel.F(kernel.ToF32, kernel.F(kernel.Mod, x, kernel.IndexOf(ints.C(k)))), bound{b: float64(k)}
}

// exactVal draws a floating expression that f32 computes without error, so
// that what jumps (floor, tests) jumps at the same place everywhere.
func (g *gen) exactVal(r, c *dim, depth int) (*kernel.Val, bound) {
	x, b := g.floatLeaf(r, c, true)
	for range depth {
		y, by := g.floatLeaf(r, c, true)
		op := pick(g, []kernel.ValOp{kernel.Add, kernel.Sub, kernel.Mul, kernel.Min, kernel.Max})
		sum := b.plus(by)
		switch op {
		case kernel.Mul:
			sum = b.times(by)
		case kernel.Min, kernel.Max:
			sum = b.join(by)
		}
		if sum.exact() {
			x, b = kernel.F(op, x, y), sum
		}
	}
	return x, b
}

// intVal draws an expression of integers; false where there is no I32 to begin
// with, as every constant is an I64.
func (g *gen) intVal(e kernel.Elem, r, c *dim, depth int) (*kernel.Val, bool) {
	t, ok := g.operand(r, c, func(t *tile) bool { return t.Elem == e })
	if e == kernel.I32 && !ok {
		return nil, false
	}
	if depth == 0 || g.Intn(5) == 0 {
		if ok && (e == kernel.I32 || g.coin()) {
			return kernel.R(t.Tile), true
		}
		return kernel.IndexOf(g.integer(true, 3)), true
	}
	if e == kernel.I64 {
		switch g.Intn(8) {
		case 0:
			x, b := g.exactVal(r, c, depth-1)
			if b.b < 1<<40 {
				return kernel.F(kernel.ToI64, x), true
			}
		case 1:
			return kernel.F(kernel.ToI64, g.boolVal(r, c, depth-1)), true
		case 2:
			if x, ok := g.intVal(kernel.I32, r, c, depth-1); ok {
				return kernel.F(kernel.ToI64, x), true
			}
		}
	}
	x, _ := g.intVal(e, r, c, depth-1)
	y, _ := g.intVal(e, r, c, depth-1)
	switch g.Intn(5) {
	case 0:
		return kernel.F(pick(g, []kernel.ValOp{kernel.Neg, kernel.Abs}), x), true
	case 1:
		return kernel.F(kernel.Choose, g.boolVal(r, c, depth-1), x, y), true
	case 2:
		by, ok := g.operand(r, c, func(t *tile) bool { return t.Elem == e && t.positive })
		divisor := kernel.IndexOf(ints.C(1 + g.Int63n(1<<g.Intn(40))))
		if ok {
			divisor = kernel.R(by.Tile)
		}
		if ok || e == kernel.I64 {
			return kernel.F(pick(g, []kernel.ValOp{kernel.Div, kernel.Mod}), x, divisor), true
		}
	}
	return kernel.F(pick(g, []kernel.ValOp{kernel.Add, kernel.Sub, kernel.Mul, kernel.Min, kernel.Max}), x, y), true
}

// boolVal draws a test that does not depend on rounding.
func (g *gen) boolVal(r, c *dim, depth int) *kernel.Val {
	compare := pick(g, []kernel.ValOp{kernel.Less, kernel.AtMost, kernel.Same})
	if depth > 0 {
		switch g.Intn(4) {
		case 0:
			return kernel.F(kernel.Not, g.boolVal(r, c, depth-1))
		case 1:
			return kernel.F(pick(g, []kernel.ValOp{kernel.Both, kernel.Either}), g.boolVal(r, c, depth-1), g.boolVal(r, c, depth-1))
		}
	}
	switch g.Intn(3) {
	case 0:
		x, _ := g.exactVal(r, c, min(depth, 2))
		y, _ := g.exactVal(r, c, min(depth, 2))
		return kernel.F(compare, x, y)
	case 1:
		e := pick(g, []kernel.Elem{kernel.I32, kernel.I64})
		x, ok := g.intVal(e, r, c, min(depth, 2))
		y, _ := g.intVal(e, r, c, min(depth, 2))
		if ok {
			return kernel.F(compare, x, y)
		}
	}
	return kernel.TestOf(g.condition(true))
}

// integer draws an expression over what is in scope, with r and c or without.
func (g *gen) integer(elements bool, depth int) *ints.Expr {
	if depth == 0 || g.Intn(4) == 0 {
		vars := g.vars
		if elements {
			vars = append([]string{kernel.Row, kernel.Col, kernel.Row, kernel.Col}, vars...)
		}
		if g.Intn(3) == 0 {
			return ints.C(int64(g.Intn(40) - 8))
		}
		return ints.V(pick(g, vars))
	}
	a, b := g.integer(elements, depth-1), g.integer(elements, depth-1)
	switch g.Intn(8) {
	case 0:
		return ints.Bin(pick(g, []ints.Op{ints.Div, ints.Mod}), a, ints.C(1+g.Int63n(70)))
	case 1:
		return ints.Times(a, ints.C(int64(g.Intn(9)-4)))
	case 2:
		return ints.Lookup([]int64{3, -1, 4, 1, -5, 9}[:1+g.Intn(6)], a)
	case 3:
		return ints.If(g.condition(elements), a, b)
	}
	return ints.Bin(pick(g, []ints.Op{ints.Add, ints.Sub, ints.Min, ints.Max}), a, b)
}

// condition draws the truth of something.
func (g *gen) condition(elements bool) *ints.Expr {
	test := func() *ints.Expr {
		op := pick(g, []ints.Op{ints.Lt, ints.Le, ints.Eq, ints.Ne})
		return ints.Bin(op, g.integer(elements, 1), g.integer(elements, 1))
	}
	switch g.Intn(5) {
	case 0:
		return ints.Bin(pick(g, []ints.Op{ints.And, ints.Or}), test(), test())
	case 1:
		return ints.No(test())
	case 2:
		return g.integer(elements, 1)
	}
	return test()
}
