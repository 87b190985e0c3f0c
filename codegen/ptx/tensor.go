package ptx

import (
	"fmt"

	"github.com/memc-lang/memc/ir/kernel"
)

// tensor reports whether tensor cores compute a product: it says that groups of 8
// or 16 terms may be summed in any fixed order, and is no smaller than a tile.
func tensor(s *kernel.Dot) bool {
	_, _, k := sizes(s)
	return grouped(s) > 0 && k >= 8 && (s.Dst.Rows >= 8 || s.Dst.Cols >= 8)
}

// sizes are the rows, columns and terms of a product.
func sizes(s *kernel.Dot) (m, n, k int) {
	k = s.A.Cols
	if s.TransA {
		k = s.A.Rows
	}
	return s.Dst.Rows, s.Dst.Cols, k
}

// grouped is how many terms one mma may sum: 16, 8, or 0 for none.
func grouped(s *kernel.Dot) int {
	_, _, k := sizes(s)
	switch {
	case s.Group >= k && k > 8 || s.Group > 0 && s.Group%16 == 0:
		return 16
	case s.Group >= k || s.Group > 0 && s.Group%8 == 0:
		return 8
	}
	return 0
}

// kept is the most terms of a number's expansion that take part in a product, and
// kept-1 the most that the numbers of two terms add up to.
const kept = 3

// warpTile is the piece of a product that a warp computes: blocks x pieces
// accumulators of 16 x 8, whose registers lie row by row as those of a tile do.
type warpTile struct {
	blocks, pieces int
	sums           []operand
	group          int
	elem           kernel.Elem // of the terms
	rows, cols     int         // that all warps together reach
}

// termElem is the type of the terms that a product's mma take.
func (p *printer) termElem(s *kernel.Dot) kernel.Elem {
	if p.native(s) {
		return kernel.F16
	}
	return kernel.BF16
}

// quadOf is the accumulator at (block, piece).
func (w *warpTile) quadOf(block, piece int) operand {
	at := func(i, j int) operand { return w.sums[(2*block+i)*2*w.pieces+2*piece+j] }
	return several(at(0, 0), at(0, 1), at(1, 0), at(1, 1))
}

// step adds 16 terms of the product: those from k on.
func (p *printer) step(w *warpTile, a, b *side, k int) {
	left := make([][][]operand, w.blocks)
	for i := range left {
		left[i] = p.leftFragment(a, i, k)
	}
	for j := 0; j < w.pieces; j += 2 {
		right := p.rightFragments(b, j, min(2, w.pieces-j), k)
		for n, r := range right {
			for i := range left {
				p.multiply(w, i, j+n, left[i], r)
			}
		}
	}
}

// multiply adds the products of two fragments' terms to an accumulator, the
// smallest first.
func (p *printer) multiply(w *warpTile, block, piece int, a, b [][]operand) {
	c, sums := &p.c, w.quadOf(block, piece)
	form := fmt.Sprintf(".row.col.f32.%[1]s.%[1]s.f32", w.elem)
	pairs := partProducts(len(a), len(b))
	if w.group == 16 {
		for _, ij := range pairs {
			c.op("mma.sync.aligned.m16n8k16"+form, sums, several(a[ij[0]]...), several(b[ij[1]]...), sums)
		}
		return
	}
	for h := range 2 {
		for n := 0; n < len(pairs); n += 2 {
			x := pairs[n]
			if n+1 == len(pairs) {
				c.op("mma.sync.aligned.m16n8k8"+form, sums, several(a[x[0]][2*h], a[x[0]][2*h+1]), several(b[x[1]][h]), sums)
				continue
			}
			// Two products of the same 8 terms stand side by side where 16 terms would.
			y := pairs[n+1]
			left := several(a[x[0]][2*h], a[x[0]][2*h+1], a[y[0]][2*h], a[y[0]][2*h+1])
			c.op("mma.sync.aligned.m16n8k16"+form, sums, left, several(b[x[1]][h], b[y[1]][h]), sums)
		}
	}
}

// partProducts lists the products of two expansions that count, xi·yj by i and j:
// the smallest first.
func partProducts(left, right int) (pairs [][2]int) {
	for size := kept - 1; size >= 0; size-- {
		for i := range left {
			if j := size - i; j >= 0 && j < right {
				pairs = append(pairs, [2]int{i, j})
			}
		}
	}
	return pairs
}

// expand writes two neighbouring numbers as so many bf16 terms each, to nearest
// every time, packed in pairs.
func (c *code) expand(x, y operand, terms int) []operand {
	var out []operand
	for t := range terms {
		both := c.r("cvt.rn.bf16x2.f32", y, x)
		out = append(out, both)
		if t < terms-1 {
			x = c.sub(x, c.f("mov.b32", c.r("shl.b32", both, imm(16))))
			y = c.sub(y, c.f("mov.b32", c.r("and.b32", both, imm(-65536))))
		}
	}
	return out
}

// product computes Dst = A·B or Dst += A·B on tensor cores.
func (p *printer) product(s *kernel.Dot) {
	f := streamOf(s, p.at, p.plan.spread)
	if p.at[s.Dst].home != atRegs && f.bytes == 0 {
		p.productStored(s)
		return
	}
	p.productSpread(s, f)
}

// productSpread has all its sums in registers at once: a warp computes its piece
// of the tile, which may go to memory then.
func (p *printer) productSpread(s *kernel.Dot, f flow) {
	c, sp := &p.c, p.plan.spread
	w := &warpTile{blocks: sp.blocks(s.Dst), pieces: sp.pieces(s.Dst), group: grouped(s), elem: p.termElem(s)}
	w.rows, w.cols = 16*w.blocks*sp.down, 8*w.pieces*sp.across
	row := p.once("#top."+imm(int64(w.blocks)).text, func() operand { return c.r("mul.lo.s32", p.warpRow(), imm(int64(16*w.blocks))) })
	col := p.once("#left."+imm(int64(w.pieces)).text, func() operand { return c.r("mul.lo.s32", p.warpCol(), imm(int64(8*w.pieces))) })
	stored := p.at[s.Dst].home != atRegs
	if stored {
		for range 4 * w.blocks * w.pieces {
			w.sums = append(w.sums, c.f("mov.f32", num(0)))
		}
		if s.Acc {
			p.sumsOf(s.Dst, w, row, col, false)
		}
	} else {
		w.sums = p.heldIn(s.Dst)
		if !s.Acc {
			for _, r := range w.sums {
				c.op("mov.f32", r, num(0))
			}
		}
	}
	if f.bytes > 0 {
		p.streamed(s, w, f, row, col)
	} else {
		p.sumTerms(s, w, p.side(s, true, row), p.side(s, false, col))
	}
	if stored {
		p.sumsOf(s.Dst, w, row, col, true)
	}
}

// unrolled is the most terms of a product whose steps are written out.
const unrolled = 32

// sumTerms walks over all terms of a product of tiles.
func (p *printer) sumTerms(s *kernel.Dot, w *warpTile, a, b *side) {
	c := &p.c
	_, _, k := sizes(s)
	if k <= unrolled || a.held {
		for at := 0; at < k; at += 16 {
			p.step(w, a, b, at)
		}
		return
	}
	each := 32
	if k%32 != 0 {
		each = 16
	}
	a, b = p.walking(a), p.walking(b)
	n := c.r("mov.u32", imm(0))
	body := c.mark("k")
	c.here(body)
	for at := 0; at < each; at += 16 {
		p.step(w, a, b, at)
	}
	p.advance(a, each)
	p.advance(b, each)
	c.op("add.s32", n, n, imm(int64(each)))
	c.onlyIf(c.p("setp.lt.s32", n, imm(int64(k))), "bra", body)
}

// productStored has its sums in memory: the warps take pieces of 32 x 32 in turn.
func (p *printer) productStored(s *kernel.Dot) {
	c := &p.c
	m, n, _ := sizes(s)
	w := &warpTile{blocks: min(2, (m+15)/16), pieces: min(4, (n+7)/8), group: grouped(s), elem: p.termElem(s)}
	high, wide := 16*w.blocks, 8*w.pieces
	across := (n + wide - 1) / wide
	all := (m + high - 1) / high * across
	w.rows, w.cols = up(m, high), up(n, wide)
	e := c.r("mov.u32", p.warp())
	body, end := c.mark("piece"), c.mark("end")
	c.here(body)
	c.onlyIf(c.p("setp.ge.s32", e, imm(int64(all))), "bra", end)
	p.push()
	c.depth++
	line, place := c.split(e, imm(int64((m+high-1)/high)), imm(int64(across)))
	row, col := c.register(c.product(line, imm(int64(high)))), c.register(c.product(place, imm(int64(wide))))
	for range 4 * w.blocks * w.pieces {
		w.sums = append(w.sums, c.f("mov.f32", num(0)))
	}
	if s.Acc {
		p.sumsOf(s.Dst, w, row, col, false)
	}
	p.sumTerms(s, w, p.side(s, true, row), p.side(s, false, col))
	p.sumsOf(s.Dst, w, row, col, true)
	c.depth--
	p.pop()
	c.op("add.s32", e, e, imm(int64(p.threads/32)))
	c.op("bra", body)
	c.here(end)
}

// register is an operand as a 32-bit register.
func (c *code) register(a operand) operand {
	if a.kind == whole {
		return c.r("mov.u32", a)
	}
	return a
}

// sumsOf reads a warp's accumulators from a tile in memory, or writes them there.
func (p *printer) sumsOf(t *kernel.Tile, w *warpTile, row, col operand, write bool) {
	c, pl := &p.c, p.at[t]
	rows, cols := p.rows(t), p.cols(t)
	m, n := w.rows, w.cols
	pairs := t.Cols%2 == 0 && t.ValidCols == nil && pl.ld%2 == 0 && !pl.flip
	firstRow := c.r("add.s32", row, p.quad())
	firstCol := c.r("add.s32", col, c.r("shl.b32", p.inQuad(), imm(1)))
	for i := range 2 * w.blocks {
		r := c.shift(firstRow, 16*(i/2)+8*(i%2))
		rowOK := p.inside(r, rows, m, t.Rows)
		for j := range 2 * w.pieces {
			if pairs && j%2 == 1 {
				continue
			}
			col := c.shift(firstCol, 8*(j/2)+j%2)
			ok := c.both(rowOK, p.inside(col, cols, n, t.Cols))
			sum := w.sums[i*2*w.pieces+j]
			regs := []operand{sum}
			if pairs {
				regs = append(regs, w.sums[i*2*w.pieces+j+1])
			}
			if write && pl.operand && ok.kind != 0 {
				for x := range regs {
					regs[x] = c.f("selp.f32", regs[x], num(0), ok)
				}
				ok = c.both(p.inside(r, imm(int64(t.Rows)), m, t.Rows), p.inside(col, imm(int64(t.Cols)), n, t.Cols))
			}
			value, how := sum, "f32"
			if len(regs) == 2 {
				value, how = several(regs...), "v2.f32"
			} else {
				value = regs[0]
			}
			at := p.tileAt(t, r, col)
			if write {
				c.when(ok, "st."+p.space(t)+how, at, value)
			} else {
				c.when(ok, "ld."+p.space(t)+how, value, at)
			}
		}
	}
}
