package amd64

import (
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Left operands in strips. A register tile reads so many rows of its left operand
// side by side, each of them from other lines and pages, that they displace each
// other in the nearest cache. A left operand that a loop over columns does not
// change is copied once, into strips as high as the tallest register tile, which
// then are read front to back: element (m, k) of a strip is its k*height + m'th.

// sharing is how many columns must share a copy in strips: to make it takes as
// long as to multiply with some twelve.
const sharing = 512

// inStrips says that a machine lays out left operands in strips: low register
// tiles displace little, and columns going by in swaths serve them better.
func (m Machine) inStrips() bool { return m.Micro[0].Rows > lanes/2 }

// stripsAhead copies the left operand of a product in a loop that does not
// change it, before the loop, where the loop has many columns for many rows.
func (b *block) stripsAhead(loop *kernel.For, s *kernel.Dot) {
	t, r, trans, _ := operands(s)
	key := copyKey{tile: t, trans: trans}
	if _, done := b.copies[key]; done || !b.machine.inStrips() || s.Operands == kernel.BF16 || !b.steady(loop, t) || b.spelt(loop, r) {
		return
	}
	m, k, n, rows, depth := t.Rows, t.Cols, s.Dst.Cols, b.rows(t), b.cols(t)
	p := b.place(t)
	if trans {
		p.row, p.col = p.col, p.row
		m, k, rows, depth = k, m, depth, rows
	}
	if turned(s) {
		n = s.Dst.Rows
	}
	height := int64(b.machine.Micro[0].Rows)
	more := int64((sharing+n-1)/n-1) * int64(loop.Step) // what the loop must have run through before its last turn
	if int64(m) < height || p.elem != kernel.F32 || p.panel != nil || p.col != 4 || loop.Hi.Interval(b.ranges).Hi-more <= loop.Lo.Interval(b.ranges).Lo {
		return
	}
	strip := b.mul(depth, c64(4*height))
	out := b.near((int64(m)+height-1)/height*int64(k)*4*height+lanes*4*(height+1), b.rest)
	made := b.bin(and, b.icmp(predicate[ints.Le], c64(height), rows), b.icmp(predicate[ints.Lt], b.add(b.int(loop.Lo), c64(more)), b.int(loop.Hi)))
	turn := b.turner(p.elem)
	b.when(made, func() {
		b.count(c64(0), rows, height, func(r value.Value) {
			from := b.at(p.ptr, b.mul(r, c64(p.row)))
			q, _ := b.floorDivConst(r, height, true, false)
			to, left := b.at(out, b.mul(q, strip)), b.smin(b.sub(rows, r), c64(height))
			// Of the 16 rows that are written those too many give way to the next of k.
			b.count(c64(0), depth, lanes, func(k value.Value) {
				b.call(turn, b.at(from, b.mul(k, c64(4))), c64(p.row), b.at(to, b.mul(k, c64(4*height))), c64(4*height), left)
			})
		})
	})
	b.copies[key] = copied{out, made}
}

// spelt says that a product's right operand is quantised: such products have
// loops of their own.
func (b *block) spelt(loop *kernel.For, t *kernel.Tile) (yes bool) {
	if b.steady(loop, t) {
		return b.place(t).elem.Quantised()
	}
	statements(loop.Body, func(s kernel.Stmt) {
		l, ok := s.(*kernel.Load)
		yes = yes || ok && l.Dst == t && l.Buf.Elem.Quantised()
	})
	return yes
}
