package amd64

import (
	"math"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// mapper emits one map. Its lanes run along the rows of the destination, or
// along the column of a destination of one column.
type mapper struct {
	*block
	dst    *kernel.Tile
	column bool
	name   string // the variable that runs over the lanes
	limit  int64
	first  value.Value // where the strip begins; nil before the strips
	row    value.Value // the row; nil before the rows
	fresh  map[*kernel.Tile]value.Value
	depths map[*kernel.Val]depth
}

// depth says which loop a value changes in.
type depth uint8

const (
	perBlock depth = iota
	perRow
	perStrip
)

// mapper gives the emitter of a map. fresh, where given, has the strips of tiles
// that are in registers.
func (b *block) mapper(s *kernel.Map, fresh map[*kernel.Tile]value.Value) *mapper {
	m := &mapper{block: b, dst: s.Dst, column: s.Dst.Cols == 1, name: kernel.Col, limit: int64(s.Dst.Cols), fresh: fresh, depths: map[*kernel.Val]depth{}}
	if m.column {
		m.name, m.limit = kernel.Row, int64(s.Dst.Rows)
	}
	m.check(s.Expr)
	if b.err == nil && !vectorOf(s.Dst.Elem).Equal(vectorOf(s.Expr.Elem)) {
		b.fail("map of %s into %s of %s", s.Expr.Elem, s.Dst.Name, s.Dst.Elem)
	}
	return m
}

// columnMap emits a map into a tile of one column, along it.
func (b *block) columnMap(s *kernel.Map) {
	m := b.mapper(s, nil)
	if b.err != nil {
		return
	}
	d := b.place(s.Dst)
	b.bind(kernel.Col, c64(0), ints.Range{}, 0, func() {
		b.push()
		m.before(s.Expr, perRow)
		b.strips(b.rows(s.Dst), nil, func(c value.Value, _ []value.Value) []value.Value {
			m.first = c
			b.store(m.eval(s.Expr), d.ptr, b.mul(c, c64(d.col)))
			m.first = nil
			return nil
		})
		b.pop()
	})
}

// check compares shapes and types in the whole expression, and finds every
// value's depth.
func (m *mapper) check(v *kernel.Val) {
	if _, ok := m.depths[v]; ok {
		return
	}
	d := perBlock
	for _, a := range v.Args {
		m.check(a)
		d = max(d, m.depths[a])
	}
	if want, ok := arity[v.Op]; !ok || len(v.Args) != want {
		m.fail("operator %d with %d operands", v.Op, len(v.Args))
	}
	switch v.Op {
	case kernel.Ref:
		t := v.Tile
		if t == nil || t.Rows != m.dst.Rows && t.Rows != 1 || t.Cols != m.dst.Cols && t.Cols != 1 {
			m.fail("a tile in a map has neither the shape of %s nor one row or column", m.dst.Name)
			break
		}
		switch {
		case m.column && t.Rows > 1, !m.column && t.Cols > 1:
			d = perStrip
		case t.Rows > 1:
			d = perRow
		}
	case kernel.Index, kernel.Test:
		if v.I == nil {
			m.fail("an index without an expression")
			break
		}
		switch {
		case m.column && v.I.Has(kernel.Row), !m.column && v.I.Has(kernel.Col):
			d = perStrip
		case v.I.Has(kernel.Row):
			d = perRow
		}
	}
	m.depths[v] = d
}

var arity = map[kernel.ValOp]int{
	kernel.Ref: 0, kernel.Num: 0, kernel.Index: 0, kernel.Test: 0,
	kernel.Neg: 1, kernel.Abs: 1, kernel.Exp: 1, kernel.Exp2: 1, kernel.Exp2Near: 1, kernel.Log: 1, kernel.Sqrt: 1, kernel.Rsqrt: 1, kernel.Sigmoid: 1,
	kernel.Silu: 1, kernel.Softplus: 1, kernel.Tanh: 1, kernel.CosTurn: 1, kernel.SinTurn: 1, kernel.Floor: 1, kernel.Turns: 1,
	kernel.Not: 1, kernel.ToF32: 1, kernel.ToI64: 1, kernel.ToI32: 1,
	kernel.Add: 2, kernel.Sub: 2, kernel.Mul: 2, kernel.Div: 2, kernel.Mod: 2, kernel.Min: 2, kernel.Max: 2,
	kernel.Less: 2, kernel.AtMost: 2, kernel.Same: 2, kernel.Both: 2, kernel.Either: 2, kernel.Choose: 3,
}

// before computes the largest parts of v that do not change in the loop about
// to begin.
func (m *mapper) before(v *kernel.Val, d depth) {
	if m.depths[v] <= d {
		if v.Op != kernel.Num {
			m.eval(v)
		}
		return
	}
	if (v.Op == kernel.Index || v.Op == kernel.Test) && (d == perRow || !v.I.Has(kernel.Row)) {
		m.hoist(v.I, m.name)
	}
	for _, a := range v.Args {
		m.before(a, d)
	}
}

// eval gives 16 lanes of a value, in the registers of its type.
func (m *mapper) eval(v *kernel.Val) value.Value {
	for i := len(m.scopes) - 1; i >= 0; i-- {
		if x, ok := m.scopes[i].vals[v]; ok {
			return x
		}
	}
	x := m.compute(v)
	if !x.Type().Equal(vectorOf(v.Elem)) {
		m.fail("operator %d gives %s where %s was declared", v.Op, x.Type(), v.Elem)
		x = undef(vectorOf(v.Elem))
	}
	m.scopes[len(m.scopes)-1].vals[v] = x
	return x
}

func (m *mapper) compute(v *kernel.Val) value.Value {
	switch v.Op {
	case kernel.Ref:
		return m.ref(v.Tile)
	case kernel.Num:
		return vnum(v.F)
	case kernel.Index:
		if m.depths[v] < perStrip {
			return m.splat(m.int(v.I))
		}
		s := strip{m.name, m.first, m.limit}
		t := m.fn.laneType(v.I, s)
		return m.convert(sext, m.laneInt(v.I, s, t), i64)
	case kernel.Test:
		if m.depths[v] < perStrip {
			return m.splat(m.truth(v.I))
		}
		return m.laneTest(v.I, strip{m.name, m.first, m.limit})
	}
	a := m.eval(v.Args[0])
	switch len(v.Args) {
	case 1:
		return m.unary(v.Op, a)
	case 3:
		return m.choose(a, m.eval(v.Args[1]), m.eval(v.Args[2]))
	}
	b := m.eval(v.Args[1])
	if !m.same("a map's operator", a, b) {
		return a
	}
	if isFloat(a.Type()) {
		return m.floats(v.Op, a, b)
	}
	return m.integers(v.Op, a, b)
}

func (m *mapper) ref(t *kernel.Tile) value.Value {
	if v := m.fresh[t]; v != nil {
		return v
	}
	p := m.place(t)
	along := t.Cols > 1
	if m.column {
		along = t.Rows > 1
	}
	row := m.row
	if t.Rows == 1 || m.column {
		row = c64(0)
	}
	if along {
		return m.inRow(p, row, m.first)
	}
	return m.splat(m.element(p, row, c64(0)))
}

func (m *mapper) unary(op kernel.ValOp, a value.Value) value.Value {
	t := a.Type()
	wants := vf32
	switch op {
	case kernel.Not:
		wants = v1
	case kernel.Turns:
		wants = v64
	case kernel.ToF32, kernel.ToI64, kernel.ToI32:
		return m.converted(op, a)
	case kernel.Neg, kernel.Abs:
		if isInt(t) && !t.Equal(v1) {
			neg := m.sub(vint(t.(*types.VectorType), 0), a)
			if op == kernel.Neg {
				return neg
			}
			return m.smax(a, neg)
		}
	}
	if !t.Equal(wants) {
		m.fail("operator %d of %s", op, t)
		return a
	}
	switch op {
	case kernel.Not:
		return m.bin(xor, a, each(v1, func(int) string { return "true" }))
	case kernel.Turns:
		return m.bin(fmul, m.convert(sitofp, a, f32), vnum(0x1p-64))
	case kernel.Neg:
		return m.negated(a)
	case kernel.Abs:
		return m.abs(a)
	case kernel.Exp:
		return m.exp(a)
	case kernel.Exp2, kernel.Exp2Near:
		return m.exp2(a)
	case kernel.Log:
		return m.log(a)
	case kernel.Sqrt:
		return m.intrinsic("llvm.sqrt.v16f32", vf32, a)
	case kernel.Rsqrt:
		return m.bin(fdiv, vnum(1), m.intrinsic("llvm.sqrt.v16f32", vf32, a))
	case kernel.Sigmoid:
		return m.sigmoid(a)
	case kernel.Silu:
		return m.silu(a)
	case kernel.Softplus:
		return m.softplus(a)
	case kernel.Tanh:
		return m.tanh(a)
	case kernel.CosTurn:
		return m.cosTurn(a)
	case kernel.SinTurn:
		return m.sinTurn(a)
	case kernel.Floor:
		return m.intrinsic("llvm.floor.v16f32", vf32, a)
	}
	m.fail("unknown operator %d", op)
	return a
}

func (m *mapper) converted(op kernel.ValOp, a value.Value) value.Value {
	switch {
	case a.Type().Equal(v1):
		if op == kernel.ToF32 {
			return m.choose(a, vnum(1), vnum(0))
		}
		return m.convert(zext, a, vectorOf(whole[op]).ElemType)
	case op == kernel.ToF32 && isInt(a.Type()):
		return m.convert(sitofp, a, f32)
	case isFloat(a.Type()):
		return m.truncated(a, whole[op])
	case op == kernel.ToI32:
		return m.convert(trunc, a, i32)
	case op == kernel.ToI64:
		return m.convert(sext, a, i64)
	}
	return a
}

// whole are the types of integers that operators convert to.
var whole = map[kernel.ValOp]kernel.Elem{kernel.ToI32: kernel.I32, kernel.ToI64: kernel.I64}

// truncated is a towards zero: the instruction has no value for NaN and beyond
// the integers' range, so these are chosen.
func (m *mapper) truncated(a value.Value, to kernel.Elem) value.Value {
	limit, least, most := float32(0x1p31), int64(math.MinInt32), int64(math.MaxInt32)
	if to == kernel.I64 {
		limit, least, most = 0x1p63, math.MinInt64, math.MaxInt64
	}
	t := vectorOf(to)
	has := m.fcmp(enum.FPredOLT, m.abs(a), vnum(limit))
	v := m.convert(fptosi, m.choose(has, a, vnum(0)), t.ElemType)
	v = m.choose(m.fcmp(enum.FPredOGE, a, vnum(limit)), vint(t, most), v)
	return m.choose(m.fcmp(enum.FPredOLE, a, vnum(-limit)), vint(t, least), v)
}

func (m *mapper) floats(op kernel.ValOp, a, b value.Value) value.Value {
	switch op {
	case kernel.Add:
		return m.bin(fadd, a, b)
	case kernel.Sub:
		return m.bin(fsub, a, b)
	case kernel.Mul:
		return m.bin(fmul, a, b)
	case kernel.Div:
		return m.bin(fdiv, a, b)
	case kernel.Min:
		return m.least(a, b)
	case kernel.Max:
		return m.most(a, b)
	case kernel.Less:
		return m.fcmp(enum.FPredOLT, a, b)
	case kernel.AtMost:
		return m.fcmp(enum.FPredOLE, a, b)
	case kernel.Same:
		return m.fcmp(enum.FPredOEQ, a, b)
	}
	m.fail("operator %d of f32", op)
	return a
}

func (m *mapper) integers(op kernel.ValOp, a, b value.Value) value.Value {
	t := a.Type().(*types.VectorType)
	if t.Equal(v1) != (op == kernel.Both || op == kernel.Either) && op != kernel.Same {
		m.fail("operator %d of %s", op, t)
		return a
	}
	switch op {
	case kernel.Add:
		return m.add(a, b)
	case kernel.Sub:
		return m.sub(a, b)
	case kernel.Mul:
		return m.mul(a, b)
	case kernel.Div, kernel.Mod:
		// Lanes outside the tile may hold anything: keep them from trapping.
		q, r := m.floorDiv(a, m.smax(b, vint(t, 1)), false, op == kernel.Mod)
		if op == kernel.Div {
			return q
		}
		return r
	case kernel.Min:
		return m.smin(a, b)
	case kernel.Max:
		return m.smax(a, b)
	case kernel.Less:
		return m.icmp(enum.IPredSLT, a, b)
	case kernel.AtMost:
		return m.icmp(enum.IPredSLE, a, b)
	case kernel.Same:
		return m.icmp(enum.IPredEQ, a, b)
	case kernel.Both:
		return m.bin(and, a, b)
	case kernel.Either:
		return m.bin(or, a, b)
	}
	m.fail("operator %d of integers", op)
	return a
}
