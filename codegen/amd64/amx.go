package amd64

import (
	"fmt"
	"slices"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Products in Intel's matrix tiles (AMX; Intel 64 and IA-32 SDM, TDPBF16PS): one
// instruction adds the product of 16 x 32 and 32 x 16 bf16 numbers to 16 x 16 f32
// sums. An f32 is the exact sum of three bf16 numbers, its parts, so that a
// product of f32 takes as many products as pairs of parts matter: those of the
// leading bits, and of others down to 2^-18 of them. What is left out is less than
// what rounding an f32 loses. Elements of bf16 are one part, of f16 two. An
// infinite element has no such parts, nor has one within half a step of bf16 of
// infinity: a product with it is no number, where a chain would give infinity.
//
// Each operand is laid out in squares of 1 KiB, the tiles as the processor loads
// them:
//
//	left:  for 16 rows, for 32 k, for each part: for each row, 16 pairs of
//	       elements
//	right: for 32 columns, for 32 k, for each part, for 16 of the columns: for
//	       each pair, its elements in each column
//
// The elements of a pair are 16 apart in k, not neighbours: so two vectors make
// pairs without a shuffle.
//
// Sums go by groups of 32 k from the first on, so that an element's bits depend
// on its row and column alone.

const (
	square = 1024 // bytes of a tile
	deep   = 32   // steps of k in a tile
)

// pairing says which parts of the operands are multiplied, in the order in which
// it is done: one of the two stays in its registers from each to the next.
type pairing struct{ left, right int }

func (p pairing) pairs() (ps [][2]int) {
	switch p.right {
	case 1:
		for i := p.left - 1; i >= 0; i-- {
			ps = append(ps, [2]int{i, 0})
		}
		return ps
	case 2:
		return [][2]int{{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}}
	}
	return [][2]int{{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}}
}

// piece is how many steps of k a product takes at a time: the right operand's 32
// columns of them are to stay in the nearest cache.
func (p pairing) piece() int64 { return [...]int64{0, 512, 256, 256}[p.right] }

// bitsOf gives words whose upper halves are bf16 numbers that add up to x: n of
// them, exact for three, the first of several the nearest to x, so that what
// follows has either sign, the others what fits of what is left over. A single one
// is x rounded, and its lower half is 0; so is the last one's of several.
func (f *fn) bitsOf(x value.Value, n int) (words []value.Value) {
	if n == 1 {
		b := f.bits(x)
		odd := f.bin(and, f.bin(lshr, b, vint(v32, 16)), vint(v32, 1))
		r := f.add(b, f.add(odd, vint(v32, 0x7fff)))
		r = f.choose(f.fcmp(enum.FPredUNO, x, x), f.bin(or, b, vint(v32, 1<<22)), r)
		return []value.Value{f.bin(and, r, vint(v32, -1<<16))}
	}
	for i := range n {
		w := f.bits(x)
		if i < n-1 {
			if i == 0 {
				w = f.add(w, vint(v32, 1<<15))
			}
			x = f.bin(fsub, x, f.float(f.bin(and, w, vint(v32, -1<<16))))
		}
		words = append(words, w)
	}
	return words
}

// leftSquares is the function that lays out a left operand:
//
//	left(a, bytes between its rows, k, rows, squares, bytes of a square)
//
// Of up to 16 rows, a square has no others; rows up to the next multiple of 16
// are not written otherwise. Elements behind k are 0.
func (m *module) leftSquares(parts int) *ir.Func {
	key := fmt.Sprintf("memc.left%d", parts)
	if f := m.squares[key]; f != nil {
		return f
	}
	a, row, depth := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("k", i64)
	rows, out, size := ir.NewParam("rows", i64), ir.NewParam("out", bytePtr), ir.NewParam("square", i64)
	f := m.newFunc(key, types.Void, a, row, depth, rows, out, size)
	f.private()
	m.squares[key] = f.f
	group := f.mul(size, c64(int64(parts)))
	band := f.mul(f.groups(depth), group) // of 16 rows
	whole := f.bin(and, depth, c64(-deep))
	// squares fills those of 16 rows and 32 k.
	squares := func(r, k value.Value, load func(row, k value.Value) value.Value) {
		from := f.at(f.at(a, f.mul(r, row)), f.mul(k, c64(4)))
		to := f.at(f.at(out, f.mul(f.bin(lshr, r, c64(4)), band)), f.mul(f.bin(lshr, k, c64(5)), group))
		f.count(c64(0), f.smin(f.sub(rows, r), c64(16)), 1, func(i value.Value) {
			from, to := f.at(from, f.mul(i, row)), f.at(to, f.mul(i, c64(64)))
			low, high := f.bitsOf(load(from, c64(0)), parts), f.bitsOf(load(from, c64(lanes)), parts)
			for p := range parts {
				f.store(f.paired(low[p], high[p]), to, f.mul(size, c64(int64(p))))
			}
		})
	}
	f.count(c64(0), rows, 16, func(r value.Value) {
		f.count(c64(0), whole, deep, func(k value.Value) {
			squares(r, k, func(row, k value.Value) value.Value { return f.load(vf32, row, f.mul(k, c64(4))) })
		})
		f.when(f.icmp(predicate[ints.Lt], whole, depth), func() {
			squares(r, whole, func(row, k value.Value) value.Value { return f.first(row, k, f.sub(depth, whole)) })
		})
	})
	f.ret()
	return f.f
}

// paired joins the upper halves of words.
func (f *fn) paired(low, high value.Value) value.Value {
	return f.intrinsic("llvm.x86.avx512.pternlog.d.512", v32, f.bin(lshr, low, vint(v32, 16)), high, vint(v32, -1<<16), c32(0xf8))
}

// first gives elements k ... k+15 of a row of f32, 0 from depth on.
func (f *fn) first(row, k, depth value.Value) value.Value {
	left := f.smin(f.smax(f.sub(depth, k), c64(0)), c64(lanes))
	mask := f.icmp(predicate[ints.Lt], ramp(v32, 1), f.splat(f.convert(trunc, left, i32)))
	return f.intrinsic("llvm.masked.load.v16f32.p0v16f32", vf32, f.typed(f.at(row, f.mul(k, c64(4))), vf32), c32(4), mask, vnum(0))
}

// groups is how many squares cover k.
func (f *fn) groups(k value.Value) value.Value {
	return f.bin(lshr, f.add(k, c64(deep-1)), c64(5))
}

// rightSquares is the function that lays out up to 32 columns of a right operand:
//
//	right(b, bytes between rows of k, bytes to the second 16 columns,
//	      k, whether there are 16 more columns, squares, bytes to what is fetched)
//
// beside says that the second 16 columns follow the first.
func (m *module) rightSquares(e kernel.Elem, parts int, beside bool) *ir.Func {
	key := fmt.Sprintf("memc.right%d.%s.%t", parts, e, beside)
	if f := m.squares[key]; f != nil {
		return f
	}
	b, step, second := ir.NewParam("b", bytePtr), ir.NewParam("b.step", i64), ir.NewParam("b.second", i64)
	depth, both, out, fetch := ir.NewParam("k", i64), ir.NewParam("both", bit), ir.NewParam("out", bytePtr), ir.NewParam("fetch", i64)
	f := m.newFunc(key, types.Void, b, step, second, depth, both, out, fetch)
	f.private()
	m.squares[key] = f.f
	l := laying{f, e, parts, 2 * square, step, fetch}
	all := func(columns int64) func() {
		return func() {
			group := c64(int64(parts) * 2 * square)
			lay := func(k value.Value) func(i value.Value, there int) {
				to := f.at(out, f.mul(f.bin(lshr, k, c64(5)), group))
				return func(i value.Value, there int) {
					row, to := f.at(b, f.mul(f.add(k, i), step)), f.at(to, f.mul(i, c64(64)))
					if columns == 2 && beside && e == kernel.BF16 {
						l.two(row, to, there)
						return
					}
					l.one(row, to, there)
					if columns == 2 {
						l.one(f.at(row, second), f.at(to, c64(square)), there)
					}
				}
			}
			whole := f.bin(and, depth, c64(-deep))
			f.count(c64(0), whole, deep, func(k value.Value) {
				lay := lay(k)
				f.count(c64(0), c64(lanes), 1, func(i value.Value) { lay(i, 2) })
			})
			f.when(f.icmp(predicate[ints.Lt], whole, depth), func() { f.lastRows(f.sub(depth, whole), lay(whole)) })
		}
	}
	f.when(both, all(2))
	f.when(f.bin(xor, both, constant.True), all(1))
	f.ret()
	return f.f
}

// lastRows lays out the last n < 32 rows of k; what is not there is 0.
func (f *fn) lastRows(n value.Value, lay func(i value.Value, there int)) {
	two, one := f.smax(f.sub(n, c64(lanes)), c64(0)), f.smin(n, c64(lanes))
	for there, span := range [][2]value.Value{{one, c64(lanes)}, {two, one}, {c64(0), two}} {
		f.count(span[0], span[1], 1, func(i value.Value) { lay(i, there) })
	}
}

// laying lays out pairs of rows of a right operand, k and k+16: a row of a square
// for each part, and each 16 columns.
type laying struct {
	*fn
	elem  kernel.Elem
	parts int
	apart int64       // bytes between the squares of an element's parts
	step  value.Value // bytes between rows of k
	fetch value.Value // bytes from what is read to what is fetched; nil: nothing
}

// ahead fetches what lies so far ahead.
func (l laying) ahead(at value.Value) {
	if l.fetch != nil {
		l.prefetch(at, l.fetch)
	}
}

// one lays out 16 columns; there says how many of the two rows are there.
func (l laying) one(row, to value.Value, there int) {
	zero := &literal{v32, "zeroinitializer"}
	var words [2][]value.Value
	for i := range words {
		if i >= there {
			words[i] = slices.Repeat([]value.Value{zero}, l.parts)
			continue
		}
		at := l.at(row, l.mul(l.step, c64(int64(i)*lanes)))
		l.ahead(at)
		x := l.load(vectorOf(l.elem), at, c64(0))
		if l.elem == kernel.BF16 {
			words[i] = []value.Value{l.bin(shl, l.convert(zext, x, i32), vint(v32, 16))}
		} else {
			words[i] = l.bitsOf(l.widened(x), l.parts)
		}
	}
	for p := range l.parts {
		l.store(l.paired(words[0][p], words[1][p]), to, c64(int64(p)*l.apart))
	}
}

// two lays out 32 adjacent columns of bf16, the second 16 in the square behind
// the first's.
func (l laying) two(row, to value.Value, there int) {
	rows := [2]value.Value{&literal{v512, "zeroinitializer"}, &literal{v512, "zeroinitializer"}}
	for i := range there {
		at := l.at(row, l.mul(l.step, c64(int64(i)*lanes)))
		l.ahead(at)
		rows[i] = l.load(v512, at, c64(0))
	}
	for half := range 2 {
		woven := l.shuffle(rows[0], rows[1], func(i int) int { return i%2*2*lanes + half*lanes + i/2 })
		l.store(woven, to, c64(int64(half)*square))
	}
}

// squareTile names the function that computes rows x cols squares of a result.
type squareTile struct {
	pairing
	rows, cols int
}

// squareDot is the function that computes up to 2 x 2 squares of a result:
//
//	dot(left, bytes between bands of 16 rows, right, groups of k > 0,
//	    dst, bytes between its rows, add to dst)
func (m *module) squareDot(key squareTile) *ir.Func {
	if f := m.squareDots[key]; f != nil {
		return f
	}
	a, band, b := ir.NewParam("a", bytePtr), ir.NewParam("a.band", i64), ir.NewParam("b", bytePtr)
	groups, dst, row, acc := ir.NewParam("groups", i64), ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64), ir.NewParam("acc", bit)
	f := m.newFunc(fmt.Sprintf("memc.squares%dx%d.%dx%d", key.rows, key.cols, key.left, key.right), types.Void, a, band, b, groups, dst, row, acc)
	f.private()
	m.squareDots[key] = f.f
	reg := func(i int) value.Value { return constant.NewInt(i8, int64(i)) }
	const lefts, rights = 4, 6 // 0 to 3 are the sums
	each := func(do func(c value.Value, at value.Value)) {
		for r := range key.rows {
			line := f.at(dst, f.mul(row, c64(int64(r)*16)))
			for c := range key.cols {
				do(reg(2*r+c), f.at(line, c64(int64(c)*64)))
			}
		}
	}
	f.when(acc, func() {
		each(func(c, at value.Value) { f.intrinsic("llvm.x86.tileloadd64", types.Void, c, at, row) })
	})
	f.when(f.bin(xor, acc, constant.True), func() {
		each(func(c, _ value.Value) { f.intrinsic("llvm.x86.tilezero", types.Void, c) })
	})
	steps := []value.Value{c64(int64(key.left) * square), c64(int64(key.right) * 2 * square)}
	f.advance(groups, []value.Value{a, b}, steps, nil, func(p, _ []value.Value) []value.Value {
		have := [2]int{-1, -1}
		for _, ij := range key.pairs() {
			if ij[0] != have[0] {
				for r := range key.rows {
					at := f.at(f.at(p[0], f.mul(band, c64(int64(r)))), c64(int64(ij[0])*square))
					f.intrinsic("llvm.x86.tileloadd64", types.Void, reg(lefts+r), at, c64(64))
				}
			}
			if ij[1] != have[1] {
				for c := range key.cols {
					f.intrinsic("llvm.x86.tileloadd64", types.Void, reg(rights+c), f.at(p[1], c64(int64(2*ij[1]+c)*square)), c64(64))
				}
			}
			have = ij
			for r := range key.rows {
				for c := range key.cols {
					f.intrinsic("llvm.x86.tdpbf16ps", types.Void, reg(2*r+c), reg(lefts+r), reg(rights+c))
				}
			}
		}
		return nil
	})
	each(func(c, at value.Value) { f.intrinsic("llvm.x86.tilestored64", types.Void, c, at, row) })
	f.ret()
	return f.f
}

// squareKey names a product by its parts, and by how its right operand lies:
// ready says in squares.
type squareKey struct {
	pairing
	elem     kernel.Elem
	perPanel int64
	ready    bool
	next     string // nextPanels or nextRows where a product of few rows fetches what the next one reads
}

// What the next product reads lies in panels, or in whole rows, behind each other.
const nextPanels, nextRows = ".panels", ".rows"

// squareProduct is the function that computes a product of a left operand in
// squares:
//
//	product(left, right, bytes between its rows of k, bytes between its panels,
//	        k, dst, bytes between its rows, rows, vectors of columns, add to dst,
//	        bytes from what is read of right to what is fetched, room)
//
// room has pairing.room bytes.
func (m *module) squareProduct(key squareKey) *ir.Func {
	if f := m.squareProducts[key]; f != nil {
		return f
	}
	a, b, bStep, bPanel := ir.NewParam("a", bytePtr), ir.NewParam("b", bytePtr), ir.NewParam("b.step", i64), ir.NewParam("b.panel", i64)
	depth, dst, dstRow := ir.NewParam("k", i64), ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64)
	rows, vecs, acc := ir.NewParam("rows", i64), ir.NewParam("vecs", i64), ir.NewParam("acc", bit)
	fetch, room := ir.NewParam("fetch", i64), ir.NewParam("room", bytePtr)
	name := fmt.Sprintf("memc.product.%dx%d.%s.%d", key.left, key.right, key.elem, key.perPanel*lanes)
	if key.ready {
		name = fmt.Sprintf("memc.product.%dx%d", key.left, key.right)
	}
	f := m.newFunc(name, types.Void, a, b, bStep, bPanel, depth, dst, dstRow, rows, vecs, acc, fetch, room)
	f.private()
	m.squareProducts[key] = f.f
	p := product{fn: f, key: productKey{elem: key.elem, perPanel: key.perPanel}, bPanel: bPanel}
	left, right := int64(key.left)*square, int64(key.right)*2*square
	all := f.groups(depth)
	band := f.mul(all, c64(left))
	f.carryOn(depth, c64(key.piece()), func(k value.Value) {
		some := f.smin(f.sub(depth, k), c64(key.piece()))
		groups, skip := f.groups(some), f.bin(lshr, k, c64(5))
		from := f.at(a, f.mul(skip, c64(left)))
		more := f.bin(or, acc, f.icmp(predicate[ints.Ne], k, c64(0)))
		p.b = f.at(b, f.mul(k, bStep))
		strip := func(v value.Value, cols int) {
			if key.ready {
				b := f.at(b, f.add(f.mul(f.bin(lshr, v, c64(1)), f.mul(all, c64(right))), f.mul(skip, c64(right))))
				f.bands(key.pairing, cols, from, band, b, groups, f.at(dst, f.mul(v, c64(64))), dstRow, rows, more, room)
				return
			}
			column := p.columnAt(v)
			second := f.sub(p.columnAt(f.add(v, c64(1))), column)
			f.call(f.rightSquares(key.elem, key.right, key.perPanel%2 == 0), f.at(p.b, column), bStep, second, some, constant.NewBool(cols == 2), room, fetch)
			f.bands(key.pairing, cols, from, band, room, groups, f.at(dst, f.mul(v, c64(64))), dstRow, rows, more, f.at(room, c64(key.panelRoom())))
		}
		pairs := f.bin(and, vecs, c64(-2))
		f.count(c64(0), pairs, 2, func(v value.Value) { strip(v, 2) })
		f.when(f.icmp(predicate[ints.Lt], pairs, vecs), func() { strip(pairs, 1) })
	})
	f.nothing(depth, acc, dst, dstRow, rows, vecs)
	f.ret()
	return f.f
}

// panelRoom is the bytes of 32 columns of a piece of k.
func (p pairing) panelRoom() int64 { return p.piece() / deep * int64(p.right) * 2 * square }

// room is the bytes that squareProduct needs: a panel, and four squares of a
// result.
func (p pairing) room() int64 { return p.panelRoom() + 4*square }

// bands computes up to 32 columns of a result, 32 rows at a time. The last rows,
// if fewer, are computed in a place of their own, as what stands behind them is
// not the result's.
func (f *fn) bands(p pairing, cols int, a, band, b, groups, dst, dstRow, rows, acc, room value.Value) {
	whole := f.bin(and, rows, c64(-32))
	f.count(c64(0), whole, 32, func(r value.Value) {
		left := f.at(a, f.mul(f.bin(lshr, r, c64(4)), band))
		f.call(f.squareDot(squareTile{p, 2, cols}), left, band, b, groups, f.at(dst, f.mul(r, dstRow)), dstRow, acc)
	})
	rest := f.sub(rows, whole)
	f.when(f.icmp(predicate[ints.Lt], c64(0), rest), func() {
		left, out := f.at(a, f.mul(f.bin(lshr, whole, c64(4)), band)), f.at(dst, f.mul(whole, dstRow))
		const line = 2 * 64
		move := func(to, toRow, from, fromRow value.Value) {
			f.count(c64(0), rest, 1, func(r value.Value) {
				for c := range int64(cols) {
					f.store(f.load(vf32, f.at(from, f.mul(r, fromRow)), c64(c*64)), f.at(to, f.mul(r, toRow)), c64(c*64))
				}
			})
		}
		f.when(acc, func() { move(room, c64(line), out, dstRow) })
		two := f.icmp(predicate[ints.Lt], c64(16), rest)
		f.when(two, func() {
			f.call(f.squareDot(squareTile{p, 2, cols}), left, band, b, groups, room, c64(line), acc)
		})
		f.when(f.bin(xor, two, constant.True), func() {
			f.call(f.squareDot(squareTile{p, 1, cols}), left, band, b, groups, room, c64(line), acc)
		})
		move(out, dstRow, room, c64(line))
	})
}

// squaresOn and squaresOff enclose code that works in tiles: the registers are
// given back at the end, so that the system need not save them. squaresOn gives
// room for their shape, which has none yet.
func (f *fn) squaresOn() (shape value.Value) {
	room := ir.NewAlloca(types.NewArray(64, i8))
	room.Align = 64
	f.emit(room)
	shape = f.convert(bitcast, room, bytePtr)
	for i, w := range []int64{1, 0, all64, all64, 0, 0, 0, 0} {
		f.store(c64(w), shape, c64(int64(i)*8))
	}
	return shape
}

// all64 says that four registers have rows of 64 bytes (SDM, LDTILECFG).
const all64 = 0x0040004000400040

// shaped gives tiles the shape in which a product of so many rows runs: the
// registers of its rows are that high, up to 16.
func (f *fn) shaped(shape, rows value.Value) {
	const seven, last = 0x01010101010101, 16 << 56
	word := f.bin(or, f.mul(f.smin(rows, c64(16)), c64(seven)), c64(last))
	f.when(f.icmp(predicate[ints.Ne], f.load(i64, shape, c64(48)), word), func() {
		f.store(word, shape, c64(48))
		f.intrinsic("llvm.x86.ldtilecfg", types.Void, shape)
	})
}

func (f *fn) squaresOff() { f.intrinsic("llvm.x86.tilerelease", types.Void) }
