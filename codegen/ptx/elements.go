package ptx

import (
	"fmt"
	"math/bits"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// The instructions of one element of a tile, by its type.
var (
	movable = map[kernel.Elem]string{kernel.F32: "f32", kernel.I32: "u32", kernel.I64: "u64"}
	inReg   = map[kernel.Elem]kind{kernel.F32: f32, kernel.I32: b32, kernel.I64: b64, kernel.Bool: pred}
)

// count gives how many of a tile's rows or columns are valid, as a 32-bit
// operand: never less than 0 nor more than the tile has.
func (p *printer) count(valid *ints.Expr, most int) operand {
	if valid == nil {
		return imm(int64(most))
	}
	n, within := valid, valid.Interval(nil)
	if within.Hi > int64(most) {
		n = ints.Least(n, ints.C(int64(most)))
	}
	if within.Lo < 0 {
		n = ints.Most(n, ints.C(0))
	}
	if k, ok := n.IsConst(); ok {
		return imm(k)
	}
	key := short(n.String())
	if v, ok := p.find(key); ok {
		return v
	}
	v := p.c.r("cvt.u32.u64", p.int(n))
	p.bind(key, v)
	return v
}

func (p *printer) rows(t *kernel.Tile) operand { return p.count(t.ValidRows, t.Rows) }
func (p *printer) cols(t *kernel.Tile) operand { return p.count(t.ValidCols, t.Cols) }

// product multiplies two 32-bit operands, either of which may be a literal.
func (c *code) product(a, b operand) operand {
	if a.kind == whole {
		a, b = b, a
	}
	if a.kind == whole {
		return imm(a.value() * b.value())
	}
	if b.text == "1" {
		return a
	}
	return c.r("mul.lo.s32", a, b)
}

// value is the number that an integer literal stands for.
func (o operand) value() (v int64) {
	fmt.Sscan(o.text, &v)
	return v
}

// each deals out the places of a region of rows x cols to the threads: fn is
// the program of one place. Thread t has the places t, t+threads, ... in rows'
// order, so that neighbours in a row go to neighbouring threads.
func (p *printer) each(rows, cols operand, fn func(r, c operand)) {
	c := &p.c
	all := c.product(rows, cols)
	e := c.r("mov.u32", p.tid)
	body, end := c.mark("each"), c.mark("end")
	c.here(body)
	c.onlyIf(c.p("setp.ge.s32", e, all), "bra", end)
	p.push()
	c.depth++
	row, col := c.split(e, rows, cols)
	fn(row, col)
	c.depth--
	p.pop()
	c.op("add.s32", e, e, imm(int64(p.threads)))
	c.op("bra", body)
	c.here(end)
}

// fill is each over a tile that a statement writes. Where tensor cores read it,
// the elements outside its valid region become 0.
func (p *printer) fill(t *kernel.Tile, fn func(r, c operand)) {
	rows, cols := p.rows(t), p.cols(t)
	if !p.at[t].operand || t.ValidRows == nil && t.ValidCols == nil {
		p.each(rows, cols, fn)
		return
	}
	p.each(imm(int64(t.Rows)), imm(int64(t.Cols)), func(r, c operand) {
		p.zeroOutside(t, r, c, rows, cols, func() { fn(r, c) })
	})
}

// zeroOutside writes 0 to an element outside the valid region, and runs fn for
// another one.
func (p *printer) zeroOutside(t *kernel.Tile, row, col, rows, cols operand, fn func()) {
	ok := p.c.both(p.inside(row, rows, t.Rows, t.Rows), p.inside(col, cols, t.Cols, t.Cols))
	if ok.kind == 0 {
		fn()
		return
	}
	valid, end := p.c.mark("valid"), p.c.mark("end")
	p.c.onlyIf(ok, "bra", valid)
	p.put(t, p.tileAt(t, row, col), p.c.f("mov.f32", num(0)))
	p.c.op("bra", end)
	p.c.here(valid)
	fn()
	p.c.here(end)
}

// reach says how large the tile of the statement at hand is.
func (p *printer) reach(t *kernel.Tile) { p.most = [2]int64{int64(t.Rows), int64(t.Cols)} }

// split gives e div cols and e mod cols.
func (c *code) split(e, rows, cols operand) (row, col operand) {
	switch {
	case cols.text == "1":
		return e, imm(0)
	case rows.text == "1":
		return imm(0), e
	}
	if cols.kind == whole {
		if n := uint64(cols.value()); n&(n-1) == 0 {
			return c.r("shr.u32", e, imm(int64(bits.TrailingZeros64(n)))), c.r("and.b32", e, imm(int64(n-1)))
		}
	}
	row = c.r("div.u32", e, cols)
	return row, c.r("sub.s32", e, c.product(row, cols))
}

// tileAt is the address of a tile's element; row and col are 32-bit operands.
func (p *printer) tileAt(t *kernel.Tile, row, col operand) operand {
	c, pl := &p.c, p.at[t]
	size := int64(pl.elem.Size())
	off := 0
	var i operand // the place, counted in elements, without what is known now
	if pl.flip {
		row, col = col, row
	}
	switch {
	case row.kind == whole:
		off += int(row.value() * int64(pl.ld) * size)
		i = col
	case pl.ld == 1:
		i = row
	case col.kind == whole:
		off += int(col.value() * size)
		i = c.r("mul.lo.s32", row, imm(int64(pl.ld)))
	default:
		i = c.r("mad.lo.s32", row, imm(int64(pl.ld)), col)
	}
	if i.kind == whole {
		off, i = off+int(i.value()*size), operand{}
	}
	return p.placeAt(t, i, size, off)
}

// placeAt is the address of i times size bytes, and off, in a tile; i may lack.
func (p *printer) placeAt(t *kernel.Tile, i operand, size int64, off int) operand {
	c, pl := &p.c, p.at[t]
	if pl.home == atScratch {
		if i.kind == 0 {
			return globalAt(p.mine, pl.offset+off)
		}
		return globalAt(c.q("mad.wide.u32", i, imm(size), p.mine), pl.offset+off)
	}
	base := p.near
	if b, ok := p.moving[t]; ok {
		base = b
	} else {
		off += pl.offset
	}
	if i.kind == 0 {
		return sharedAt(base, off)
	}
	return sharedAt(c.r("mad.lo.s32", i, imm(size), base), off)
}

func (p *printer) space(t *kernel.Tile) string {
	if p.at[t].home == atScratch {
		return "global."
	}
	return "shared."
}

// get reads a tile's element at an address that tileAt gave; put writes it. Of a
// tile that lies as bf16 or f16 no single element is read.
func (p *printer) get(t *kernel.Tile, at operand) operand {
	return p.c.into(inReg[t.Elem], "ld."+p.space(t)+movable[t.Elem], []operand{at})
}

// fromBF16 is the f32 of the bits in the lower half of a register: a bf16 is the
// upper half of an f32.
func (c *code) fromBF16(v operand) operand { return c.f("mov.b32", c.r("shl.b32", v, imm(16))) }

func (p *printer) put(t *kernel.Tile, at, v operand) {
	if e := p.at[t].elem; half(e) {
		p.c.op("st.shared.b16", at, p.c.h("cvt.rn."+e.String()+".f32", v))
		return
	}
	p.c.op("st."+p.space(t)+movable[t.Elem], at, v)
}

// shift adds a constant to a 32-bit operand.
func (c *code) shift(a operand, by int) operand {
	switch {
	case by == 0:
		return a
	case a.kind == whole:
		return imm(a.value() + int64(by))
	}
	return c.r("add.s32", a, imm(int64(by)))
}

// wide makes a 64-bit operand of a 32-bit one that is not negative.
func (c *code) wide(a operand) operand {
	if a.kind == whole {
		return a
	}
	return c.q("cvt.u64.u32", a)
}

// address is the device address of a buffer's element, for the row and column
// that are bound.
func (p *printer) address(b *kernel.Buf, offset *ints.Expr) operand {
	size := imm(int64(unit(b)))
	same, v := split(offset)
	if !p.small(v) {
		return globalAt(p.c.q("mad.lo.s64", p.int(offset), size, p.bufs[b]), 0)
	}
	base := p.base(b, same)
	if at := p.int32(v); at.kind != whole {
		return globalAt(p.c.q("mad.wide.s32", at, size, base), 0)
	} else if off := at.value() * int64(unit(b)); off >= 0 {
		return globalAt(base, int(off))
	}
	return globalAt(p.c.q("mad.lo.s64", p.int(offset), size, p.bufs[b]), 0)
}

// base is the address of the element at an offset that no element varies.
func (p *printer) base(b *kernel.Buf, same *ints.Expr) operand {
	return p.once("@"+b.Name+"@"+same.String(), func() operand {
		return p.c.q("mad.lo.s64", p.int(same), imm(int64(unit(b))), p.bufs[b])
	})
}

// hoistAddress computes what the addresses of a tile's elements have in common.
func (p *printer) hoistAddress(b *kernel.Buf, offset *ints.Expr) {
	if same, v := split(offset); p.small(v) {
		p.base(b, same)
		return
	}
	p.hoist(offset)
}

// place gives the variables r and c their values.
func (p *printer) place(row, col operand) {
	p.bind(short(kernel.Row), row)
	p.bind(short(kernel.Col), col)
}

func (p *printer) load(s *kernel.Load) {
	if s.Buf.Elem.Quantised() {
		p.loadQuantised(s)
		return
	}
	offset := s.Buf.Offset(s.Idx)
	p.reach(s.Dst)
	p.hoistAddress(s.Buf, offset)
	p.fill(s.Dst, func(r, c operand) {
		p.place(r, c)
		p.pick(s, r)
		v := p.c.widen(s.Buf.Elem, s.Dst.Elem, p.address(s.Buf, offset))
		p.put(s.Dst, p.tileAt(s.Dst, r, c), v)
	})
}

// widen loads a buffer's element and converts it to a tile's type.
func (c *code) widen(from, to kernel.Elem, at operand) operand {
	switch {
	case from == kernel.BF16:
		// A bf16 is the upper half of an f32.
		return c.f("mov.b32", c.r("shl.b32", c.r("cvt.u32.u16", c.h("ld.global.b16", at)), imm(16)))
	case from == kernel.F16:
		return c.f("cvt.f32.f16", c.h("ld.global.b16", at))
	case from == kernel.I32 && to == kernel.I64:
		return c.q("cvt.s64.s32", c.r("ld.global.u32", at))
	}
	return c.into(inReg[to], "ld.global."+movable[to], []operand{at})
}

func (p *printer) store(s *kernel.Store) {
	if s.Buf.Elem.Quantised() {
		p.storeQuantised(s)
		return
	}
	offset := s.Buf.Offset(s.Idx)
	p.reach(s.Src)
	p.hoistAddress(s.Buf, offset)
	p.each(p.rows(s.Src), p.cols(s.Src), func(r, c operand) {
		p.place(r, c)
		v := p.get(s.Src, p.tileAt(s.Src, r, c))
		p.c.narrow(s.Buf.Elem, operand{}, v, p.address(s.Buf, offset))
	})
}

// narrow converts a tile's element to a buffer's type, rounding to nearest
// even, and stores it where ok holds.
func (c *code) narrow(to kernel.Elem, ok, v, at operand) {
	switch to {
	case kernel.BF16:
		c.when(ok, "st.global.b16", at, c.h("cvt.rn.bf16.f32", v))
	case kernel.F16:
		c.when(ok, "st.global.b16", at, c.h("cvt.rn.f16.f32", v))
	default:
		c.when(ok, "st.global."+movable[to], at, v)
	}
}

// hoistMap computes what a map's elements have in common.
func (p *printer) hoistMap(s *kernel.Map) {
	for _, t := range kernel.Refs(s.Expr) {
		if l := p.at[t].load; l != nil {
			p.hoistPiece(t, l.Buf, l.Buf.Offset(l.Idx))
		}
	}
	p.hoistVal(s.Expr, map[*kernel.Val]bool{})
}

func (p *printer) mapTile(s *kernel.Map) {
	p.reach(s.Dst)
	p.hoistMap(s)
	p.fill(s.Dst, func(r, c operand) {
		p.place(r, c)
		m := &mapping{printer: p, dst: s.Dst, at: &spot{row: r, col: c}, known: map[*kernel.Val]operand{}}
		v := m.val(s.Expr)
		p.put(s.Dst, p.tileAt(s.Dst, r, c), v)
	})
}

// copyTile copies single elements: for each place (r, c) of the valid region of
// t, from the place of src that from gives to the place of dst that to gives.
func (p *printer) copyTile(t, dst, src *kernel.Tile, to, from func(r, c operand) (operand, operand)) {
	each := func(fn func(r, c operand)) { p.each(p.rows(t), p.cols(t), fn) }
	if t == dst {
		each = func(fn func(r, c operand)) { p.fill(t, fn) }
	}
	each(func(r, c operand) {
		fr, fc := from(r, c)
		v := p.get(src, p.tileAt(src, fr, fc))
		tr, tc := to(r, c)
		p.put(dst, p.tileAt(dst, tr, tc), v)
	})
}

func same(r, c operand) (operand, operand)    { return r, c }
func swapped(r, c operand) (operand, operand) { return c, r }

func (p *printer) moved(row, col int) func(r, c operand) (operand, operand) {
	return func(r, c operand) (operand, operand) { return p.c.shift(r, row), p.c.shift(c, col) }
}

func (p *printer) transpose(s *kernel.Transpose) {
	p.copyTile(s.Dst, s.Dst, s.Src, same, swapped)
}

func (p *printer) slice(s *kernel.Slice) {
	p.copyTile(s.Dst, s.Dst, s.Src, same, p.moved(s.Row, s.Col))
}

func (p *printer) paste(s *kernel.Paste) {
	p.copyTile(s.Src, s.Dst, s.Src, p.moved(s.Row, s.Col), same)
}
