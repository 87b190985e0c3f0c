package ptx

import (
	"fmt"

	"github.com/memc-lang/memc/ir/kernel"
)

// mapping computes a map's expression for one element of its tile.
type mapping struct {
	*printer
	dst   *kernel.Tile
	at    *spot
	known map[*kernel.Val]operand // what occurs twice is computed once
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
	r, ok := m.known[v]
	if !ok {
		r = m.fresh(v)
		m.known[v] = r
	}
	return r
}

func (m *mapping) fresh(v *kernel.Val) operand {
	switch v.Op {
	case kernel.Ref:
		return m.peek(v.Tile, *m.at)
	case kernel.Num:
		return m.c.f("mov.f32", num(v.F))
	case kernel.Index:
		return m.c.q("mov.u64", m.int(v.I))
	case kernel.Test:
		return m.cond(v.I)
	}
	args := make([]operand, len(v.Args))
	for i, a := range v.Args {
		args[i] = m.val(a)
	}
	return m.c.apply(v.Op, v.Args[len(v.Args)-1].Elem, args)
}

var untyped = map[kernel.Elem]string{kernel.F32: "f32", kernel.I32: "b32", kernel.I64: "b64"}

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
	kernel.ToI32:  {kernel.I64: "cvt.u32.u64", kernel.F32: "cvt.rzi.s32.f32"},
}

// apply computes an operator; e is the type of its last operand.
func (c *code) apply(op kernel.ValOp, e kernel.Elem, a []operand) operand {
	if mnemonic := direct[op][e]; mnemonic != "" {
		k := inReg[e]
		switch op {
		case kernel.Less, kernel.AtMost, kernel.Same:
			k = pred
		case kernel.ToF32:
			k = f32
		case kernel.ToI64:
			k = b64
			if e == kernel.F32 { // NaN would be the least integer
				a = []operand{c.f("selp.f32", a[0], num(0), c.p("setp.eq.f32", a[0], a[0]))}
			}
		case kernel.ToI32:
			k = b32
		}
		return c.into(k, mnemonic, a)
	}
	if fn := functions[op]; fn != nil {
		return fn(c, a[0])
	}
	switch {
	case op == kernel.Choose:
		return c.into(inReg[e], "selp."+untyped[e], []operand{a[1], a[2], a[0]})
	case op == kernel.ToF32 && e == kernel.Bool:
		return c.f("selp.f32", num(1), num(0), a[0])
	case op == kernel.ToI64 && e == kernel.Bool:
		return c.q("selp.b64", imm(1), imm(0), a[0])
	case op == kernel.ToI32 && e == kernel.Bool:
		return c.r("selp.b32", imm(1), imm(0), a[0])
	case op == kernel.Turns:
		return c.f("mul.rn.f32", c.f("cvt.rn.f32.s64", a[0]), num(0x1p-64))
	case op == kernel.Div || op == kernel.Mod:
		if e == kernel.I32 {
			return c.floorDiv32(op == kernel.Div, a[0], a[1])
		}
		return c.floorDiv64(op == kernel.Div, a[0], a[1])
	}
	c.fail(fmt.Errorf("a map with %s of %s", op, e))
	return c.reg(f32)
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
