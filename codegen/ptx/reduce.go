package ptx

import (
	"math"

	"github.com/memc-lang/memc/ir/kernel"
)

// reduce joins the elements of a row (of a column, OverRows) one after another
// from the first to the last; a thread has a whole row.
func (p *printer) reduce(s *kernel.Reduce) {
	c := &p.c
	join, start := "add.rn.f32", num(0)
	if s.Op == kernel.Largest {
		join, start = "max.NaN.f32", num(float32(math.Inf(-1)))
	}
	rows, cols := p.rows(s.Src), p.cols(s.Src)
	outer, inner := rows, cols
	if s.OverRows {
		outer, inner = cols, rows
	}
	p.each(outer, imm(1), func(i, _ operand) {
		sum := c.f("mov.f32", start)
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
