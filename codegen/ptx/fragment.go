package ptx

import (
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// touchesRegs reports whether a statement works on fragments in registers.
func (p *printer) touchesRegs(s kernel.Stmt) bool {
	reads, writes := kernel.Touches(s)
	for _, t := range append(reads, writes...) {
		if t != nil && p.at[t].home == atRegs {
			return true
		}
	}
	return false
}

// peek reads a tile's element for a spot of another tile, of the same size or
// repeated along it. What lies in memory is read where the spot is valid, a pair of
// neighbours at once, and is 0 elsewhere.
func (p *printer) peek(t *kernel.Tile, at spot) operand {
	c, pl := &p.c, p.at[t]
	switch pl.home {
	case atRegs:
		return p.register(t, at)
	case atSource:
		return p.passed(t, at)
	}
	pairs := at.paired && t.Elem == kernel.F32 && !half(pl.elem) && t.Cols%2 == 0 && !pl.flip && pl.ld%2 == 0
	if pairs && at.j%2 == 1 {
		return p.beside[t]
	}
	row, col := at.row, at.col
	if t.Rows == 1 {
		row = imm(0)
	}
	if t.Cols == 1 {
		col = imm(0)
	}
	where := p.tileAt(t, row, col)
	if pairs {
		v, next := c.reg(f32), c.reg(f32)
		if at.ok.kind != 0 {
			c.op("mov.f32", v, num(0))
			c.op("mov.f32", next, num(0))
		}
		c.when(at.ok, "ld."+p.space(t)+"v2.f32", several(v, next), where)
		p.beside[t] = next
		return v
	}
	if at.ok.kind == 0 {
		return p.get(t, where)
	}
	v := c.reg(inReg[t.Elem])
	switch t.Elem {
	case kernel.F32:
		c.op("mov.f32", v, num(0))
	case kernel.I32:
		c.op("mov.u32", v, imm(0))
	default:
		c.op("mov.u64", v, imm(0))
	}
	c.onlyIf(at.ok, "ld."+p.space(t)+movable[t.Elem], v, where)
	return v
}

// keep gives a tile's element its value. In memory a pair of neighbours is stored
// at once; where tensor cores read the tile, what is not valid becomes 0.
func (p *printer) keep(t *kernel.Tile, at spot, v operand) {
	c, pl := &p.c, p.at[t]
	if pl.home == atRegs {
		c.op("mov.f32", p.register(t, at), v)
		return
	}
	ok := at.ok
	if pl.operand && ok.kind != 0 {
		v = c.f("selp.f32", v, num(0), ok)
		rows, cols := imm(int64(t.Rows)), imm(int64(t.Cols))
		ok = c.both(p.inside(at.row, rows, p.plan.down*16*p.plan.blocks(t), t.Rows), p.inside(at.col, cols, p.plan.across*8*p.plan.pieces(t), t.Cols))
	}
	ok = c.both(ok, p.owner(t))
	pairs := t.Cols%2 == 0 && !pl.flip && pl.ld%2 == 0 && (pl.operand || t.ValidCols == nil)
	if !pairs || t.Elem != kernel.F32 {
		where := p.tileAt(t, at.row, at.col)
		if half(pl.elem) {
			c.when(ok, "st.shared.b16", where, c.h("cvt.rn."+pl.elem.String()+".f32", v))
			return
		}
		c.when(ok, "st."+p.space(t)+movable[t.Elem], where, v)
		return
	}
	if at.j%2 == 0 {
		p.even = pairOf{p.tileAt(t, at.row, at.col), v}
		return
	}
	if half(pl.elem) {
		c.when(ok, "st.shared.u32", p.even.at, c.r("cvt.rn."+pl.elem.String()+"x2.f32", v, p.even.v))
		return
	}
	c.when(ok, "st."+p.space(t)+"v2.f32", p.even.at, several(p.even.v, v))
}

// pairOf is the left one of two neighbours, and where it goes.
type pairOf struct{ at, v operand }

func (p *printer) mapFragment(s *kernel.Map) {
	p.hoistFragment(s.Dst, func() { p.hoistMap(s) })
	var mine operand
	if p.at[s.Dst].inMemory() {
		mine = p.owner(s.Dst) // it may read what it writes
	}
	p.over(s.Dst, func(at spot) {
		at.ok = p.c.both(at.ok, mine)
		m := &mapping{printer: p, dst: s.Dst, at: &at, known: map[*kernel.Val]operand{}}
		p.keep(s.Dst, at, m.val(s.Expr))
	})
}

// hoistFragment computes what is the same for all elements of a tile.
func (p *printer) hoistFragment(t *kernel.Tile, hoist func()) {
	p.most = [2]int64{int64(16 * p.plan.down * p.plan.blocks(t)), int64(8 * p.plan.across * p.plan.pieces(t))}
	hoist()
}

// paired reports whether two neighbouring elements of a row lie side by side in
// the buffer, aligned for one access, and are valid together.
func (p *printer) paired(b *kernel.Buf, offset *ints.Expr, t *kernel.Tile) bool {
	if t.Cols%2 != 0 || t.ValidCols != nil || b.Elem != kernel.F32 && !half(b.Elem) {
		return false
	}
	c, rest, ok := offset.Coeff(kernel.Col)
	return ok && c == 1 && divides(rest, 2, p.steps)
}

// hoistPiece computes the address of a thread's first element of a tile, from
// which its others are a known way off, or what their addresses have in common.
func (p *printer) hoistPiece(t *kernel.Tile, b *kernel.Buf, offset *ints.Expr) {
	p.hoistAddress(b, offset)
	if _, _, ok := steps(offset); !ok {
		return
	}
	p.push()
	row, col := imm(0), imm(0)
	if t.Rows > 1 {
		row = p.firstRow(t)
	}
	if t.Cols > 1 {
		col = p.firstCol(t)
	}
	p.place(row, col)
	first := p.c.q("mad.lo.s64", p.int(offset), imm(int64(b.Elem.Size())), p.bufs[b])
	p.pop()
	p.bind(pieceOf(t, b, offset), first)
}

func pieceOf(t *kernel.Tile, b *kernel.Buf, offset *ints.Expr) string {
	return fmt.Sprintf("#piece.%s.%s.%s", t.Name, b.Name, offset)
}

// steps is how many elements apart rows and columns lie, where that is known and
// ahead.
func steps(offset *ints.Expr) (row, col int, ok bool) {
	r, rest, ok := offset.Coeff(kernel.Row)
	if !ok || offset.Has(kernel.Pick) {
		return 0, 0, false
	}
	c, _, ok := rest.Coeff(kernel.Col)
	return int(r), int(c), ok && r >= 0 && c >= 0 && r < 1<<20 && c < 1<<20
}

// addressFrom is the address of a buffer's element for a spot of a tile, for
// which hoistPiece was called.
func (p *printer) addressFrom(t *kernel.Tile, b *kernel.Buf, offset *ints.Expr, at spot) operand {
	first, found := p.find(pieceOf(t, b, offset))
	if !found || !at.piece {
		return p.address(b, offset)
	}
	row, col, _ := steps(offset)
	if t.Rows == 1 {
		row = 0
	}
	if t.Cols == 1 {
		col = 0
	}
	return globalAt(first, (at.down()*row+at.across()*col)*b.Elem.Size())
}

// loadFragment reads a tile from a buffer into registers; invalid elements are 0.
func (p *printer) loadFragment(s *kernel.Load) {
	c := &p.c
	offset := s.Buf.Offset(s.Idx)
	p.hoistFragment(s.Dst, func() { p.hoistPiece(s.Dst, s.Buf, offset) })
	pairs := s.Gather == nil && p.paired(s.Buf, offset, s.Dst)
	p.over(s.Dst, func(at spot) {
		to := p.register(s.Dst, at)
		if pairs && at.j%2 == 1 {
			return
		}
		if at.ok.kind != 0 {
			c.op("mov.f32", to, num(0))
		}
		if s.Gather != nil {
			x := p.peek(s.Gather, at)
			if s.Gather.Elem == kernel.I32 {
				x = c.q("cvt.s64.s32", x)
			}
			p.bind(kernel.Pick, x)
		}
		var next operand
		if pairs {
			next = p.register(s.Dst, spot{i: at.i, j: at.j + 1})
		}
		p.fetch(s, offset, at, to, next)
	})
}

// passed is an element that a map takes from its buffer, of two neighbours the
// right one with the left one.
func (p *printer) passed(t *kernel.Tile, at spot) operand {
	s := p.at[t].load
	offset := s.Buf.Offset(s.Idx)
	var to, next operand
	switch pairs := at.piece && p.paired(s.Buf, offset, t); {
	case pairs && at.j%2 == 1:
		return p.right[t]
	case pairs:
		to, next = p.c.reg(f32), p.c.reg(f32)
		p.right[t] = next
	default:
		to = p.c.reg(f32)
	}
	if at.ok.kind != 0 {
		p.c.op("mov.f32", to, num(0))
	}
	p.fetch(s, offset, at, to, next)
	return to
}

// fetch loads an element of a buffer, and its right neighbour too where next is
// a register for that; to has its value where the spot is not valid.
func (p *printer) fetch(s *kernel.Load, offset *ints.Expr, at spot, to, next operand) {
	c, from := &p.c, p.addressFrom(s.Dst, s.Buf, offset, at)
	if next.kind == 0 {
		switch s.Buf.Elem {
		case kernel.F32:
			c.when(at.ok, "ld.global.f32", to, from)
		case kernel.BF16, kernel.F16:
			h := c.r("mov.u32", imm(0))
			c.when(at.ok, "ld.global.u16", h, from)
			if s.Buf.Elem == kernel.BF16 {
				c.op("mov.b32", to, c.r("shl.b32", h, imm(16)))
			} else {
				c.op("cvt.f32.f16", to, c.h("cvt.u16.u32", h))
			}
		}
		return
	}
	if s.Buf.Elem == kernel.F32 {
		if at.ok.kind != 0 {
			c.op("mov.f32", next, num(0))
		}
		c.when(at.ok, "ld.global.v2.f32", several(to, next), from)
		return
	}
	two := c.r("mov.u32", imm(0))
	c.when(at.ok, "ld.global.u32", two, from)
	if s.Buf.Elem == kernel.F16 {
		c.op("mov.f32", to, c.halfOf(two, 0))
		c.op("mov.f32", next, c.halfOf(two, 1))
		return
	}
	c.op("mov.b32", to, c.r("shl.b32", two, imm(16)))
	c.op("mov.b32", next, c.r("and.b32", two, imm(-65536)))
}

// storeFragment writes a tile from registers to a buffer.
func (p *printer) storeFragment(s *kernel.Store) {
	c := &p.c
	offset := s.Buf.Offset(s.Idx)
	p.hoistFragment(s.Src, func() { p.hoistPiece(s.Src, s.Buf, offset) })
	pairs := p.paired(s.Buf, offset, s.Src)
	mine := p.owner(s.Src)
	p.over(s.Src, func(at spot) {
		v, ok := p.register(s.Src, at), c.both(at.ok, mine)
		if !pairs {
			p.c.narrow(s.Buf.Elem, ok, v, p.addressFrom(s.Src, s.Buf, offset, at))
			return
		}
		if at.j%2 == 1 {
			return
		}
		next := p.register(s.Src, spot{i: at.i, j: at.j + 1})
		if half(s.Buf.Elem) {
			c.when(ok, "st.global.u32", p.addressFrom(s.Src, s.Buf, offset, at), c.r("cvt.rn."+s.Buf.Elem.String()+"x2.f32", next, v))
			return
		}
		c.when(ok, "st.global.v2.f32", p.addressFrom(s.Src, s.Buf, offset, at), several(v, next))
	})
}

// reduceFragment joins the elements of rows, or of columns, of which each thread
// has some: first its own in their order, then those of the lanes that share a
// row or column, by exchange with the lane whose number differs in one bit, then
// those of the warps, through shared memory, in their order. What is not valid
// does not change the result; where a whole row or column is not, neither is its result,
// which may be anything where the source is in registers.
func (p *printer) reduceFragment(s *kernel.Reduce) {
	c, sp := &p.c, p.plan.spread
	join, start := "add.rn.f32", num(0)
	if s.Op == kernel.Largest {
		join, start = "max.NaN.f32", num(float32(math.Inf(-1)))
	}
	count, bits, warps := sp.lines(s.Src), []int{1, 2}, sp.across
	if s.OverRows {
		count, bits, warps = sp.columns(s.Src), []int{4, 8, 16}, sp.down
	}
	if s.Src.Cols == 1 && !s.OverRows {
		bits, warps = nil, 1 // held by all lanes of a row already
	}
	if s.Src.Rows == 1 && s.OverRows {
		bits, warps = nil, 1
	}
	joined := make([]operand, count)
	for i := range joined {
		joined[i] = c.f("mov.f32", start)
	}
	p.over(s.Src, func(at spot) {
		v, i, ok := p.peek(s.Src, at), at.i, at.colOK
		if s.OverRows {
			i, ok = at.j, at.rowOK
		}
		if p.at[s.Src].home != atRegs {
			ok = at.ok
		}
		if ok.kind != 0 {
			v = c.f("selp.f32", v, start, ok)
		}
		c.op(join, joined[i], joined[i], v)
	})
	for _, b := range bits {
		for i := range joined {
			c.op(join, joined[i], joined[i], c.f("shfl.sync.bfly.b32", joined[i], imm(int64(b)), imm(31), imm(-1)))
		}
	}
	if warps > 1 {
		p.acrossWarps(joined, s.OverRows, join, start)
	}
	p.over(s.Dst, func(at spot) {
		i := at.i
		if s.OverRows {
			i = at.j
		}
		p.keep(s.Dst, at, joined[i])
	})
}

// acrossWarps joins values that the warps of a row of the grid (a column,
// overRows) hold of the same rows: warp w's i-th value of a line of lanes lies at
// ((w·n + i)·8 + line)·4 in the exchange, for rows with lanes' quads as lines and
// for columns with their places in the quads.
func (p *printer) acrossWarps(joined []operand, overRows bool, join string, start operand) {
	c, sp, n := &p.c, p.plan.spread, int64(len(joined))
	line, first := p.quad(), p.c.p("setp.eq.s32", p.inQuad(), imm(0))
	group, step, warps := c.r("mul.lo.s32", p.warpRow(), imm(int64(sp.across))), int64(1), sp.across
	if overRows {
		line, first = p.inQuad(), p.c.p("setp.eq.s32", p.quad(), imm(0))
		group, step, warps = p.warpCol(), int64(sp.across), sp.down
	}
	at := func(warp operand) operand {
		v := c.r("mad.lo.s32", warp, imm(8*n), line)
		return c.r("mad.lo.s32", v, imm(4), p.near)
	}
	p.barrier()
	mine := at(p.warp())
	for i, v := range joined {
		c.onlyIf(first, "st.shared.f32", sharedAt(mine, p.plan.at+32*i), v)
	}
	p.barrier()
	from := at(group)
	for i := range joined {
		c.op("mov.f32", joined[i], start)
	}
	for w := range warps {
		for i := range joined {
			c.op(join, joined[i], joined[i], c.f("ld.shared.f32", sharedAt(from, p.plan.at+int(8*n*step*4)*w+32*i)))
		}
	}
}
