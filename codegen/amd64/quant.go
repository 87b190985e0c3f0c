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

// A product with a quantised right operand (ir/elem says how it lies) computes
// each element of it, code times scale, which f32 holds exactly, and goes on as
// with f32: one chain of fused multiply-adds over k. Few rows do so in
// registers, where the operand is read once; for many, a piece of its columns
// is first written out as f32 in the nearest cache.

// quantAhead is how many bytes of a panel are fetched before their use.
const quantAhead = 2048

var (
	v8  = types.NewVector(lanes, i8)
	vi4 = [2]types.Type{v8, v32} // 16 columns of Q8 and Q4 in memory: codes, words
)

// coded is how codes lie in memory: the bytes of 16 columns, and how many steps
// of k they hold.
type coded struct {
	elem   kernel.Elem
	vector types.Type
	bytes  int64
	steps  int64
}

func codedOf(e kernel.Elem) coded {
	if e == kernel.Q4 {
		return coded{e, vi4[1], 4 * lanes, 8}
	}
	return coded{e, vi4[0], lanes, 1}
}

// scales are what 16 columns' codes are multiplied by, and for Q4 what is then
// taken away from digits that are read in each of three places.
type scales struct {
	by   value.Value
	less [3]value.Value
}

// digitBase is the power of two that a digit is added to where it is read as the
// f32 whose last bits it is, for digits 2, 3 and 4 of a word. Times a scale, a
// bf16, and less 8 more, f32 still holds it.
var digitBase = [3]float32{1 << 15, 1 << 11, 1 << 7}

// scalesAt loads the scales of 16 columns.
func (f *fn) scalesAt(q coded, p, off value.Value) scales {
	s := scales{by: f.widened(f.load(v16, p, off))}
	if q.elem == kernel.Q4 {
		for i, base := range digitBase {
			s.less[i] = f.bin(fmul, s.by, vnum(-base-8))
		}
	}
	return s
}

// quantum is what step d of 16 columns of codes stands for, exactly. A digit of
// Q4 becomes an f32 without a conversion: it is or-ed to the last bits of a power
// of two, of which a multiply-add rids it again.
func (f *fn) quantum(q coded, v value.Value, d int64, s scales) value.Value {
	if q.elem == kernel.Q8 {
		return f.bin(fmul, f.convert(sitofp, f.convert(sext, v, i32), f32), s.by)
	}
	place := d
	switch {
	case d < 2:
		v, place = f.bin(shl, v, vint(v32, 8)), d+2
	case d > 4:
		v, place = f.bin(lshr, v, vint(v32, 12)), d-3
	}
	base := int64(math.Float32bits(digitBase[place-2]))
	x := f.bin(or, f.bin(and, v, vint(v32, 15<<(4*place))), vint(v32, base))
	return f.fma(f.float(x), s.by, s.less[place-2])
}

// quantumAt is quantum for a digit that stands up bits from the lowest of its
// word.
func (f *fn) quantumAt(q coded, v, up value.Value, s scales) value.Value {
	if q.elem == kernel.Q8 {
		return f.quantum(q, v, 0, s)
	}
	digit := f.sub(f.bin(and, f.bin(lshr, v, up), vint(v32, 15)), vint(v32, 8))
	return f.bin(fmul, f.convert(sitofp, digit, f32), s.by)
}

// quantKey names a function by the operand's type and the vectors in its panels.
type quantKey struct {
	Shape
	elem     kernel.Elem
	perPanel int64
}

// spread is where vector v of a panel lies in a block, seen from vector 0: its
// scales, and its codes.
func (k quantKey) spread(v int64) (scale, code int64) {
	in := v % k.perPanel
	return in * lanes * elem.ScaleBytes, in * codedOf(k.elem).bytes
}

// codesAt is the distance of a block's codes from its scales.
func (k quantKey) codesAt() int64 { return k.perPanel * lanes * elem.ScaleBytes }

// blockBytes is the distance of a panel's blocks.
func (k quantKey) blockBytes() int64 { return k.perPanel * lanes * k.elem.BlockBytes() }

// quantised computes a product with a quantised right operand.
func (b *block) quantised(a left, r right, depth value.Value, d place, rows, vecs value.Value, acc bool) {
	piece := b.near(blockWide*2*lanes*4, span{b.pos, b.pos})
	key := quantKey{elem: r.elem, perPanel: r.perPanel}
	b.call(b.quantProduct(key), a.ptr, c64(a.row), c64(a.step), r.ptr, c64(r.panel), depth, d.ptr, c64(d.row), rows, vecs, constant.NewBool(acc), piece)
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
	few := f.icmp(predicate[ints.Le], rows, c64(most))
	some := f.icmp(predicate[ints.Lt], c64(0), depth)
	f.when(f.bin(and, few, some), func() {
		var row value.Value = c64(0)
		for _, s := range m.machine.Coded {
			q, _ := f.floorDivConst(f.sub(rows, row), int64(s.Rows), true, false)
			end := f.add(row, f.mul(q, c64(int64(s.Rows))))
			f.when(f.icmp(predicate[ints.Lt], row, end), func() {
				var v value.Value = c64(0)
				for w := s.Vecs; w > 0; w /= 2 {
					to := f.bin(and, vecs, c64(-int64(w)))
					micro := m.quantMicro(quantKey{Shape{s.Rows, w}, key.elem, key.perPanel})
					f.count(v, to, int64(w), func(v value.Value) {
						scales, codes := f.columns(key, pb, bPanel, v)
						to := f.at(dst, f.mul(v, c64(lanes*4)))
						f.count(row, end, int64(s.Rows), func(r value.Value) {
							f.call(micro, f.at(a, f.mul(r, aRow)), aRow, aStep, scales, codes, bPanel, depth, f.at(to, f.mul(r, dstRow)), dstRow, acc)
						})
					})
					v = to
				}
			})
			row = end
		}
	})
	f.when(f.bin(and, f.bin(xor, few, constant.True), some), func() {
		plain, spell := m.product(productKey{kernel.F32, 2}), m.spell(key)
		f.count(c64(0), vecs, 2, func(v value.Value) {
			from, _ := f.columns(key, pb, bPanel, v)
			width := f.smin(f.sub(vecs, v), c64(2))
			to := f.at(dst, f.mul(v, c64(lanes*4)))
			f.count(c64(0), depth, blockWide, func(k value.Value) {
				n := f.smin(f.sub(depth, k), c64(blockWide))
				block, _ := f.floorDivConst(k, int64(key.elem.Group()), true, false)
				f.call(spell, f.at(from, f.mul(block, c64(key.blockBytes()))), bPanel, n, width, room)
				more := f.bin(or, acc, f.icmp(predicate[ints.Ne], k, c64(0)))
				f.call(plain, f.at(a, f.mul(k, aStep)), aRow, aStep, room, c64(2*lanes*4), c64(0), n, to, dstRow, rows, width, more, constant.NewNull(bytePtr), room)
			})
		})
	})
	// A product over nothing is 0.
	f.when(f.bin(and, f.bin(xor, some, constant.True), f.bin(xor, acc, constant.True)), func() {
		f.count(c64(0), rows, 1, func(r value.Value) {
			row := f.at(dst, f.mul(r, dstRow))
			f.count(c64(0), vecs, 1, func(v value.Value) { f.store(vnum(0), row, f.mul(v, c64(lanes*4))) })
		})
	})
	f.ret()
	return f.f
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

// quantMicro is the function that computes one register tile:
//
//	micro(a, bytes between its rows, bytes between its columns,
//	      scales and codes of b, bytes between its panels, k > 0,
//	      dst, bytes between its rows, add to dst)
func (m *module) quantMicro(key quantKey) *ir.Func {
	if f := m.quantMicros[key]; f != nil {
		return f
	}
	pa, aRow, aStep := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("a.step", i64)
	ps, pb := ir.NewParam("scales", bytePtr), ir.NewParam("codes", bytePtr)
	panel, depth := ir.NewParam("b.panel", i64), ir.NewParam("k", i64)
	dst, dstRow, acc := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64), ir.NewParam("acc", bit)
	f := m.newFunc(fmt.Sprintf("memc.dot%dx%d.%s.%d", key.Rows, key.Vecs*lanes, key.elem, key.perPanel*lanes), types.Void,
		pa, aRow, aStep, ps, pb, panel, depth, dst, dstRow, acc)
	f.private()
	m.quantMicros[key] = f.f
	rows, vecs := key.Rows, key.Vecs
	begin := f.begin(dst, dstRow, acc, rows, vecs)
	spans := make([]value.Value, vecs)
	for v := range spans {
		spans[v] = f.mul(panel, c64(int64(v)/key.perPanel))
	}
	q, group := codedOf(key.elem), int64(key.elem.Group())
	starts := make([]value.Value, rows)
	for r := range starts {
		starts[r] = f.mul(aRow, c64(int64(r)))
	}
	groups, _ := f.floorDivConst(f.add(depth, c64(group-1)), group, true, false)
	out := f.loop(c64(0), groups, 1, append([]value.Value{ps, pb, pa, depth}, begin...), func(_ value.Value, c []value.Value) []value.Value {
		s, b, a, left := c[0], c[1], c[2], c[3]
		n := f.smin(left, c64(group))
		by := make([]scales, vecs)
		for v := range by {
			scale, _ := key.spread(int64(v))
			by[v] = f.scalesAt(q, s, f.add(spans[v], c64(scale)))
		}
		load := func(p value.Value) []value.Value {
			codes := make([]value.Value, vecs)
			for v := range codes {
				_, code := key.spread(int64(v))
				codes[v] = f.load(q.vector, p, f.add(spans[v], c64(code)))
			}
			return codes
		}
		multiply := func(p value.Value, acc []value.Value, quantum func(v int) value.Value) []value.Value {
			next := make([]value.Value, rows*vecs)
			xs := make([]value.Value, rows)
			for r := range xs {
				xs[r] = f.splat(f.load(f32, p, starts[r]))
			}
			for v := range vecs {
				w := quantum(v)
				for r := range rows {
					next[r*vecs+v] = f.fma(xs[r], w, acc[r*vecs+v])
				}
			}
			return next
		}
		// A turn takes several steps, of one word or of as many codes, and fetches
		// as many bytes as it reads.
		const turn = 8
		turns, _ := f.floorDivConst(n, turn, true, false)
		word := key.perPanel * q.bytes
		in := f.loop(c64(0), turns, 1, append([]value.Value{b, a}, c[4:]...), func(_ value.Value, c []value.Value) []value.Value {
			b, a, sums := c[0], c[1], c[2:]
			for v := int64(0); v < int64(vecs); v += key.perPanel {
				for line := int64(0); line < turn/q.steps*word; line += 64 {
					f.prefetch(b, f.add(spans[v], c64(quantAhead+line)))
				}
			}
			var codes []value.Value
			for d := range int64(turn) {
				if d%q.steps == 0 {
					codes = load(f.at(b, c64(d/q.steps*word)))
				}
				sums = multiply(a, sums, func(v int) value.Value { return f.quantum(q, codes[v], d%q.steps, by[v]) })
				a = f.at(a, aStep)
			}
			return append([]value.Value{f.at(b, c64(turn/q.steps*word)), a}, sums...)
		})
		sums := in[2:]
		done := f.mul(turns, c64(turn))
		sums = f.loop(done, n, 1, append([]value.Value{in[1]}, sums...), func(k value.Value, c []value.Value) []value.Value {
			at := f.sub(k, done)
			w, _ := f.floorDivConst(at, q.steps, true, false)
			codes := load(f.at(in[0], f.mul(w, c64(word))))
			up := f.splat(f.convert(trunc, f.mul(at, c64(4)), i32))
			next := multiply(c[0], c[1:], func(v int) value.Value { return f.quantumAt(q, codes[v], up, by[v]) })
			return append([]value.Value{f.at(c[0], aStep)}, next...)
		})[1:]
		return append([]value.Value{f.at(s, c64(key.blockBytes())), f.at(b, c64(key.blockBytes())), f.at(a, f.mul(aStep, c64(group))), f.sub(left, n)}, sums...)
	})[4:]
	for r := range rows {
		row := f.at(dst, f.mul(dstRow, c64(int64(r))))
		for v := range vecs {
			f.store(out[r*vecs+v], row, c64(int64(v)*lanes*4))
		}
	}
	f.ret()
	return f.f
}

// begin gives a register tile's accumulators: 0, or the result's elements.
func (f *fn) begin(dst, dstRow, acc value.Value, rows, vecs int) []value.Value {
	zero := &literal{vf32, "zeroinitializer"}
	pre, load, start := f.cur, f.f.NewBlock(""), f.f.NewBlock("")
	pre.Term = ir.NewCondBr(acc, load, start)
	f.cur = load
	begin := make([]value.Value, rows*vecs)
	for r := range rows {
		row := f.at(dst, f.mul(dstRow, c64(int64(r))))
		for v := range vecs {
			begin[r*vecs+v] = ir.NewPhi(ir.NewIncoming(zero, pre), ir.NewIncoming(f.load(vf32, row, c64(int64(v)*lanes*4)), load))
		}
	}
	load.Term = ir.NewBr(start)
	f.cur = start
	for _, p := range begin {
		f.emit(p.(*ir.InstPhi))
	}
	return begin
}

// spell is the function that writes n steps of k of one or two vectors of columns
// out as f32, in rows of two vectors:
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
			scaleAt, codeAt := key.spread(v)
			from := f.at(pb, f.mul(panel, c64(v/key.perPanel)))
			f.count(c64(0), n, group, func(k value.Value) {
				g, _ := f.floorDivConst(k, group, true, false)
				block := f.at(from, f.mul(g, c64(key.blockBytes())))
				by := f.scalesAt(q, block, c64(scaleAt))
				out := f.at(to, f.add(f.mul(k, c64(row)), c64(v*lanes*4)))
				// Steps of a word that no row has are written too: there is room.
				f.count(c64(0), f.smin(f.sub(n, k), c64(group)), q.steps, func(i value.Value) {
					w, _ := f.floorDivConst(i, q.steps, true, false)
					codes := f.load(q.vector, block, f.add(f.mul(w, c64(key.perPanel*q.bytes)), c64(key.codesAt()+codeAt)))
					for d := range q.steps {
						f.store(f.quantum(q, codes, d, by), out, f.mul(f.add(i, c64(d)), c64(row)))
					}
				})
			})
		})
	}
	f.ret()
	return f.f
}

// codes is where an element of a quantised buffer lies, in bytes and bits.
type codes struct{ code, scale, shift *ints.Expr }

func (b *block) codes(buf *kernel.Buf, idx []*ints.Expr) (c codes, ok bool) {
	if len(idx) != len(buf.Dims) || b.bufs[buf] == nil {
		b.fail("%d indices for %s, of %d dimensions", len(idx), buf.Name, len(buf.Dims))
		return c, false
	}
	c.code, c.scale, c.shift = buf.Codes(idx)
	return c, true
}

// quantisedView is the end of panelView for a buffer of codes: all of k from the
// start, in panels that products know.
func (b *block) quantisedView(l *kernel.Load, idx []*ints.Expr, ck int64, byRow bool) bool {
	nd := len(l.Buf.Dims)
	p := int64(l.Buf.Panel)
	k0, ok := idx[nd-1].IsConst()
	if !ok || k0 != 0 || ck != 1 || p != lanes && p != 2*lanes {
		return false
	}
	c, ok := b.codes(l.Buf, idx)
	if !ok {
		return false
	}
	ks := int64(l.Buf.Dims[nd-1])
	b.places[l.Dst] = place{ptr: b.at(b.bufs[l.Buf], b.int(c.scale)), elem: l.Buf.Elem,
		panel: &panel{size: p, stride: p * l.Buf.Elem.RowBytes(ks), byRow: byRow}}
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
	// Sixteen codes are adjacent along n in a panel, and along k in a row.
	panels := buf.Panel > 0 && s.Gather == nil && b.adjacent(buf, s.Idx, kernel.Col)
	along := buf.Panel == 0 && s.Gather == nil && buf.Elem == kernel.Q8 && nd > 0 && ints.Equal(s.Idx[nd-1], ints.V(kernel.Col)) && t.Cols > 1
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
					codes := b.load(q.vector, b.bufs[buf], b.int(c.code))
					var by scales
					if panels {
						by.by = b.widened(b.load(v16, b.bufs[buf], b.int(c.scale)))
					} else {
						by.by = b.splat(b.widened(b.load(i16, b.bufs[buf], b.int(c.scale))))
					}
					up := b.splat(b.convert(trunc, b.int(c.shift), i32))
					b.store(b.quantumAt(q, codes, up, by), row, b.mul(col, c64(d.col)))
				})
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
		for k := int64(0); k < int64(t.Cols); k += group {
			cols := min(group, int64(t.Cols)-k)
			b.bind(kernel.Col, c64(k), ints.Range{Lo: k, Hi: k}, 1, func() {
				strips := make([]value.Value, 0, group/lanes)
				var most value.Value = vint(v32, 0)
				for i := int64(0); i < cols; i += lanes {
					var x value.Value
					if t.Cols == 1 {
						x = b.splat(b.element(p, r, c64(0)))
					} else {
						x = b.vector(p, row, c64(k+i))
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
						b.store(b.load(i8, line, l), to, b.mul(b.add(l, c64(int64(i)*lanes)), c64(step)))
					})
				}
			})
		}
	})
}
