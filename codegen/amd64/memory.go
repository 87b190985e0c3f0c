package amd64

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// offset is the place of a buffer's element as an expression over r, c and the
// rest, counted in elements.
func (b *block) offset(buf *kernel.Buf, idx []*ints.Expr) *ints.Expr {
	if len(idx) != len(buf.Dims) {
		b.fail("%d indices for the %d dimensions of %s", len(idx), len(buf.Dims), buf.Name)
		return ints.C(0)
	}
	if b.bufs[buf] == nil {
		b.fail("%s is not a buffer of the kernel", buf.Name)
		return ints.C(0)
	}
	return buf.Offset(idx)
}

// loadStmt copies a buffer's elements to a tile.
func (b *block) loadStmt(s *kernel.Load) {
	t := s.Dst
	if !widens(s.Buf.Elem, t.Elem) {
		b.fail("load of %s from %s into %s of %s", s.Buf.Elem, s.Buf.Name, t.Name, t.Elem)
		return
	}
	if s.Buf.Elem.Quantised() {
		b.loadQuantised(s)
		return
	}
	off := b.offset(s.Buf, s.Idx)
	d := b.place(t)
	a, isAffine := affineOf(off)
	isAffine = isAffine && s.Gather == nil
	m := memory{b.bufs[s.Buf], s.Buf.Elem, t.Elem}
	if t.Cols == 1 {
		b.bind(kernel.Col, c64(0), ints.Range{}, 0, func() {
			if isAffine && a.row == 1 {
				n := b.rows(t)
				base := b.int(a.rest)
				b.eachStrip(n, func(r value.Value) { b.store(b.strip(m, b.add(base, r), r, n), d.ptr, b.mul(r, c64(d.row))) })
				return
			}
			b.eachRow(t, func(r value.Value) {
				b.gathered(s, func() { b.store(b.one(m, b.int(off)), d.ptr, b.mul(r, c64(d.row))) })
			})
		})
		return
	}
	if t.Rows > 1 && s.Gather == nil && t.Elem != kernel.I64 && b.adjacent(s.Buf, s.Idx, kernel.Row) {
		if step, rest, ok := off.Coeff(kernel.Col); ok {
			b.loadTurned(s, d, step, rest)
			return
		}
	}
	// With the column apart, an offset along a row is rest + step*c.
	step, rest, linear := off.Coeff(kernel.Col)
	n := b.cols(t)
	b.eachRow(t, func(r value.Value) {
		b.gathered(s, func() {
			row := b.rowAt(d, r)
			switch {
			case linear && step == 1:
				base := b.int(rest)
				b.eachStrip(n, func(c value.Value) {
					b.store(b.strip(m, b.add(base, c), c, n), row, b.mul(c, c64(d.col)))
				})
			case b.adjacent(s.Buf, s.Idx, kernel.Col):
				b.eachStrip(n, func(c value.Value) {
					b.bind(kernel.Col, c, ints.Range{Lo: 0, Hi: int64(t.Cols)}, lanes, func() {
						b.store(b.strip(m, b.int(off), c, n), row, b.mul(c, c64(d.col)))
					})
				})
			case linear:
				base := b.int(rest)
				b.count(c64(0), n, 1, func(c value.Value) {
					b.store(b.one(m, b.add(base, b.mul(c, c64(step)))), row, b.mul(c, c64(d.col)))
				})
			default:
				b.count(c64(0), n, 1, func(c value.Value) {
					b.bind(kernel.Col, c, ints.Range{Lo: 0, Hi: int64(t.Cols) - 1}, 1, func() {
						b.store(b.one(m, b.int(off)), row, b.mul(c, c64(d.col)))
					})
				})
			}
		})
	})
}

// gathered binds x to the row's value of the gathering tile.
func (b *block) gathered(s *kernel.Load, body func()) {
	if s.Gather == nil {
		body()
		return
	}
	p := b.place(s.Gather)
	x := b.element(p, b.vars[kernel.Row], c64(0))
	if !isInt(x.Type()) || s.Gather.Cols != 1 {
		b.fail("gather by %s, which is not a column of integers", s.Gather.Name)
		return
	}
	b.bind(kernel.Pick, b.convert(sext, x, i64), ints.Unknown, 1, body)
}

// memory is a buffer seen by a load or store of a tile's type.
type memory struct {
	ptr  value.Value
	elem kernel.Elem
	tile kernel.Elem
}

// strip reads 16 elements at a buffer's element offset; c of n are valid.
func (b *block) strip(m memory, off, c, n value.Value) value.Value {
	p := b.at(m.ptr, b.mul(off, c64(int64(m.elem.Size()))))
	if m.elem == kernel.I64 { // 16 of them can reach further than 64 bytes behind the end
		return b.intrinsic("llvm.masked.load.v16i64.p0v16i64", v64, b.typed(p, v64), c32(8), b.mask(c, n), &literal{v64, "zeroinitializer"})
	}
	v := b.widened(b.load(vectorOf(m.elem), p, c64(0)))
	if m.tile == kernel.I64 {
		v = b.convert(sext, v, i64)
	}
	return v
}

// one reads one element at a buffer's element offset.
func (b *block) one(m memory, off value.Value) value.Value {
	v := b.widened(b.load(elemOf(vectorOf(m.elem)), m.ptr, b.mul(off, c64(int64(m.elem.Size())))))
	if m.tile == kernel.I64 && m.elem == kernel.I32 {
		v = b.convert(sext, v, i64)
	}
	return v
}

// narrowed rounds 16 elements of a tile to a buffer's type.
func (b *block) narrowed(v value.Value, e kernel.Elem) value.Value {
	switch {
	case e == kernel.BF16:
		return b.toBF16(v)
	case e == kernel.F16:
		return b.convert(fptrunc, v, half)
	case e == kernel.I32 && elemOf(v.Type()).Equal(i64):
		return b.convert(trunc, v, i32)
	}
	return v
}

// storable checks that a store's buffer takes its tile.
func (b *block) storable(s *kernel.Store) bool {
	t := s.Src
	ok := s.Buf.Write && (widens(s.Buf.Elem, t.Elem) || t.Elem == kernel.I64 && s.Buf.Elem == kernel.I32)
	if !ok {
		b.fail("store of %s of %s to %s of %s (written: %v)", t.Name, t.Elem, s.Buf.Name, s.Buf.Elem, s.Buf.Write)
	}
	return ok
}

// storeStmt copies a tile's valid elements, and nothing else, to a buffer.
func (b *block) storeStmt(s *kernel.Store) {
	t := s.Src
	if !b.storable(s) {
		return
	}
	if s.Buf.Elem.Quantised() {
		b.storeQuantised(s)
		return
	}
	off := b.offset(s.Buf, s.Idx)
	p := b.place(t)
	m := memory{b.bufs[s.Buf], s.Buf.Elem, t.Elem}
	if t.Cols == 1 {
		rows := b.rows(t)
		if t.ValidCols != nil {
			rows = b.choose(b.icmp(predicate[ints.Lt], c64(0), b.cols(t)), rows, c64(0))
		}
		b.bind(kernel.Col, c64(0), ints.Range{}, 0, func() {
			if a, ok := affineOf(off); ok && a.row == 1 {
				base := b.int(a.rest)
				b.storeStrips(m, rows, func(r value.Value) value.Value { return b.vector(p, p.ptr, r) },
					func(r value.Value) value.Value { return b.add(base, r) })
				return
			}
			b.rowsBelow(t, rows, func(r value.Value) { b.storeOne(m, b.element(p, r, c64(0)), b.int(off)) })
		})
		return
	}
	step, rest, linear := off.Coeff(kernel.Col)
	if linear && step != 1 && t.Rows > 1 && t.Elem != kernel.I64 {
		if b.adjacent(s.Buf, s.Idx, kernel.Row) {
			b.storeTurned(s, p, m, step, rest)
			return
		}
		if names := b.aligned(s.Buf, s.Idx, kernel.Row); names != nil {
			whole := b.icmp(predicate[ints.Le], c64(lanes/2), b.rows(t)) // a square for fewer rows is dearer than they are
			for _, n := range names {
				whole = b.bin(and, whole, b.icmp(predicate[ints.Eq], b.bin(and, b.vars[n], c64(lanes-1)), c64(0)))
			}
			b.when(whole, func() { b.assume(names, func() { b.storeTurned(s, p, m, step, rest) }) })
			b.when(b.bin(xor, whole, constant.True), func() { b.storeRows(s, p, m, off) })
			return
		}
	}
	b.storeRows(s, p, m, off)
}

// storeRows stores a tile row by row.
func (b *block) storeRows(s *kernel.Store, p place, m memory, off *ints.Expr) {
	t := s.Src
	step, rest, linear := off.Coeff(kernel.Col)
	n := b.cols(t)
	b.eachRow(t, func(r value.Value) {
		row := b.rowAt(p, r)
		strip := func(c value.Value) value.Value { return b.vector(p, row, c) }
		switch {
		case linear && step == 1:
			base := b.int(rest)
			b.storeStrips(m, n, strip, func(c value.Value) value.Value { return b.add(base, c) })
		case b.adjacent(s.Buf, s.Idx, kernel.Col):
			b.storeStrips(m, n, strip, func(c value.Value) (at value.Value) {
				b.bind(kernel.Col, c, ints.Range{Lo: 0, Hi: int64(t.Cols)}, lanes, func() { at = b.int(off) })
				return at
			})
		case linear:
			base := b.int(rest)
			b.count(c64(0), n, 1, func(c value.Value) {
				b.storeOne(m, b.element(p, r, c), b.add(base, b.mul(c, c64(step))))
			})
		default:
			b.count(c64(0), n, 1, func(c value.Value) {
				b.bind(kernel.Col, c, ints.Range{Lo: 0, Hi: int64(t.Cols) - 1}, 1, func() {
					b.storeOne(m, b.element(p, r, c), b.int(off))
				})
			})
		}
	})
}

// storeStrips writes whole strips, then the rest of the row under a mask.
func (b *block) storeStrips(m memory, n value.Value, from, at func(c value.Value) value.Value) {
	whole := b.bin(and, n, c64(-lanes))
	size := c64(int64(m.elem.Size()))
	b.eachStrip(whole, func(c value.Value) {
		b.store(b.narrowed(from(c), m.elem), m.ptr, b.mul(at(c), size))
	})
	tail := func() {
		b.maskedStore(b.narrowed(from(whole), m.elem), b.at(m.ptr, b.mul(at(whole), size)), b.mask(whole, n))
	}
	if k, ok := constInt(n); ok {
		if k%lanes != 0 {
			tail()
		}
		return
	}
	b.when(b.icmp(predicate[ints.Lt], whole, n), tail)
}

func (b *block) maskedStore(v, p, mask value.Value) {
	t := v.Type().(*types.VectorType)
	name := map[types.Type]string{f32: "f32", half: "f16", i16: "i16", i32: "i32", i64: "i64"}[t.ElemType]
	b.intrinsic("llvm.masked.store.v16"+name+".p0v16"+name, types.Void, v, b.typed(p, t), c32(sizeOf(t)), mask)
}

// storeOne rounds and writes one element.
func (b *block) storeOne(m memory, v, off value.Value) {
	if m.elem == kernel.BF16 {
		v = b.lane(b.toBF16(b.splat(v)), 0)
	} else {
		v = b.narrowed(v, m.elem)
	}
	b.store(v, m.ptr, b.mul(off, c64(int64(m.elem.Size()))))
}
