package ptx

import "github.com/memc-lang/memc/ir/kernel"

// patch is the most rows and columns of a product that one thread computes at
// a time: 16 sums in registers for 8 loads.
const patch = 4

// dot computes Dst = A·B or Dst += A·B. The region is covered by patches; a
// patch's rows are down = ceil(M/patch) apart and its columns ceil(N/patch), so
// that neighbouring threads read neighbouring columns. A row or column beyond
// the valid region stands for the last valid one and is not stored.
//
// Each element is one chain of fused multiply-adds over k in ascending order.
func (p *printer) dot(s *kernel.Dot) {
	c := &p.c
	m, n := p.rows(s.Dst), p.cols(s.Dst)
	k := p.cols(s.A)
	if s.TransA {
		k = p.rows(s.A)
	}
	height, width := min(patch, s.Dst.Rows), min(patch, s.Dst.Cols)
	down, across := c.ceil(m, height), c.ceil(n, width)
	lastRow, lastCol := c.shift(m, -1), c.shift(n, -1)
	p.each(down, across, func(r0, c0 operand) {
		rows, inRows := c.strided(r0, down, m, lastRow, height)
		cols, inCols := c.strided(c0, across, n, lastCol, width)

		c.note("the sums, [%d,%d]", height, width)
		var sums, places, valid [patch][patch]operand
		for i := range height {
			for j := range width {
				valid[i][j] = c.p("and.pred", inRows[i], inCols[j])
				places[i][j] = p.tileAt(s.Dst, rows[i], cols[j])
				sums[i][j] = c.f("mov.f32", num(0))
				if s.Acc {
					c.onlyIf(valid[i][j], "ld."+p.space(s.Dst)+"f32", sums[i][j], places[i][j])
				}
			}
		}
		c.note("over k")
		kk := c.r("mov.u32", imm(0))
		body, end := c.mark("k"), c.mark("end")
		c.here(body)
		c.onlyIf(c.p("setp.ge.s32", kk, k), "bra", end)
		c.depth++
		a, b := make([]operand, height), make([]operand, width)
		for i := range a {
			a[i] = c.rounded(s, p.get(s.A, p.tileAtSwapped(s.A, rows[i], kk, s.TransA)))
		}
		for j := range b {
			b[j] = c.rounded(s, p.get(s.B, p.tileAtSwapped(s.B, kk, cols[j], s.TransB)))
		}
		for i := range a {
			for j := range b {
				c.op("fma.rn.f32", sums[i][j], a[i], b[j], sums[i][j])
			}
		}
		c.depth--
		c.op("add.s32", kk, kk, imm(1))
		c.op("bra", body)
		c.here(end)
		for i := range height {
			for j := range width {
				c.onlyIf(valid[i][j], "st."+p.space(s.Dst)+"f32", places[i][j], sums[i][j])
			}
		}
	})
}

// rounded is an element as the product takes it.
func (c *code) rounded(s *kernel.Dot, v operand) operand {
	if s.Operands != kernel.BF16 {
		return v
	}
	return c.fromBF16(c.r("cvt.u32.u16", c.h("cvt.rn.bf16.f32", v)))
}

func (p *printer) tileAtSwapped(t *kernel.Tile, r, c operand, swap bool) operand {
	if swap {
		r, c = c, r
	}
	return p.tileAt(t, r, c)
}

// ceil is ceil(a / k) for a 32-bit operand that is not negative.
func (c *code) ceil(a operand, k int) operand {
	if a.kind == whole {
		return imm((a.value() + int64(k) - 1) / int64(k))
	}
	return c.r("div.u32", c.shift(a, k-1), imm(int64(k)))
}

// strided gives the places first, first+stride, ... and whether each is below
// count; one that is not is given as last.
func (c *code) strided(first, stride, count, last operand, n int) (at, valid []operand) {
	for i := range n {
		v := first
		switch {
		case i > 0:
			v = c.r("add.s32", at[i-1], stride)
		case first.kind == whole:
			v = c.r("mov.u32", first)
		}
		valid = append(valid, c.p("setp.lt.s32", v, count))
		at = append(at, v)
	}
	for i := range at {
		at[i] = c.r("min.s32", at[i], last)
	}
	return at, valid
}
