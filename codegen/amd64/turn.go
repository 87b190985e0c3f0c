package amd64

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Transposition in blocks of 16 by 16, for what lies in memory by columns.

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
