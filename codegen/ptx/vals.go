package ptx

import (
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir/kernel"
)

// join is how a reduction joins two elements, and with what it starts.
type join struct {
	op    string
	start operand
}

var joins = map[kernel.Reduction]map[kernel.Elem]join{
	kernel.Sum: {
		kernel.F32: {"add.rn.f32", num(0)},
		kernel.I32: {"add.s32", imm(0)},
		kernel.I64: {"add.s64", imm(0)},
	},
	kernel.Largest: {
		kernel.F32: {"max.NaN.f32", num(float32(math.Inf(-1)))},
		kernel.I32: {"max.s32", imm(math.MinInt32)},
		kernel.I64: {"max.s64", imm(math.MinInt64)},
	},
}

// mapping computes a map's expression for one element of its tile.
type mapping struct {
	*printer
	dst      *kernel.Tile
	row, col operand
	known    map[*kernel.Val]operand // what occurs twice is computed once
}

// hoistVal computes what the integer expressions of a map have in common for
// all elements.
func (p *printer) hoistVal(v *kernel.Val, seen map[*kernel.Val]bool) {
	if seen[v] {
		return
	}
	seen[v] = true
	if v.Op == kernel.Index || v.Op == kernel.Test {
		p.hoist(v.I)
	}
	for _, a := range v.Args {
		p.hoistVal(a, seen)
	}
}

// val gives the register that holds v's value.
func (m *mapping) val(v *kernel.Val) operand {
	if r, ok := m.known[v]; ok {
		return r
	}
	r := m.fresh(v)
	if m.c.err == nil && r.kind != inReg[v.Elem] {
		m.c.fail(fmt.Errorf("map %s: its type is said to be %s and is not", v, v.Elem))
	}
	m.known[v] = r
	return r
}

func (m *mapping) fresh(v *kernel.Val) operand {
	c := &m.c
	switch v.Op {
	case kernel.Ref:
		return m.ref(v.Tile)
	case kernel.Num:
		return c.f("mov.f32", num(v.F))
	case kernel.Index:
		return c.q("mov.u64", m.int(v.I))
	case kernel.Test:
		return m.cond(v.I)
	}
	if len(v.Args) != arity[v.Op] || len(v.Args) == 0 {
		c.fail(fmt.Errorf("map: the operator %d with %d operands", v.Op, len(v.Args)))
		return c.reg(f32)
	}
	args := make([]operand, len(v.Args))
	for i, a := range v.Args {
		args[i] = m.val(a)
	}
	r, ok := c.apply(v.Op, v.Args[len(v.Args)-1].Elem, args)
	if !ok {
		c.fail(fmt.Errorf("map %s: the operator does not work on %s", v, v.Args[len(v.Args)-1].Elem))
		return c.reg(f32)
	}
	return r
}

// ref reads a tile's element: a tile of one row or column is repeated.
func (m *mapping) ref(t *kernel.Tile) operand {
	row, col := m.row, m.col
	if t.Rows == 1 {
		row = imm(0)
	} else if t.Rows != m.dst.Rows {
		m.c.fail(fmt.Errorf("map: the tile %s has %d rows and %s has %d", t.Name, t.Rows, m.dst.Name, m.dst.Rows))
	}
	if t.Cols == 1 {
		col = imm(0)
	} else if t.Cols != m.dst.Cols {
		m.c.fail(fmt.Errorf("map: the tile %s has %d columns and %s has %d", t.Name, t.Cols, m.dst.Name, m.dst.Cols))
	}
	return m.get(t, m.tileAt(t, row, col))
}

var arity = map[kernel.ValOp]int{
	kernel.Neg: 1, kernel.Abs: 1, kernel.Exp: 1, kernel.Log: 1, kernel.Sqrt: 1, kernel.Rsqrt: 1,
	kernel.Sigmoid: 1, kernel.Silu: 1, kernel.Softplus: 1, kernel.Tanh: 1, kernel.CosTurn: 1, kernel.SinTurn: 1,
	kernel.Floor: 1, kernel.Turns: 1, kernel.Not: 1, kernel.ToF32: 1, kernel.ToI64: 1,
	kernel.Add: 2, kernel.Sub: 2, kernel.Mul: 2, kernel.Div: 2, kernel.Mod: 2, kernel.Min: 2, kernel.Max: 2,
	kernel.Less: 2, kernel.AtMost: 2, kernel.Same: 2, kernel.Both: 2, kernel.Either: 2, kernel.Choose: 3,
}

// direct are the operators that are one instruction, by the type of their last
// operand.
var direct = map[kernel.ValOp]map[kernel.Elem]string{
	kernel.Neg:    {kernel.F32: "neg.f32", kernel.I32: "neg.s32", kernel.I64: "neg.s64"},
	kernel.Abs:    {kernel.F32: "abs.f32", kernel.I32: "abs.s32", kernel.I64: "abs.s64"},
	kernel.Sqrt:   {kernel.F32: "sqrt.rn.f32"},
	kernel.Floor:  {kernel.F32: "cvt.rmi.f32.f32"},
	kernel.Add:    {kernel.F32: "add.rn.f32", kernel.I32: "add.s32", kernel.I64: "add.s64"},
	kernel.Sub:    {kernel.F32: "sub.rn.f32", kernel.I32: "sub.s32", kernel.I64: "sub.s64"},
	kernel.Mul:    {kernel.F32: "mul.rn.f32", kernel.I32: "mul.lo.s32", kernel.I64: "mul.lo.s64"},
	kernel.Div:    {kernel.F32: "div.rn.f32"},
	kernel.Min:    {kernel.F32: "min.NaN.f32", kernel.I32: "min.s32", kernel.I64: "min.s64"},
	kernel.Max:    {kernel.F32: "max.NaN.f32", kernel.I32: "max.s32", kernel.I64: "max.s64"},
	kernel.Less:   {kernel.F32: "setp.lt.f32", kernel.I32: "setp.lt.s32", kernel.I64: "setp.lt.s64"},
	kernel.AtMost: {kernel.F32: "setp.le.f32", kernel.I32: "setp.le.s32", kernel.I64: "setp.le.s64"},
	kernel.Same:   {kernel.F32: "setp.eq.f32", kernel.I32: "setp.eq.s32", kernel.I64: "setp.eq.s64"},
	kernel.Both:   {kernel.Bool: "and.pred"},
	kernel.Either: {kernel.Bool: "or.pred"},
	kernel.Not:    {kernel.Bool: "not.pred"},
	kernel.ToF32:  {kernel.I32: "cvt.rn.f32.s32", kernel.I64: "cvt.rn.f32.s64"},
	kernel.ToI64:  {kernel.I32: "cvt.s64.s32", kernel.F32: "cvt.rzi.s64.f32"},
}

// apply computes an operator; e is the type of its last operand.
func (c *code) apply(op kernel.ValOp, e kernel.Elem, a []operand) (operand, bool) {
	if mnemonic := direct[op][e]; mnemonic != "" {
		k := inReg[e]
		switch op {
		case kernel.Less, kernel.AtMost, kernel.Same:
			k = pred
		case kernel.ToF32:
			k = f32
		case kernel.ToI64:
			k = b64
		}
		return c.into(k, mnemonic, a), true
	}
	switch {
	case op == kernel.Choose:
		return c.choose(e, a)
	case e == kernel.F32:
		fn := functions[op]
		if fn == nil {
			return operand{}, false
		}
		return fn(c, a[0]), true
	case e == kernel.Bool && op == kernel.Same:
		return c.p("not.pred", c.p("xor.pred", a[0], a[1])), true
	case e == kernel.Bool && op == kernel.ToF32:
		return c.f("selp.f32", num(1), num(0), a[0]), true
	case e == kernel.Bool && op == kernel.ToI64:
		return c.q("selp.b64", imm(1), imm(0), a[0]), true
	case e == kernel.I64 && op == kernel.Turns:
		return c.f("mul.rn.f32", c.f("cvt.rn.f32.s64", a[0]), num(0x1p-64)), true
	case e == kernel.I64 && (op == kernel.Div || op == kernel.Mod):
		return c.floorDiv64(op == kernel.Div, a[0], a[1]), true
	case e == kernel.I32 && (op == kernel.Div || op == kernel.Mod):
		return c.floorDiv32(op == kernel.Div, a[0], a[1]), true
	case e == kernel.I32 && op == kernel.ToI64:
		return c.q("cvt.s64.s32", a[0]), true
	case e == kernel.I64 && op == kernel.ToI64:
		return a[0], true
	case e == kernel.F32 && op == kernel.ToF32:
		return a[0], true
	}
	return operand{}, false
}

func (c *code) choose(e kernel.Elem, a []operand) (operand, bool) {
	switch e {
	case kernel.F32:
		return c.f("selp.f32", a[1], a[2], a[0]), true
	case kernel.I32:
		return c.r("selp.b32", a[1], a[2], a[0]), true
	case kernel.I64:
		return c.q("selp.b64", a[1], a[2], a[0]), true
	}
	// Of tests: (t && a) || (!t && b).
	yes := c.p("and.pred", a[0], a[1])
	no := c.p("and.pred", c.p("not.pred", a[0]), a[2])
	return c.p("or.pred", yes, no), true
}

// floorDiv32 divides by a positive number, rounding down: a truncating division
// whose rest is negative was one too high.
func (c *code) floorDiv32(quotient bool, a, b operand) operand {
	rest := c.r("rem.s32", a, b)
	low := c.p("setp.lt.s32", rest, imm(0))
	if quotient {
		q := c.r("div.s32", a, b)
		return c.r("selp.b32", c.r("add.s32", q, imm(-1)), q, low)
	}
	return c.r("selp.b32", c.r("add.s32", rest, b), rest, low)
}
