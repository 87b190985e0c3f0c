package amd64

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Which products go through matrix tiles, and their operands' copies in squares.

// squared says that a product is computed in matrix tiles. Its rows' order of
// sums then is that of groups of 32, which the statement must allow.
func (m Machine) squared(s *kernel.Dot) bool {
	k := depthOf(s)
	loose := s.Group >= k || s.Group > 0 && s.Group%deep == 0
	return m.Squares && loose && (k >= deep || s.Operands == kernel.BF16)
}

// partsOf is how many bf16 numbers stand for an element.
func partsOf(e kernel.Elem) int { return [...]int{3, 1, 2}[e] }

// pairingOf gives the parts of a product's operands; the right one holds
// elements of e.
func pairingOf(s *kernel.Dot, e kernel.Elem) pairing {
	if s.Operands == kernel.BF16 {
		return pairing{1, 1}
	}
	return pairing{3, partsOf(e)}
}

// copyKey names a copy of a product's operand: in squares, or, of no parts, in
// strips.
type copyKey struct {
	tile         *kernel.Tile
	right, trans bool
	parts        int
}

// copied is a copy, and whether it has been made.
type copied struct{ ptr, made value.Value }

// mostReady is the most bytes that a right operand's copy may have: it is made
// where it serves many products, and they should find it in L2.
const mostReady = 1 << 20

// leftReady gives a left operand in squares.
func (b *block) leftReady(t *kernel.Tile, trans bool, parts int) value.Value {
	key := copyKey{t, false, trans, parts}
	if v, ok := b.copies[key]; ok {
		return v.ptr
	}
	p := b.place(t)
	if p.elem != kernel.F32 || p.panel != nil {
		b.fail("left operand %s is not f32 rows", t.Name)
		return b.scratch
	}
	m, k, rows, depth := int64(t.Rows), int64(t.Cols), b.rows(t), b.cols(t)
	if trans {
		m, k, rows, depth = k, m, depth, rows
		p.row, p.col = p.col, p.row
	}
	if p.col != 4 && t.Rows > 1 && t.Cols > 1 { // rows of m
		turned := place{ptr: b.near(padded(m)*rowBytes(k, 4)+64*lanes, b.rest), elem: kernel.F32, row: rowBytes(k, 4), col: 4}
		b.turnAll(place{ptr: p.ptr, elem: p.elem, row: p.col, col: p.row}, turned, depth, rows)
		p = turned
	}
	out := b.near((m+15)/16*((k+deep-1)/deep)*int64(parts)*square, b.rest)
	b.call(b.module.leftSquares(parts), p.ptr, c64(p.row), depth, rows, out, b.mul(b.smin(rows, c64(16)), c64(64)))
	b.copies[key] = copied{out, constant.True}
	return out
}

// rightReady puts a right operand in squares, where made holds.
func (b *block) rightReady(t *kernel.Tile, trans bool, parts int, made value.Value) {
	key := copyKey{t, true, trans, parts}
	if _, ok := b.copies[key]; ok {
		return
	}
	n, k, cols, depth := int64(t.Cols), int64(t.Rows), b.cols(t), b.rows(t)
	if trans {
		n, k, cols, depth = k, n, depth, cols
	}
	r := b.right(t, trans)
	out := b.near((n+31)/32*((k+deep-1)/deep)*int64(parts)*2*square, b.rest)
	b.when(made, func() {
		p := product{fn: b.fn, key: productKey{elem: r.elem, perPanel: r.perPanel}, bPanel: c64(r.panel)}
		vecs := b.bin(lshr, b.add(cols, c64(lanes-1)), c64(4))
		each := b.mul(b.groups(depth), c64(int64(parts)*2*square))
		b.count(c64(0), vecs, 2, func(v value.Value) {
			both := b.icmp(predicate[ints.Lt], b.add(v, c64(1)), vecs)
			column := p.columnAt(v)
			second := b.sub(p.columnAt(b.add(v, c64(1))), column)
			b.call(b.module.rightSquares(r.elem, parts, r.perPanel%2 == 0), b.at(r.ptr, column), c64(r.step), second, depth, both, b.at(out, b.mul(b.bin(lshr, v, c64(1)), each)), c64(ahead*r.step))
		})
	})
	b.copies[key] = copied{out, made}
}

// squaresAhead makes the copies of a product's operands that a loop does not
// change, before the loop; that of the right one if the loop has several turns.
func (b *block) squaresAhead(loop *kernel.For, s *kernel.Dot, several value.Value) {
	lt, rt, lTrans, rTrans := operands(s)
	if b.steady(loop, rt) && b.place(rt).elem.Quantised() { // it goes another way
		return
	}
	if b.steady(loop, lt) && !b.spelt(loop, rt) {
		if p := b.place(lt); p.elem == kernel.F32 && p.panel == nil {
			b.leftReady(lt, lTrans, pairingOf(s, kernel.F32).left)
		}
	}
	if b.steady(loop, rt) {
		parts := pairingOf(s, b.exactly(rt)).right
		if int64(rt.Rows)*int64(rt.Cols)*int64(parts)*2 <= mostReady {
			b.rightReady(rt, rTrans, parts, several)
		}
	}
}

// exactly is the type in memory that a tile's elements come from.
func (b *block) exactly(t *kernel.Tile) kernel.Elem { return b.place(t).elem }

// squareDotStmt emits a product in matrix tiles.
func (b *block) squareDotStmt(s *kernel.Dot, d place, rows, vecs, depth value.Value) {
	lt, rt, lTrans, rTrans := operands(s)
	pair := pairingOf(s, b.exactly(rt))
	acc := b.adds(s)
	a := b.leftReady(lt, lTrans, pair.left)
	r := b.right(rt, rTrans)
	key := squareKey{pairing: pair, elem: r.elem, perPanel: r.perPanel}
	fetch := c64(ahead * r.step)
	// Few rows are done with an operand too soon for that: they fetch what the next
	// turn of the loop reads, or the next strip.
	near := value.Value(c64(deep * r.step))
	far := fetching{"", near, near}
	inPanels, columns := b.place(rt).panel != nil, int64(rt.Cols)
	if rTrans {
		columns = int64(rt.Rows)
	}
	beyond := func(bytes value.Value) value.Value { return b.choose(r.more, bytes, c64(0)) } // what is there
	switch whole := columns * int64(r.elem.Size()); {
	case r.next != nil && inPanels:
		far = fetching{nextPanels, beyond(r.next), beyond(r.next)}
	case r.next != nil && r.step == whole:
		far = fetching{nextRows, beyond(r.next), beyond(r.next)}
	case r.next != nil:
		near = r.next
		far = fetching{"", near, near}
	case inPanels:
		strip := c64(r.panel * int64(pair.strip()) / r.perPanel)
		far = fetching{nextPanels, strip, beyond(strip)}
	}
	compute := func(key squareKey, r right, far fetching) {
		few := b.icmp(predicate[ints.Le], rows, c64(fewRows))
		n, known := constInt(rows)
		if !known || n <= fewRows {
			b.when(few, func() {
				room := b.near(pair.fewRoom(), span{b.pos, b.pos})
				size, key := b.mul(rows, c64(64)), key
				key.next = far.next
				b.call(b.fewProduct(key), a, size, r.ptr, c64(r.step), c64(r.panel), depth, d.ptr, c64(d.row), vecs, acc, far.bytes, far.last, room)
			})
		}
		if !known || n > fewRows {
			b.when(b.bin(xor, few, constant.True), func() {
				room := b.near(pair.room(), span{b.pos, b.pos})
				b.call(b.squareProduct(key), a, r.ptr, c64(r.step), c64(r.panel), depth, d.ptr, c64(d.row), rows, vecs, acc, fetch, room)
			})
		}
	}
	several := func(body func()) {
		b.when(b.icmp(predicate[ints.Lt], c64(0), rows), func() {
			b.shaped(b.shape, rows)
			body()
		})
	}
	// A copy may have been made ahead.
	fresh := value.Value(constant.True)
	if ready, ok := b.copies[copyKey{rt, true, rTrans, pair.right}]; ok {
		b.when(ready.made, func() {
			several(func() {
				compute(squareKey{pairing: pair, ready: true, perPanel: 2}, right{ptr: ready.ptr}, fetching{"", c64(0), c64(0)})
			})
		})
		fresh = b.bin(xor, ready.made, constant.True)
	}
	// One row alone is computed in vectors, unless it fetches what the loop's next
	// turn reads.
	one := value.Value(constant.False)
	p := b.place(lt)
	if lTrans {
		p.row, p.col = p.col, p.row
	}
	if n, known := constInt(rows); p.col == 4 && (r.next == nil || far.next == "") && (!known || n == 1) {
		one = b.icmp(predicate[ints.Eq], rows, c64(1))
		k := int64(lt.Cols)
		if lTrans {
			k = int64(lt.Rows)
		}
		b.when(b.bin(and, fresh, one), func() {
			b.flushed(func() {
				room := b.near(pair.rowRoom(k), span{b.pos, b.pos})
				b.call(b.squareRow(key), p.ptr, r.ptr, c64(r.step), c64(r.panel), depth, d.ptr, vecs, acc, near, room)
			})
		})
	}
	b.when(b.bin(and, fresh, b.bin(xor, one, constant.True)), func() {
		several(func() { compute(key, r, far) })
	})
}

// fetching is what a product of few rows fetches: how it lies (see squareKey), and
// how many bytes from what is read, for all strips but the last and for the last.
type fetching struct {
	next        string
	bytes, last value.Value
}
