package ptx

import "github.com/memc-lang/memc/ir/kernel"

// spread is how the elements of a tile lie in the registers of a CTA: its warps
// stand in a grid, down x across, and each has a piece of whole 16 x 8
// accumulators of mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16 with
// floating point type"). Of one such, lane l holds (l/4, 2(l mod 4)), the element
// right of it, and the two 8 rows below. A tile of one column is held beside: its
// rows' values, by all four lanes of a row and all warps across; a tile of one
// row likewise by all that have its columns, and a single element by all.
type spread struct{ down, across int }

// blocks and pieces are how many accumulators a warp has down and across its
// piece of a tile.
func (s spread) blocks(t *kernel.Tile) int { return (t.Rows + 16*s.down - 1) / (16 * s.down) }
func (s spread) pieces(t *kernel.Tile) int { return (t.Cols + 8*s.across - 1) / (8 * s.across) }

// lines and columns are how many rows and columns of a tile a thread has.
func (s spread) lines(t *kernel.Tile) int {
	if t.Rows == 1 {
		return 1
	}
	return 2 * s.blocks(t)
}

func (s spread) columns(t *kernel.Tile) int {
	if t.Cols == 1 {
		return 1
	}
	return 2 * s.pieces(t)
}

// held is how many registers of a thread a tile takes.
func (s spread) held(t *kernel.Tile) int { return s.lines(t) * s.columns(t) }

// spot is one of a thread's elements: the i-th of its rows, the j-th of its
// columns, and which those are in the tile. ok is its validity, rowOK and colOK that
// of its row and column, without a kind where it is sure.
type spot struct {
	i, j             int
	row, col         operand
	ok, rowOK, colOK operand
	piece            bool // of a thread's piece of the tile, of which i and j count
	paired           bool // the spots come two by two, of one row, both valid or neither
}

// down and across are how many rows and columns the spot is from the thread's
// first one.
func (at spot) down() int   { return 16*(at.i/2) + 8*(at.i%2) }
func (at spot) across() int { return 8*(at.j/2) + at.j%2 }

// lane values are made where they are first needed: the compiler below moves
// them out of loops.
func (p *printer) lane() operand {
	return p.once("#lane", func() operand { return p.c.r("and.b32", p.tid, imm(31)) })
}

func (p *printer) warp() operand {
	return p.once("#warp", func() operand { return p.c.r("shr.u32", p.tid, imm(5)) })
}

// warpRow and warpCol are where the warp stands in its part's grid.
func (p *printer) warpRow() operand {
	sp := p.plan.spread
	return p.once("#warprow", func() operand {
		if sp.down == 1 {
			return p.c.r("mov.u32", imm(0))
		}
		return p.c.r("div.u32", p.warp(), imm(int64(sp.across)))
	})
}

func (p *printer) warpCol() operand {
	sp := p.plan.spread
	return p.once("#warpcol", func() operand {
		if sp.across == 1 {
			return p.c.r("mov.u32", imm(0))
		}
		return p.c.r("and.b32", p.warp(), imm(int64(sp.across-1)))
	})
}

// quad and inQuad are l/4 and l mod 4.
func (p *printer) quad() operand {
	return p.once("#quad", func() operand { return p.c.r("shr.u32", p.lane(), imm(2)) })
}

func (p *printer) inQuad() operand {
	return p.once("#inquad", func() operand { return p.c.r("and.b32", p.lane(), imm(3)) })
}

// once finds a value of this scope or an outer one, or makes it.
func (p *printer) once(key string, fresh func() operand) operand {
	if v, ok := p.find(key); ok {
		return v
	}
	v := fresh()
	p.bind(key, v)
	return v
}

// firstRow and firstCol are the thread's first row and column of a tile.
func (p *printer) firstRow(t *kernel.Tile) operand {
	n := 16 * p.plan.blocks(t)
	return p.once("#row."+imm(int64(n)).text, func() operand {
		return p.c.r("mad.lo.s32", p.warpRow(), imm(int64(n)), p.quad())
	})
}

func (p *printer) firstCol(t *kernel.Tile) operand {
	n := 8 * p.plan.pieces(t)
	return p.once("#col."+imm(int64(n)).text, func() operand {
		return p.c.r("mad.lo.s32", p.warpCol(), imm(int64(n)), p.c.r("shl.b32", p.inQuad(), imm(1)))
	})
}

// over writes the program of each of a thread's elements of a tile, row by row.
func (p *printer) over(t *kernel.Tile, fn func(at spot)) {
	c := &p.c
	p.most = [2]int64{int64(16 * p.plan.down * p.plan.blocks(t)), int64(8 * p.plan.across * p.plan.pieces(t))}
	rows, cols := p.rows(t), p.cols(t)
	type across struct{ at, ok operand }
	var js []across
	for j := range p.plan.columns(t) {
		var a across
		a.at = imm(0)
		if t.Cols > 1 {
			a.at = c.shift(p.firstCol(t), spot{j: j}.across())
		}
		a.ok = p.inside(a.at, cols, p.plan.across*8*p.plan.pieces(t), t.Cols)
		js = append(js, a)
	}
	for i := range p.plan.lines(t) {
		row := imm(0)
		if t.Rows > 1 {
			row = c.shift(p.firstRow(t), spot{i: i}.down())
		}
		rowOK := p.inside(row, rows, p.plan.down*16*p.plan.blocks(t), t.Rows)
		for j, a := range js {
			p.push()
			p.place(row, a.at)
			fn(spot{i: i, j: j, row: row, col: a.at, ok: c.both(rowOK, a.ok), rowOK: rowOK, colOK: a.ok, piece: true, paired: t.Cols%2 == 0 && t.ValidCols == nil})
			p.pop()
		}
	}
}

// inside is the test at < count, without a kind where it surely holds.
func (p *printer) inside(at, count operand, reach, size int) operand {
	switch {
	case at.kind == whole && count.kind == whole:
		if at.value() < count.value() {
			return operand{}
		}
		at = p.c.r("mov.u32", at)
	case at.kind == whole:
		at = p.c.r("mov.u32", at)
	case count.kind == whole && int64(reach) <= count.value():
		return operand{}
	}
	return p.c.p("setp.lt.s32", at, count)
}

// both is the conjunction of two tests, either of which may be sure.
func (c *code) both(a, b operand) operand {
	switch {
	case a.kind == 0:
		return b
	case b.kind == 0:
		return a
	}
	return c.p("and.pred", a, b)
}

// when appends an instruction for elements that are valid.
func (c *code) when(ok operand, mnemonic string, ops ...operand) {
	if ok.kind == 0 {
		c.op(mnemonic, ops...)
		return
	}
	c.onlyIf(ok, mnemonic, ops...)
}

// held gives the registers of a tile, made at the first use.
func (p *printer) heldIn(t *kernel.Tile) []operand {
	if r, ok := p.regs[t]; ok {
		return r
	}
	r := make([]operand, p.plan.held(t))
	for i := range r {
		r[i] = p.c.reg(f32)
	}
	p.regs[t] = r
	return r
}

// register is the one that holds a tile's element for a spot of a tile of the
// same size, or of more rows or columns.
func (p *printer) register(t *kernel.Tile, at spot) operand {
	i, j := at.i, at.j
	if t.Rows == 1 {
		i = 0
	}
	if t.Cols == 1 {
		j = 0
	}
	return p.heldIn(t)[i*p.plan.columns(t)+j]
}

// owner is the test that a thread is the one that stores an element which others
// hold too; it has no kind where each element has one thread.
func (p *printer) owner(t *kernel.Tile) operand {
	var test operand
	zero := func(v operand, wide bool) {
		if wide {
			test = p.c.both(test, p.c.p("setp.eq.s32", v, imm(0)))
		}
	}
	if t.Cols == 1 {
		zero(p.inQuad(), true)
		zero(p.warpCol(), p.plan.across > 1)
	}
	if t.Rows == 1 {
		zero(p.quad(), true)
		zero(p.warpRow(), p.plan.down > 1)
	}
	return test
}
