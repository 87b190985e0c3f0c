package amd64

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/kernel"
)

// Statements that join, move or transpose the elements of tiles.

// reduceStmt joins the elements of a column: lane l joins the rows that are l modulo 16
// in ascending order, then lanes 8, 4, 2 and 1 apart are joined.
func (b *block) reduceStmt(s *kernel.Reduce) {
	j := b.joinOf(s)
	if b.err != nil {
		return
	}
	src, dst, m := b.place(s.Src), b.place(s.Dst), b.rows(s.Src)
	if !s.OverRows { // one column joins nothing
		b.eachStrip(m, func(r value.Value) { b.store(b.vector(src, src.ptr, r), dst.ptr, b.mul(r, c64(dst.row))) })
		return
	}
	acc := b.strips(m, []value.Value{j.none}, func(r value.Value, in []value.Value) []value.Value {
		x := b.choose(b.mask(r, m), b.vector(src, src.ptr, r), j.none)
		return []value.Value{b.join(s.Op, in[0], x)}
	})
	b.store(b.joined(s.Op, acc[0]), dst.ptr, c64(0))
}

func (b *block) join(op kernel.Reduction, acc, x value.Value) value.Value {
	switch {
	case op == kernel.Sum && isFloat(acc.Type()):
		return b.bin(fadd, acc, x)
	case op == kernel.Sum:
		return b.add(acc, x)
	case isFloat(acc.Type()):
		return b.most(acc, x)
	}
	return b.smax(acc, x)
}

// transposeStmt swaps rows and columns; columns and rows alone are dense.
func (b *block) transposeStmt(s *kernel.Transpose) {
	src, dst := b.place(s.Src), b.place(s.Dst)
	if s.Dst.Rows != s.Src.Cols || s.Dst.Cols != s.Src.Rows || s.Dst.Elem != s.Src.Elem {
		b.fail("transpose of %s into %s of another shape", s.Src.Name, s.Dst.Name)
		return
	}
	rows, cols := b.rows(s.Src), b.cols(s.Src)
	switch {
	case s.Src.Cols == 1:
		b.eachStrip(rows, func(r value.Value) {
			b.store(b.vector(src, src.ptr, r), dst.ptr, b.mul(r, c64(int64(s.Src.Elem.Size()))))
		})
	case s.Src.Rows == 1:
		b.eachStrip(cols, func(c value.Value) {
			b.store(b.vector(src, src.ptr, c), dst.ptr, b.mul(c, c64(int64(s.Src.Elem.Size()))))
		})
	case s.Src.Elem == kernel.I64:
		b.count(c64(0), rows, 1, func(r value.Value) {
			b.count(c64(0), cols, 1, func(c value.Value) {
				b.store(b.element(src, r, c), dst.ptr, b.add(b.mul(c, c64(dst.row)), b.mul(r, c64(dst.col))))
			})
		})
	default:
		b.turnAll(src, dst, rows, cols)
	}
}

// copyRect copies rows x cols elements from one corner to another, writing
// nothing else.
func (b *block) copyRect(src, dst place, sr, sc, dr, dc int64, rows, cols value.Value) {
	b.count(c64(0), rows, 1, func(r value.Value) {
		from := b.at(src.ptr, b.mul(b.add(r, c64(sr)), c64(src.row)))
		to := b.at(dst.ptr, b.mul(b.add(r, c64(dr)), c64(dst.row)))
		if n, ok := constInt(cols); ok && n == 1 {
			b.store(b.element(src, b.add(r, c64(sr)), c64(sc)), to, c64(dc*dst.col))
			return
		}
		whole := b.bin(and, cols, c64(-lanes))
		b.eachStrip(whole, func(c value.Value) {
			b.store(b.vector(src, from, b.add(c, c64(sc))), to, b.mul(b.add(c, c64(dc)), c64(dst.col)))
		})
		tail := func() {
			b.maskedStore(b.vector(src, from, b.add(whole, c64(sc))), b.at(to, b.mul(b.add(whole, c64(dc)), c64(dst.col))), b.mask(whole, cols))
		}
		if n, ok := constInt(cols); !ok {
			b.when(b.icmp(enum.IPredSLT, whole, cols), tail)
		} else if n%lanes != 0 {
			tail()
		}
	})
}

func (b *block) sliceStmt(s *kernel.Slice) {
	if s.Row < 0 || s.Col < 0 || s.Row+s.Dst.Rows > s.Src.Rows || s.Col+s.Dst.Cols > s.Src.Cols || s.Dst.Elem != s.Src.Elem {
		b.fail("slice of %s reaches beyond it", s.Src.Name)
		return
	}
	b.copyRect(b.place(s.Src), b.place(s.Dst), int64(s.Row), int64(s.Col), 0, 0, b.rows(s.Dst), b.cols(s.Dst))
}

func (b *block) pasteStmt(s *kernel.Paste) {
	if s.Row < 0 || s.Col < 0 || s.Row+s.Src.Rows > s.Dst.Rows || s.Col+s.Src.Cols > s.Dst.Cols || s.Dst.Elem != s.Src.Elem {
		b.fail("paste of %s reaches beyond %s", s.Src.Name, s.Dst.Name)
		return
	}
	b.copyRect(b.place(s.Src), b.place(s.Dst), 0, 0, int64(s.Row), int64(s.Col), b.rows(s.Src), b.cols(s.Src))
}
