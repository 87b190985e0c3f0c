package amd64

import (
	"github.com/llir/llvm/ir"
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

// affine is an offset of the form row*r + col*c + rest.
type affine struct {
	row, col int64
	rest     *ints.Expr
}

func affineOf(off *ints.Expr) (affine, bool) {
	cr, rest, ok := off.Coeff(kernel.Row)
	if !ok {
		return affine{}, false
	}
	cc, rest, ok := rest.Coeff(kernel.Col)
	return affine{cr, cc, rest}, ok
}

// view makes the tile of a load an alias of the buffer where nobody can tell:
// the load is the tile's only write, it dominates every read (after holds the
// statements behind it in its list), the buffer is never written, and every
// reader can use the strides.
func (b *block) view(l *kernel.Load, after []kernel.Stmt) bool {
	t := l.Dst
	u := b.uses[t]
	if l.Gather != nil || l.Buf.Write || u.writes != 1 || t.Elem == kernel.I64 || !widens(l.Buf.Elem, t.Elem) || l.Buf.Elem.Size() > t.Elem.Size() {
		return false
	}
	seen := 0
	statements(after, func(s kernel.Stmt) {
		_, reads := effects(s)
		for _, r := range reads {
			if r.tile == t {
				seen++
			}
		}
	})
	if seen != len(u.reads) {
		return false
	}
	size := int64(l.Buf.Elem.Size())
	if l.Buf.Panel > 0 {
		return b.panelView(l)
	}
	a, ok := affineOf(b.offset(l.Buf, l.Idx))
	if !ok {
		return false
	}
	for _, r := range u.reads {
		switch r.role {
		case asRows:
			ok = t.Cols == 1 && (a.row == 1 || t.Rows == 1) || t.Cols > 1 && a.col == 1
		case asLeft:
			// Rows a multiple of 1 KiB apart fall into few cache sets.
			ok = l.Buf.Elem == kernel.F32 && !(a.col == 1 && a.row*4%1024 == 0 && t.Rows > 8)
		case asRightC:
			ok = a.col == 1 || a.row == 1
		case asRightR:
			ok = a.row == 1 || a.col == 1
		}
		if !ok {
			return false
		}
	}
	b.places[t] = place{ptr: b.at(b.bufs[l.Buf], b.mul(b.int(a.rest), c64(size))), elem: l.Buf.Elem, row: a.row * size, col: a.col * size}
	return true
}

// panelView is view for a buffer in panels: only as a right operand, one index
// being n, the other k.
func (b *block) panelView(l *kernel.Load) bool {
	nd := len(l.Buf.Dims)
	if nd < 2 || len(l.Idx) != nd {
		return false
	}
	p := int64(l.Buf.Panel)
	if p%lanes != 0 || p&(p-1) != 0 {
		return false
	}
	n, k := l.Idx[nd-2], l.Idx[nd-1]
	byRow := n.Has(kernel.Row)
	over, along := kernel.Col, kernel.Row
	if byRow {
		over, along = kernel.Row, kernel.Col
	}
	cn, n0, ok := n.Coeff(over)
	if !ok || cn != 1 || n0.Has(along) || b.multiple(n0)%p != 0 {
		return false
	}
	ck, k0, ok := k.Coeff(along)
	if !ok || ck < 1 || k0.Has(over) {
		return false
	}
	idx := append([]*ints.Expr(nil), l.Idx...)
	for _, e := range idx[:nd-2] {
		if e.Has(kernel.Row) || e.Has(kernel.Col) {
			return false
		}
	}
	for _, r := range b.uses[l.Dst].reads {
		if r.role != asRightC && r.role != asRightR || (r.role == asRightR) != byRow {
			return false
		}
	}
	idx[nd-2], idx[nd-1] = n0, k0
	size := int64(l.Buf.Elem.Size())
	at := b.int(b.offset(l.Buf, idx))
	b.places[l.Dst] = place{ptr: b.at(b.bufs[l.Buf], b.mul(at, c64(size))), elem: l.Buf.Elem,
		panel: &panel{size: p, stride: int64(l.Buf.Dims[nd-1]) * p * size, step: ck * p * size, byRow: byRow}}
	return true
}

// widens says whether a buffer's elements may be loaded into a tile.
func widens(from, to kernel.Elem) bool {
	switch to {
	case kernel.F32:
		return from == kernel.F32 || from == kernel.BF16 || from == kernel.F16
	case kernel.I32:
		return from == kernel.I32
	}
	return from == kernel.I64 || from == kernel.I32
}

// adjacent says whether 16 elements are adjacent in memory, in which the
// variable v (r or c) runs up from a multiple of 16: v is the place along a row,
// or n in a buffer of panels, where such strips do not cross panels.
func (b *block) adjacent(buf *kernel.Buf, idx []*ints.Expr, v string) bool {
	nd := len(idx)
	for i, e := range idx {
		if e.Has(v) && !(i == nd-1 && buf.Panel == 0 || i == nd-2 && buf.Panel > 0) {
			return false
		}
	}
	if buf.Panel == 0 {
		k, _, ok := idx[nd-1].Coeff(v)
		return ok && k == 1
	}
	k, n0, ok := idx[nd-2].Coeff(v)
	return ok && k == 1 && buf.Panel%lanes == 0 && b.multiple(n0)%lanes == 0
}

// loadStmt copies a buffer's elements to a tile.
func (b *block) loadStmt(s *kernel.Load) {
	t := s.Dst
	if !widens(s.Buf.Elem, t.Elem) {
		b.fail("load of %s from %s into %s of %s", s.Buf.Elem, s.Buf.Name, t.Name, t.Elem)
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

// loadTurned loads a tile in whose buffer rows are adjacent, in blocks of 16 by
// 16; the columns lie step elements apart, and rest is the place of column 0.
func (b *block) loadTurned(s *kernel.Load, d place, step int64, rest *ints.Expr) {
	size := int64(s.Buf.Elem.Size())
	turn := b.turner(s.Buf.Elem)
	n, m := b.cols(s.Dst), b.rows(s.Dst)
	b.eachStrip(m, func(r value.Value) {
		b.bind(kernel.Row, r, ints.Range{Lo: 0, Hi: int64(s.Dst.Rows) - 1}, lanes, func() {
			from := b.at(b.bufs[s.Buf], b.mul(b.int(rest), c64(size)))
			to := b.rowAt(d, r)
			b.eachStrip(n, func(c value.Value) {
				left := b.smin(b.sub(n, c), c64(lanes))
				b.call(turn, b.at(from, b.mul(c, c64(step*size))), c64(step*size), b.at(to, b.mul(c, c64(d.col))), c64(d.row), left)
			})
		})
	})
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

// storeStmt copies a tile's valid elements, and nothing else, to a buffer.
func (b *block) storeStmt(s *kernel.Store) {
	t := s.Src
	if !s.Buf.Write || !widens(s.Buf.Elem, t.Elem) && !(t.Elem == kernel.I64 && s.Buf.Elem == kernel.I32) {
		b.fail("store of %s of %s to %s of %s (written: %v)", t.Name, t.Elem, s.Buf.Name, s.Buf.Elem, s.Buf.Write)
		return
	}
	off := b.offset(s.Buf, s.Idx)
	p := b.place(t)
	m := memory{b.bufs[s.Buf], s.Buf.Elem, t.Elem}
	if t.Cols == 1 {
		b.bind(kernel.Col, c64(0), ints.Range{}, 0, func() {
			if a, ok := affineOf(off); ok && a.row == 1 {
				base := b.int(a.rest)
				b.storeStrips(m, b.rows(t), func(r value.Value) value.Value { return b.vector(p, p.ptr, r) },
					func(r value.Value) value.Value { return b.add(base, r) })
				return
			}
			b.eachRow(t, func(r value.Value) { b.storeOne(m, b.element(p, r, c64(0)), b.int(off)) })
		})
		return
	}
	step, rest, linear := off.Coeff(kernel.Col)
	if linear && step != 1 && t.Rows > 1 && t.Elem != kernel.I64 && b.adjacent(s.Buf, s.Idx, kernel.Row) {
		b.storeTurned(s, p, m, step, rest)
		return
	}
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

// storeTurned stores a tile in whose buffer rows are adjacent: blocks of 16 by
// 16 are transposed in scratch, and their valid part is stored.
func (b *block) storeTurned(s *kernel.Store, p place, m memory, step int64, rest *ints.Expr) {
	size := int64(m.elem.Size())
	turn := b.turner(p.elem)
	square := b.near(lanes*lanes*4, span{b.pos, b.pos})
	n, rows := b.cols(s.Src), b.rows(s.Src)
	b.eachStrip(rows, func(r value.Value) {
		b.bind(kernel.Row, r, ints.Range{Lo: 0, Hi: int64(s.Src.Rows) - 1}, lanes, func() {
			to := b.at(m.ptr, b.mul(b.int(rest), c64(size)))
			left := b.smin(b.sub(rows, r), c64(lanes))
			mask := b.mask(r, rows)
			from := b.rowAt(p, r)
			b.count(c64(0), n, lanes, func(c value.Value) {
				b.call(turn, b.at(from, b.mul(c, c64(int64(p.elem.Size())))), c64(p.row), square, c64(lanes*4), left)
				b.count(c, b.smin(n, b.add(c, c64(lanes))), 1, func(k value.Value) {
					var v value.Value
					line := b.mul(b.sub(k, c), c64(lanes*4))
					if s.Src.Elem == kernel.I32 {
						v = b.load(v32, square, line)
					} else {
						v = b.load(vf32, square, line)
					}
					b.maskedStore(b.narrowed(v, m.elem), b.at(to, b.mul(k, c64(step*size))), mask)
				})
			})
		})
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

// turnAll transposes rows x cols elements of src into dst, in blocks of 16 by
// 16. It may write up to 15 rows and columns more than cols and rows.
func (b *block) turnAll(src, dst place, rows, cols value.Value) {
	turn := b.turner(src.elem)
	b.count(c64(0), rows, lanes, func(r value.Value) {
		left := b.smin(b.sub(rows, r), c64(lanes))
		b.count(c64(0), cols, lanes, func(c value.Value) {
			from := b.at(src.ptr, b.add(b.mul(r, c64(src.row)), b.mul(c, c64(src.col))))
			to := b.at(dst.ptr, b.add(b.mul(c, c64(dst.row)), b.mul(r, c64(dst.col))))
			b.call(turn, from, c64(src.row), to, c64(dst.row), left)
		})
	})
}

// turner is the function that transposes one block of 16 by 16 elements:
// turn(src, bytes between its rows, dst, bytes between its rows, rows of src
// that exist). Four steps exchange the elements whose row and column differ in
// bit 0, 1, 2 and 3.
func (m *module) turner(e kernel.Elem) *ir.Func {
	if e == kernel.I32 {
		e = kernel.F32 // bits are bits
	}
	if g := m.turners[e]; g != nil {
		return g
	}
	src, srcRow := ir.NewParam("src", bytePtr), ir.NewParam("src.row", i64)
	dst, dstRow := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64)
	rows := ir.NewParam("rows", i64)
	f := m.newFunc("memc.turn."+e.String(), types.Void, src, srcRow, dst, dstRow, rows)
	f.private()
	last := f.sub(rows, c64(1))
	var x [lanes]value.Value
	for i := range x {
		r := f.smin(c64(int64(i)), last)
		x[i] = f.widened(f.load(vectorOf(e), src, f.mul(r, srcRow)))
	}
	for d := 1; d < lanes; d *= 2 {
		for i := range x {
			if i&d != 0 {
				continue
			}
			a, c := x[i], x[i+d]
			x[i] = f.shuffle(a, c, func(l int) int {
				if l&d == 0 {
					return l
				}
				return lanes + l - d
			})
			x[i+d] = f.shuffle(a, c, func(l int) int {
				if l&d == 0 {
					return l + d
				}
				return lanes + l
			})
		}
	}
	for i, v := range x {
		f.store(v, dst, f.mul(c64(int64(i)), dstRow))
	}
	f.ret()
	m.turners[e] = f.f
	return f.f
}
