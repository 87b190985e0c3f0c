package ptx

import (
	"fmt"

	"github.com/memc-lang/memc/ir/kernel"
)

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
	if err := checkDot(s); err != nil {
		c.fail(err)
		return
	}
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
		sums := make([][]operand, height)
		places := make([][]operand, height)
		for i := range sums {
			for j := range width {
				places[i] = append(places[i], p.tileAt(s.Dst, rows[i], cols[j]))
				if s.Acc {
					sums[i] = append(sums[i], p.get(s.Dst, places[i][j]))
				} else {
					sums[i] = append(sums[i], c.f("mov.f32", num(0)))
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
			a[i] = p.get(s.A, p.tileAtSwapped(s.A, rows[i], kk, s.TransA))
		}
		for j := range b {
			b[j] = p.get(s.B, p.tileAtSwapped(s.B, kk, cols[j], s.TransB))
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
		for i := range sums {
			for j := range width {
				skip := c.mark("skip")
				c.unless(inRows[i], "bra", skip)
				c.unless(inCols[j], "bra", skip)
				p.put(s.Dst, places[i][j], sums[i][j])
				c.here(skip)
			}
		}
	})
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
		case i > 0 && at[i-1].kind == whole:
			v = c.r("mov.u32", c.shift(stride, int(at[i-1].value())))
		case i > 0:
			v = c.r("add.s32", at[i-1], stride)
		case v.kind == whole:
			v = c.r("mov.u32", v)
		}
		valid = append(valid, c.p("setp.lt.s32", v, count))
		at = append(at, v)
	}
	for i := range at {
		at[i] = c.r("min.s32", at[i], last)
	}
	return at, valid
}

func checkDot(s *kernel.Dot) error {
	m, k := s.A.Rows, s.A.Cols
	if s.TransA {
		m, k = k, m
	}
	kb, n := s.B.Rows, s.B.Cols
	if s.TransB {
		kb, n = n, kb
	}
	switch {
	case s.Dst.Elem != kernel.F32 || s.A.Elem != kernel.F32 || s.B.Elem != kernel.F32:
		return fmt.Errorf("%s: a product is of f32 tiles", kernel.Text(s))
	case k != kb || m != s.Dst.Rows || n != s.Dst.Cols:
		return fmt.Errorf("%s: the product of [%d,%d] and [%d,%d] is not [%d,%d]", kernel.Text(s), m, k, kb, n, s.Dst.Rows, s.Dst.Cols)
	}
	return nil
}

// reduce joins the elements of a row (of a column, OverRows) one after another
// from the first to the last; a thread has a whole row.
func (p *printer) reduce(s *kernel.Reduce) {
	c := &p.c
	wantRows, wantCols := s.Src.Rows, 1
	if s.OverRows {
		wantRows, wantCols = 1, s.Src.Cols
	}
	if s.Dst.Rows != wantRows || s.Dst.Cols != wantCols || s.Dst.Elem != s.Src.Elem {
		c.fail(fmt.Errorf("%s: the result must be %s[%d,%d]", kernel.Text(s), s.Src.Elem, wantRows, wantCols))
		return
	}
	join, start := joins[s.Op][s.Src.Elem].op, joins[s.Op][s.Src.Elem].start
	if join == "" {
		c.fail(fmt.Errorf("%s: the unknown reduction %d of %s", kernel.Text(s), s.Op, s.Src.Elem))
		return
	}
	rows, cols := p.rows(s.Src), p.cols(s.Src)
	outer, inner := rows, cols
	if s.OverRows {
		outer, inner = cols, rows
	}
	p.each(outer, imm(1), func(i, _ operand) {
		sum := c.reg(inReg[s.Src.Elem])
		c.op("mov."+movable[s.Src.Elem], sum, start)
		j := c.r("mov.u32", imm(0))
		body, end := c.mark("join"), c.mark("end")
		c.here(body)
		c.onlyIf(c.p("setp.ge.s32", j, inner), "bra", end)
		c.depth++
		c.op(join, sum, sum, p.get(s.Src, p.tileAtSwapped(s.Src, i, j, s.OverRows)))
		c.depth--
		c.op("add.s32", j, j, imm(1))
		c.op("bra", body)
		c.here(end)
		p.put(s.Dst, p.tileAtSwapped(s.Dst, i, imm(0), s.OverRows), sum)
	})
}
