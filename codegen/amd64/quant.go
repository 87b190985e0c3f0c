package amd64

import (
	"fmt"
	"math"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Where a machine has no products of bytes (fixed.go), a product with a quantised
// right operand (ir/elem says how it lies) sums the products with the codes of each
// group of k in one chain of fused multiply-adds, and adds that sum times the group's
// scale to the result's element, also fused: the same order for one row and for many.
// Few rows read codes in registers, once; for many, a piece of the columns is first
// written out as f32 in the nearest cache.

// pieceK is how many steps of k are written out at a time: so many rows of two
// vectors fill two thirds of the nearest cache.
const pieceK = 256

// quantAhead is how many groups of a panel are fetched before their use.
const quantAhead = 2

var v8 = types.NewVector(lanes, i8)

// wordBytes is what the words of 16 columns of codes take.
const wordBytes = 4 * lanes

// coded is how codes lie in memory: in vectors of words, or as f32, and how many
// steps of k a vector holds.
type coded struct {
	elem   kernel.Elem
	vector types.Type
	steps  int64
}

func codedOf(e kernel.Elem) coded {
	if e == kernel.Q4 {
		return coded{e, v32, 8}
	}
	return coded{e, v32, 4}
}

// digitBase is the power of two that a digit is added to where it is read as the
// f32 whose last bits it is, for digits 2, 3 and 4 of a word.
var digitBase = [3]float32{1 << 15, 1 << 11, 1 << 7}

// from is where to read the vector for step d, seen from the words that have it. A
// code of Q8 is wanted at its word's end, and so the word is read that ends there.
func (q coded) from(d int64) int64 {
	if q.elem == kernel.Q8 {
		return d - (q.steps - 1)
	}
	return 0
}

// quantum is step d of 16 columns of codes, as f32.
func (f *fn) quantum(q coded, v value.Value, d int64) value.Value {
	switch {
	case q.elem == kernel.F32:
		return v
	case q.elem == kernel.Q8:
		return f.convert(sitofp, f.bin(ashr, v, vint(v32, 24)), f32)
	}
	// A digit becomes an f32 without a conversion: it is or-ed to the last bits of
	// a power of two, which is then taken away.
	place := d
	switch {
	case d < 2:
		v, place = f.bin(shl, v, vint(v32, 8)), d+2
	case d > 4:
		v, place = f.bin(lshr, v, vint(v32, 12)), d-3
	}
	base := digitBase[place-2]
	x := f.bin(or, f.bin(and, v, vint(v32, 15<<(4*place))), vint(v32, int64(math.Float32bits(base))))
	return f.bin(fsub, f.float(x), vnum(base+8))
}

// quantumAt is quantum for a code that stands up bits from the lowest of its
// word.
func (f *fn) quantumAt(q coded, v, up value.Value) value.Value {
	if q.elem == kernel.Q8 {
		return f.convert(sitofp, f.bin(ashr, f.bin(shl, v, f.sub(vint(v32, 24), up)), vint(v32, 24)), f32)
	}
	digit := f.sub(f.bin(and, f.bin(lshr, v, up), vint(v32, 15)), vint(v32, 8))
	return f.convert(sitofp, digit, f32)
}

// quantKey names a function by the operand's type and the vectors in its panels.
type quantKey struct {
	Shape
	elem     kernel.Elem
	perPanel int64
	spelled  bool  // codes are read from where spell put them
	digits   int64 // of the left operand's elements, in products of whole numbers
}

// record is how groups of the left operand lie.
func (k quantKey) record() record { return record{k.elem, k.digits} }

// spread is where vector v of a panel lies in a block, seen from vector 0: its
// scales, and its codes.
func (k quantKey) spread(v int64) (scale, code int64) {
	in := v % k.perPanel
	return in * lanes * elem.ScaleBytes, in * wordBytes
}

// codesAt is the distance of a block's codes from its scales.
func (k quantKey) codesAt() int64 { return k.perPanel * lanes * elem.ScaleBytes }

// blockBytes is the distance of a panel's blocks.
func (k quantKey) blockBytes() int64 { return k.perPanel * lanes * k.elem.BlockBytes() }

// quantised computes a product with a quantised right operand.
func (b *block) quantised(t *kernel.Tile, trans bool, a left, r right, depth value.Value, d place, rows, vecs, acc value.Value) {
	if b.machine.fixes(r.elem) {
		x := b.fixedFor(t, r.elem, trans)
		key, args := quantKey{elem: r.elem, perPanel: r.perPanel, digits: x.digits}, []value.Value{x.ptr, c64(x.row), r.ptr, c64(r.panel), depth, d.ptr, c64(d.row), rows, vecs, acc, b.then(r, vecs)}
		if !b.machine.codeTiles(r.elem) || b.shape == nil {
			b.call(b.fixedProduct(key), args...)
			return
		}
		high := b.icmp(predicate[ints.Le], c64(tileRows), rows)
		b.when(high, func() {
			b.shaped(b.shape, c64(tileRows))
			b.call(b.codeProduct(key), append(args, b.near(key.codeRoom(), span{b.pos, b.pos}))...)
		})
		b.when(b.bin(xor, high, constant.True), func() { b.call(b.fixedProduct(key), args...) })
		return
	}
	piece := b.near(pieceK*wideRow, span{b.pos, b.pos})
	key := quantKey{elem: r.elem, perPanel: r.perPanel}
	b.call(b.quantProduct(key), a.ptr, c64(a.row), c64(a.step), r.ptr, c64(r.panel), depth, d.ptr, c64(d.row), rows, vecs, acc, piece)
}

// quantProduct is the function that computes such a product:
//
//	product(a, bytes between its rows, bytes between its columns,
//	        b, bytes between its panels, k,
//	        dst, bytes between its rows, rows, vectors of columns, add to dst,
//	        room for a piece of b)
func (m *module) quantProduct(key quantKey) *ir.Func {
	if f := m.quants[key]; f != nil {
		return f
	}
	param := func(name string, t types.Type) *ir.Param { return ir.NewParam(name, t) }
	a, pb, dst, room := param("a", bytePtr), param("b", bytePtr), param("dst", bytePtr), param("room", bytePtr)
	aRow, aStep, bPanel := param("a.row", i64), param("a.step", i64), param("b.panel", i64)
	depth, dstRow, rows, vecs, acc := param("k", i64), param("dst.row", i64), param("rows", i64), param("vecs", i64), param("acc", bit)
	f := m.newFunc(fmt.Sprintf("memc.product.%s.%d", key.elem, key.perPanel*lanes), types.Void,
		a, aRow, aStep, pb, bPanel, depth, dst, dstRow, rows, vecs, acc, room)
	f.private()
	m.quants[key] = f.f
	most := int64(0)
	for _, s := range m.machine.Coded {
		most = max(most, int64(s.Rows))
	}
	f.when(f.bin(xor, acc, constant.True), func() { f.clear(dst, dstRow, rows, vecs) })
	few := f.icmp(predicate[ints.Le], rows, c64(most))
	f.when(few, func() {
		f.heights(m.machine.Coded, rows, func(s Shape, row, end value.Value) {
			var v value.Value = c64(0)
			for w := s.Vecs; w > 0; w /= 2 {
				to := f.bin(and, vecs, c64(-int64(w)))
				micro := m.quantMicro(quantKey{Shape{s.Rows, w}, key.elem, key.perPanel, false, 0})
				f.count(v, to, int64(w), func(v value.Value) {
					scales, codes := f.columns(key, pb, bPanel, v)
					to := f.at(dst, f.mul(v, c64(lanes*4)))
					f.count(row, end, int64(s.Rows), func(r value.Value) {
						f.call(micro, f.at(a, f.mul(r, aRow)), aRow, aStep, scales, codes, bPanel, depth, f.at(to, f.mul(r, dstRow)), dstRow)
					})
				})
				v = to
			}
		})
	})
	f.when(f.bin(xor, few, constant.True), func() {
		spell := m.spell(key)
		pieces := func(from, to value.Value, width int) {
			f.count(from, to, int64(width), func(v value.Value) {
				f.count(c64(0), depth, pieceK, func(k value.Value) {
					n := f.smin(f.sub(depth, k), c64(pieceK))
					q, _ := f.floorDivConst(k, int64(key.elem.Group()), true, false)
					block := f.mul(q, c64(key.blockBytes()))
					first, _ := f.columns(key, pb, bPanel, v)
					f.call(spell, f.at(first, block), bPanel, n, c64(int64(width)), room)
					left := f.at(a, f.mul(k, aStep))
					f.heights(m.machine.Micro, rows, func(s Shape, row, end value.Value) {
						w := min(s.Vecs, width)
						micro := m.quantMicro(quantKey{Shape{s.Rows, w}, key.elem, key.perPanel, true, 0})
						for i := 0; i < width; i += w {
							column := f.add(v, c64(int64(i)))
							scales, _ := f.columns(key, pb, bPanel, column)
							to := f.at(dst, f.mul(column, c64(lanes*4)))
							f.count(row, end, int64(s.Rows), func(r value.Value) {
								f.call(micro, f.at(left, f.mul(r, aRow)), aRow, aStep, f.at(scales, block), f.at(room, c64(int64(i)*lanes*4)), bPanel, n, f.at(to, f.mul(r, dstRow)), dstRow)
							})
						}
					})
				})
			})
		}
		pairs := f.bin(and, vecs, c64(-2))
		pieces(c64(0), pairs, 2)
		pieces(pairs, vecs, 1)
	})
	f.ret()
	return f.f
}

// heights yields the rows that register tiles of each height cover: the tallest
// as many as they fill, then lower ones.
func (f *fn) heights(shapes []Shape, rows value.Value, yield func(s Shape, from, to value.Value)) {
	var row value.Value = c64(0)
	for _, s := range shapes {
		q, _ := f.floorDivConst(f.sub(rows, row), int64(s.Rows), true, false)
		end := f.add(row, f.mul(q, c64(int64(s.Rows))))
		f.when(f.icmp(predicate[ints.Lt], row, end), func() { yield(s, row, end) })
		row = end
	}
}

// columns is where the scales and the codes of vector v of columns begin.
func (f *fn) columns(key quantKey, b, panel, v value.Value) (scales, codes value.Value) {
	q, _ := f.floorDivConst(v, key.perPanel, true, false)
	_, in := f.floorDivConst(v, key.perPanel, true, true)
	scale, code := key.spread(1)
	if key.perPanel == 1 {
		in = c64(0)
	}
	block := f.at(b, f.mul(q, panel))
	return f.at(block, f.mul(in, c64(scale))), f.at(block, f.add(c64(key.codesAt()), f.mul(in, c64(code))))
}

// quantMicro is the function that adds the product of one register tile:
//
//	micro(a, bytes between its rows, bytes between its columns,
//	      scales and codes of b, bytes between its panels, k,
//	      dst, bytes between its rows)
//
// The sums of a group are in registers, the result's elements in memory.
func (m *module) quantMicro(key quantKey) *ir.Func {
	if f := m.quantMicros[key]; f != nil {
		return f
	}
	pa, aRow, aStep := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("a.step", i64)
	ps, pb := ir.NewParam("scales", bytePtr), ir.NewParam("codes", bytePtr)
	panel, depth := ir.NewParam("b.panel", i64), ir.NewParam("k", i64)
	dst, dstRow := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64)
	name := fmt.Sprintf("memc.dot%dx%d.%s.%d", key.Rows, key.Vecs*lanes, key.elem, key.perPanel*lanes)
	q, group := codedOf(key.elem), int64(key.elem.Group())
	word, block := key.perPanel*wordBytes, key.blockBytes() // bytes between words, and between groups
	turn := int64(8)                                        // steps of k in a turn of the loop
	if key.spelled {
		name += ".spelled"
		q = coded{kernel.F32, vf32, 1}
		word, block, turn = 2*lanes*4, group*2*lanes*4, 1
	}
	f := m.newFunc(name, types.Void, pa, aRow, aStep, ps, pb, panel, depth, dst, dstRow)
	f.private()
	m.quantMicros[key] = f.f
	rows, vecs := key.Rows, key.Vecs
	scaleAt, codeAt := make([]value.Value, vecs), make([]value.Value, vecs)
	for v := range vecs {
		scale, code := key.spread(int64(v))
		span := f.mul(panel, c64(int64(v)/key.perPanel))
		scaleAt[v], codeAt[v] = f.add(span, c64(scale)), f.add(span, c64(code))
		if key.spelled {
			codeAt[v] = c64(int64(v) * lanes * 4)
		}
	}
	starts := make([]value.Value, rows)
	for r := range starts {
		starts[r] = f.mul(aRow, c64(int64(r)))
	}
	groups, _ := f.floorDivConst(f.add(depth, c64(group-1)), group, true, false)
	ahead := f.ahead(key, panel, groups, quantAhead)
	f.loop(c64(0), groups, 1, []value.Value{ps, pb, pa, depth}, func(g value.Value, c []value.Value) []value.Value {
		s, b, a, left := c[0], c[1], c[2], c[3]
		n := f.smin(left, c64(group))
		load := func(p value.Value) []value.Value {
			codes := make([]value.Value, vecs)
			for v := range codes {
				codes[v] = f.load(q.vector, p, codeAt[v])
			}
			return codes
		}
		multiply := func(p value.Value, sums []value.Value, quantum func(v int) value.Value) []value.Value {
			next := make([]value.Value, rows*vecs)
			w := make([]value.Value, vecs)
			for v := range w {
				w[v] = quantum(v)
			}
			for r := range rows {
				x := f.splat(f.load(f32, p, starts[r]))
				for v := range vecs {
					next[r*vecs+v] = f.fma(x, w[v], sums[r*vecs+v])
				}
			}
			return next
		}
		sums := make([]value.Value, rows*vecs)
		for i := range sums {
			sums[i] = vnum(0)
		}
		// A turn takes one word or as many codes, and fetches as many bytes.
		fetch := f.sub(ahead(g), c64(key.codesAt()))
		if !key.spelled {
			for v := int64(0); v < int64(vecs); v += key.perPanel {
				f.prefetch(s, f.add(scaleAt[v], f.add(ahead(g), c64(key.blockBytes()-64))))
			}
		}
		turns, _ := f.floorDivConst(n, turn, true, false)
		in := f.loop(c64(0), turns, 1, append([]value.Value{b, a}, sums...), func(_ value.Value, c []value.Value) []value.Value {
			b, a, sums := c[0], c[1], c[2:]
			for v := int64(0); v < int64(vecs) && !key.spelled; v += key.perPanel {
				for line := int64(0); line < turn/q.steps*word; line += 64 {
					f.prefetch(f.at(b, fetch), f.add(codeAt[v], c64(line)))
				}
			}
			var codes []value.Value
			for d := range turn {
				digit := d % q.steps
				if digit == 0 || q.from(digit) != q.from(0) {
					codes = load(f.at(b, c64(d/q.steps*word+q.from(digit))))
				}
				sums = multiply(a, sums, func(v int) value.Value { return f.quantum(q, codes[v], digit) })
				a = f.at(a, aStep)
			}
			return append([]value.Value{f.at(b, c64(turn/q.steps*word)), a}, sums...)
		})
		done := f.mul(turns, c64(turn))
		sums = in[2:]
		if turn > 1 {
			sums = f.loop(done, n, 1, append([]value.Value{in[1]}, sums...), func(k value.Value, c []value.Value) []value.Value {
				at := f.sub(k, done)
				w, _ := f.floorDivConst(at, q.steps, true, false)
				codes := load(f.at(in[0], f.mul(w, c64(word))))
				up := f.splat(f.convert(trunc, f.mul(f.bin(and, at, c64(q.steps-1)), c64(32/q.steps)), i32))
				next := multiply(c[0], c[1:], func(v int) value.Value { return f.quantumAt(q, codes[v], up) })
				return append([]value.Value{f.at(c[0], aStep)}, next...)
			})[1:]
		}
		for v := range vecs {
			scale := f.widened(f.load(v16, s, scaleAt[v]))
			for r := range rows {
				row, off := f.at(dst, f.mul(dstRow, c64(int64(r)))), c64(int64(v)*lanes*4)
				f.store(f.fma(sums[r*vecs+v], scale, f.load(vf32, row, off)), row, off)
			}
		}
		return []value.Value{f.at(s, c64(key.blockBytes())), f.at(b, c64(block)), f.at(a, f.mul(aStep, c64(group))), f.sub(left, n)}
	})
	f.ret()
	return f.f
}

// ahead gives the distance to what a register tile fetches while it is at group g:
// so many groups on, and behind its panels' ends in those of the next tile.
func (f *fn) ahead(key quantKey, panel, groups value.Value, by int64) func(g value.Value) value.Value {
	next := c64(by * key.blockBytes())
	beyond := f.add(next, f.mul(panel, c64((int64(key.Vecs)-1)/key.perPanel)))
	last := f.sub(groups, c64(by))
	return func(g value.Value) value.Value { return f.choose(f.icmp(predicate[ints.Lt], g, last), next, beyond) }
}

// spell is the function that writes n steps of k of one or two vectors of columns'
// codes out as f32, in rows of two vectors:
//
//	spell(b, bytes between its panels, n, vectors, to)
func (m *module) spell(key quantKey) *ir.Func {
	if f := m.spells[key]; f != nil {
		return f
	}
	pb, panel, n, width, to := ir.NewParam("b", bytePtr), ir.NewParam("b.panel", i64), ir.NewParam("n", i64), ir.NewParam("vecs", i64), ir.NewParam("to", bytePtr)
	f := m.newFunc(fmt.Sprintf("memc.spell.%s.%d", key.elem, key.perPanel*lanes), types.Void, pb, panel, n, width, to)
	f.private()
	m.spells[key] = f.f
	q, group := codedOf(key.elem), int64(key.elem.Group())
	const row = 2 * lanes * 4
	for v := range int64(2) {
		f.when(f.icmp(predicate[ints.Lt], c64(v), width), func() {
			_, codeAt := key.spread(v)
			from := f.at(pb, f.mul(panel, c64(v/key.perPanel)))
			f.count(c64(0), n, group, func(k value.Value) {
				g, _ := f.floorDivConst(k, group, true, false)
				block := f.at(from, f.mul(g, c64(key.blockBytes())))
				out := f.at(to, f.add(f.mul(k, c64(row)), c64(v*lanes*4)))
				// Steps of a word that no row has are written too: there is room.
				f.count(c64(0), f.smin(f.sub(n, k), c64(group)), q.steps, func(i value.Value) {
					w, _ := f.floorDivConst(i, q.steps, true, false)
					word := f.add(f.mul(w, c64(key.perPanel*wordBytes)), c64(key.codesAt()+codeAt))
					for d := range q.steps {
						codes := f.load(q.vector, block, f.add(word, c64(q.from(d))))
						f.store(f.quantum(q, codes, d), out, f.mul(f.add(i, c64(d)), c64(row)))
					}
				})
			})
		})
	}
	f.ret()
	return f.f
}

// codes is where an element of a quantised buffer lies, in bytes and bits: its
// code, or the word whose bits are its code from shift on.
type codes struct{ code, scale, shift *ints.Expr }

func (b *block) codes(buf *kernel.Buf, idx []*ints.Expr) (c codes, ok bool) {
	if len(idx) != len(buf.Dims) || b.bufs[buf] == nil {
		b.fail("%d indices for %s, of %d dimensions", len(idx), buf.Name, len(buf.Dims))
		return c, false
	}
	c.code, c.scale, c.shift = buf.Codes(idx)
	return c, true
}

// quantisedView is the end of panelView for a buffer of codes: k from a group's
// start on, in panels that products know.
func (b *block) quantisedView(l *kernel.Load, idx []*ints.Expr, ck int64, byRow bool) bool {
	nd := len(l.Buf.Dims)
	p := int64(l.Buf.Panel)
	if b.multiple(idx[nd-1])%int64(l.Buf.Elem.Group()) != 0 || ck != 1 || p != lanes && p != 2*lanes {
		return false
	}
	c, ok := b.codes(l.Buf, idx)
	if !ok {
		return false
	}
	ks := int64(l.Buf.Dims[nd-1])
	b.places[l.Dst] = place{ptr: b.at(b.bufs[l.Buf], b.int(c.scale)), elem: l.Buf.Elem,
		panel: &panel{size: p, stride: p * l.Buf.Elem.RowBytes(ks), byRow: byRow}, next: b.toNext(c.scale, 1)}
	return true
}

// loadQuantised copies elements of a quantised buffer to a tile.
func (b *block) loadQuantised(s *kernel.Load) {
	t, buf := s.Dst, s.Buf
	c, ok := b.codes(buf, s.Idx)
	if !ok {
		return
	}
	d := b.place(t)
	q := codedOf(buf.Elem)
	nd := len(buf.Dims)
	// Sixteen words are adjacent along n in a panel, and codes of Q8 along k in a row.
	panels := buf.Panel > 0 && s.Gather == nil && b.adjacent(buf, s.Idx, kernel.Col)
	if panels && buf.Elem == kernel.Q8 { // where the word begins, of whose bytes a code is one
		in := ints.Rem(s.Idx[nd-1], ints.C(4))
		c.code, c.shift = ints.Minus(c.code, in), ints.Times(in, ints.C(8))
	}
	along := buf.Panel == 0 && s.Gather == nil && buf.Elem == kernel.Q8 && nd > 0 && ints.Equal(s.Idx[nd-1], ints.V(kernel.Col)) && t.Cols > 1
	if along && t.Cols%buf.Elem.Group() == 0 && t.ValidCols == nil {
		b.loadGroups(s, d, c)
		return
	}
	n := b.cols(t)
	b.eachRow(t, func(r value.Value) {
		b.gathered(s, func() {
			row := b.rowAt(d, r)
			if !panels && !along {
				b.count(c64(0), n, 1, func(col value.Value) {
					b.bind(kernel.Col, col, ints.Range{Lo: 0, Hi: int64(t.Cols) - 1}, 1, func() {
						b.store(b.oneCode(buf, c), row, b.mul(col, c64(d.col)))
					})
				})
				return
			}
			b.eachStrip(n, func(col value.Value) {
				b.bind(kernel.Col, col, ints.Range{Lo: 0, Hi: int64(t.Cols)}, lanes, func() {
					var x, scale value.Value
					if panels {
						up := b.splat(b.convert(trunc, b.int(c.shift), i32))
						x = b.quantumAt(q, b.load(q.vector, b.bufs[buf], b.int(c.code)), up)
						scale = b.widened(b.load(v16, b.bufs[buf], b.int(c.scale)))
					} else {
						x = b.convert(sitofp, b.convert(sext, b.load(v8, b.bufs[buf], b.int(c.code)), i32), f32)
						scale = b.splat(b.widened(b.load(i16, b.bufs[buf], b.int(c.scale))))
					}
					b.store(b.bin(fmul, x, scale), row, b.mul(col, c64(d.col)))
				})
			})
		})
	})
}

// loadGroups is loadQuantised for rows of Q8 in whole groups. What the loop's next turn
// loads is fetched.
func (b *block) loadGroups(s *kernel.Load, d place, c codes) {
	t, group := s.Dst, int64(s.Buf.Elem.Group())
	next := b.toNext(c.scale.Subst(map[string]*ints.Expr{kernel.Row: ints.C(0), kernel.Col: ints.C(0)}), 1) // of any row
	b.eachRow(t, func(r value.Value) {
		row := b.rowAt(d, r)
		b.count(c64(0), c64(int64(t.Cols)), group, func(col value.Value) {
			b.bind(kernel.Col, col, ints.Range{Lo: 0, Hi: int64(t.Cols) - group}, group, func() {
				at, to := b.at(b.bufs[s.Buf], b.int(c.code)), b.at(row, b.mul(col, c64(d.col)))
				if next != nil {
					b.prefetchFar(at, next)
				}
				scale := b.splat(b.widened(b.load(i16, b.bufs[s.Buf], b.int(c.scale))))
				for i := int64(0); i < group; i += lanes {
					x := b.convert(sitofp, b.convert(sext, b.load(v8, at, c64(i)), i32), f32)
					b.store(b.bin(fmul, x, scale), to, c64(i*d.col))
				}
			})
		})
	})
}

// oneCode reads one element of a quantised buffer.
func (b *block) oneCode(buf *kernel.Buf, c codes) value.Value {
	scale := b.widened(b.load(i16, b.bufs[buf], b.int(c.scale)))
	var code value.Value
	if buf.Elem == kernel.Q8 {
		code = b.convert(sext, b.load(i8, b.bufs[buf], b.int(c.code)), i32)
	} else {
		up := b.convert(trunc, b.int(c.shift), i32)
		code = b.sub(b.bin(and, b.bin(lshr, b.load(i32, b.bufs[buf], b.int(c.code)), up), c32(15)), c32(8))
	}
	return b.bin(fmul, b.convert(sitofp, code, f32), scale)
}

// storeQuantised rounds a tile's rows, which are whole rows of a buffer of Q8,
// group by group: elem.Type's Scale and Code.
func (b *block) storeQuantised(s *kernel.Store) {
	t, buf := s.Src, s.Buf
	c, ok := b.codes(buf, s.Idx)
	if !ok || buf.Elem != kernel.Q8 {
		b.fail("store to %s of %s", buf.Name, buf.Elem)
		return
	}
	p := b.place(t)
	group, step := int64(buf.Elem.Group()), int64(max(buf.Panel, 1))
	line := b.near(lanes, span{b.pos, b.pos})
	b.eachRow(t, func(r value.Value) {
		row := b.rowAt(p, r)
		one := func(k value.Value, within ints.Range, cols int64) {
			b.bind(kernel.Col, k, within, group, func() {
				strips := make([]value.Value, 0, group/lanes)
				var most value.Value = vint(v32, 0)
				for i := int64(0); i < cols; i += lanes {
					var x value.Value
					if t.Cols == 1 {
						x = b.splat(b.element(p, r, c64(0)))
					} else {
						x = b.vector(p, row, b.add(k, c64(i)))
					}
					if left := cols - i; left < lanes { // what lies behind the row is no number
						x = b.choose(each(v1, func(l int) string { return map[bool]string{true: "true", false: "false"}[int64(l) < left] }), x, vnum(0))
					}
					strips = append(strips, x)
					// The bits of magnitudes are ordered as they are, with NaN on top.
					size := b.bin(and, b.bits(x), vint(v32, 0x7fffffff))
					most = b.smax(most, size)
				}
				for d := 1; d < lanes; d *= 2 {
					most = b.smax(most, b.shuffle(most, most, func(l int) int { return l ^ d }))
				}
				largest := b.float(most)
				finite := b.fcmp(enum.FPredOLE, largest, vnum(math.MaxFloat32))
				up := b.bin(and, b.add(b.bits(b.bin(fdiv, largest, vnum(buf.Elem.Most()))), vint(v32, 0xffff)), vint(v32, -0x10000))
				scale := b.choose(finite, up, vint(v32, 0x7fc00000))
				b.store(b.convert(trunc, b.bin(lshr, b.lane(scale, 0), c32(16)), i16), b.bufs[buf], b.int(c.scale))
				good := b.fcmp(enum.FPredOGT, b.float(scale), vnum(0))
				to := b.at(b.bufs[buf], b.int(c.code))
				for i, x := range strips {
					// Adding and taking 1.5*2^23 rounds to a whole number, ties to even.
					whole := b.bin(fsub, b.bin(fadd, b.bin(fdiv, x, b.float(scale)), vnum(12582912)), vnum(12582912))
					code := b.convert(trunc, b.convert(fptosi, b.choose(good, whole, vnum(0)), i32), i8)
					left := min(cols-int64(i)*lanes, lanes)
					if step == 1 && left == lanes {
						b.store(code, to, c64(int64(i)*lanes))
						continue
					}
					b.store(code, line, c64(0))
					b.count(c64(0), c64(left), 1, func(l value.Value) {
						k := b.add(l, c64(int64(i)*lanes))
						word, in := b.bin(and, k, c64(-4)), b.bin(and, k, c64(3))
						b.store(b.load(i8, line, l), to, b.add(b.mul(word, c64(step)), in))
					})
				}
			})
		}
		whole, all := int64(t.Cols)/group*group, int64(t.Cols)
		b.count(c64(0), c64(whole), group, func(k value.Value) { one(k, ints.Range{Lo: 0, Hi: max(0, whole-group)}, group) })
		if whole < all {
			one(c64(whole), ints.Range{Lo: whole, Hi: whole}, all-whole)
		}
	})
}
