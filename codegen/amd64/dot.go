package amd64

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// A product runs in register tiles: Rows x Vecs accumulators, for every k one
// broadcast of each row's element of A times Vecs vectors of B's row k. Every
// element is one chain of fused multiply-adds over k in ascending order.

// left is the left operand: element (m, k) at ptr + m*row + k*step bytes, f32.
type left struct {
	ptr       value.Value
	row, step int64
}

// right is the right operand: row k of it begins at ptr + k*step and has its
// vectors of 16 columns in groups of perPanel adjacent ones, panel bytes apart.
type right struct {
	ptr                   value.Value
	elem                  kernel.Elem
	step, perPanel, panel int64
	next                  value.Value // as in place
}

// rows is an operand with all columns of a row adjacent: pairs without a gap.
func rows(ptr value.Value, e kernel.Elem, step int64) right {
	return right{ptr: ptr, elem: e, step: step, perPanel: 2, panel: 2 * lanes * int64(e.Size())}
}

// blockK is how many steps of k a tile takes before the next one: a tile's rows
// of A should stay in the nearest cache while B's columns go by.
const blockK = 1024

// blockWide is blockK where B is widened first: so many rows of two vectors fill
// two thirds of the nearest cache.
const blockWide = 256

// ahead is how many steps of k B is fetched before its use: it comes from L2, in
// one sequence, which the processor's own prefetching follows too late. Few rows
// in a loop are done with B too soon for that: they fetch what the next turn
// reads in its place.
const ahead = 12

// dotStmt emits a product; scale, where given, is a map that multiplies the
// result's rows by a column before the product is added to them.
func (b *block) dotStmt(s *kernel.Dot, scale *kernel.Map) {
	m, k := s.A.Rows, s.A.Cols
	if s.TransA {
		m, k = k, m
	}
	k2, n := s.B.Rows, s.B.Cols
	if s.TransB {
		k2, n = n, k2
	}
	if m != s.Dst.Rows || n != s.Dst.Cols || k != k2 {
		b.fail("product of %s [%d,%d] and %s [%d,%d] into %s [%d,%d]", s.A.Name, m, k, s.B.Name, k2, n, s.Dst.Name, s.Dst.Rows, s.Dst.Cols)
		return
	}
	if s.A.Elem != kernel.F32 || s.B.Elem != kernel.F32 || s.Dst.Elem != kernel.F32 || s.Dst == s.A || s.Dst == s.B {
		b.fail("product into %s: operands must be f32 and not the result", s.Dst.Name)
		return
	}
	d := b.place(s.Dst)
	rows, cols := b.rows(s.Dst), b.cols(s.Dst)
	depth := b.cols(s.A)
	if s.TransA {
		depth = b.rows(s.A)
	}
	lt, rt, lTrans, rTrans := operands(s)
	if turned(s) {
		rows, cols = cols, rows
		d.row, d.col = d.col, d.row
	}
	p := b.place(lt)
	a := left{p.ptr, p.row, p.col}
	if lTrans {
		a.row, a.step = a.step, a.row
	}
	if p.elem != kernel.F32 || p.panel != nil {
		b.fail("left operand %s is not f32 rows", lt.Name)
		return
	}
	r := b.right(rt, rTrans)
	vecs, _ := b.floorDivConst(b.add(cols, c64(lanes-1)), lanes, true, false)
	if r.elem.Quantised() {
		if scale != nil {
			b.byRows([]kernel.Stmt{scale})
		}
		b.quantised(a, r, depth, d, rows, vecs, s.Acc)
		return
	}
	wide := b.scratch
	if r.elem != kernel.F32 {
		wide = b.near(blockWide*2*lanes*4, span{b.pos, b.pos})
	}
	keep := value.Value(constant.NewNull(bytePtr))
	if scale != nil {
		keep = b.place(scaleOf(scale)).ptr
	}
	fetch := value.Value(c64(ahead * r.step))
	if r.next != nil {
		few := b.icmp(predicate[ints.Le], rows, c64(int64(b.machine.Micro[0].Rows)))
		fetch = b.choose(few, r.next, fetch)
	}
	b.call(b.product(productKey{r.elem, r.perPanel}), a.ptr, c64(a.row), c64(a.step), r.ptr, c64(r.step), c64(r.panel),
		depth, d.ptr, c64(d.row), rows, vecs, constant.NewBool(s.Acc), keep, fetch, wide)
}

// right gives an operand in rows of k with adjacent columns, transposing it
// into scratch where it is not stored so.
func (b *block) right(t *kernel.Tile, trans bool) right {
	p := b.place(t)
	if q := p.panel; q != nil {
		return right{p.ptr, p.elem, q.step, q.size / lanes, q.stride, p.next}
	}
	step, over, n, k := p.row, p.col, t.Cols, t.Rows
	cols, depth := b.cols, b.rows
	if trans {
		step, over, n, k = over, step, k, n
		cols, depth = depth, cols
	}
	size := int64(p.elem.Size())
	if over == size || n == 1 {
		r := rows(p.ptr, p.elem, step)
		r.next = p.next
		return r
	}
	if step != size {
		b.fail("right operand %s has no adjacent elements", t.Name)
		return rows(p.ptr, p.elem, step)
	}
	if r, ok := b.turns[t]; ok {
		return r
	}
	row := rowBytes(int64(n), 4)
	to := place{ptr: b.near(padded(int64(k))*row, b.rest), elem: kernel.F32, row: row, col: 4}
	b.turnAll(place{ptr: p.ptr, elem: p.elem, row: over, col: size}, to, cols(t), depth(t))
	r := rows(to.ptr, kernel.F32, row)
	b.turns[t] = r
	return r
}

// operands gives the operands of a product as it is computed, which for a
// column is the transposed product.
func operands(s *kernel.Dot) (left, right *kernel.Tile, leftTrans, rightTrans bool) {
	if turned(s) {
		return s.B, s.A, !s.TransB, !s.TransA
	}
	return s.A, s.B, s.TransA, s.TransB
}

// turnAhead transposes the operands of products in a loop that the loop does
// not change, before the loop.
func (b *block) turnAhead(loop *kernel.For) {
	statements(loop.Body, func(s kernel.Stmt) {
		d, ok := s.(*kernel.Dot)
		if !ok {
			return
		}
		_, t, _, trans := operands(d)
		if !b.written[t] || writes(loop.Body, t) || !b.inScope(t.ValidRows) || !b.inScope(t.ValidCols) {
			return
		}
		b.right(t, trans)
	})
}

func writes(body []kernel.Stmt, t *kernel.Tile) (yes bool) {
	statements(body, func(s kernel.Stmt) {
		w, _ := effects(s)
		yes = yes || w == t
	})
	return yes
}

// inScope says whether all variables of a count have values here.
func (b *block) inScope(e *ints.Expr) bool {
	if e == nil {
		return true
	}
	names := map[string]bool{}
	e.Vars(names)
	for n := range names {
		if b.vars[n] == nil {
			return false
		}
	}
	return true
}

// productKey names a product by the right operand's type in memory and the
// vectors in its panels; nothing else of it is constant.
type productKey struct {
	elem     kernel.Elem
	perPanel int64
}

// product is the function that computes a product of operands in place:
//
//	product(a, bytes between its rows, bytes between its columns,
//	        b, bytes between its rows, bytes between its panels, k,
//	        dst, bytes between its rows, rows, vectors of columns, add to dst,
//	        what dst's rows are multiplied by first or null,
//	        bytes from what is read of b to what is fetched,
//	        room for blockWide rows of two vectors unless b is f32)
func (m *module) product(key productKey) *ir.Func {
	if f := m.products[key]; f != nil {
		return f
	}
	p := product{key: key}
	param := func(name string, t types.Type) *ir.Param { return ir.NewParam(name, t) }
	pa, pb, dst := param("a", bytePtr), param("b", bytePtr), param("dst", bytePtr)
	aRow, aStep, bStep, bPanel := param("a.row", i64), param("a.step", i64), param("b.step", i64), param("b.panel", i64)
	depth, dstRow, rows, vecs, acc := param("k", i64), param("dst.row", i64), param("rows", i64), param("vecs", i64), param("acc", bit)
	keep, fetch, wide := param("keep", bytePtr), param("fetch", i64), param("wide", bytePtr)
	f := m.newFunc(fmt.Sprintf("memc.product.%s.%d", key.elem, key.perPanel*lanes), types.Void,
		pa, aRow, aStep, pb, bStep, bPanel, depth, dst, dstRow, rows, vecs, acc, keep, fetch, wide)
	f.private()
	m.products[key] = f.f
	p.fn, p.aRow, p.aStep, p.bStep, p.bPanel, p.dst, p.dstRow, p.rows, p.vecs = f, aRow, aStep, bStep, bPanel, dst, dstRow, rows, vecs
	p.fetch = fetch

	p.from = c64(0)
	piece := func(turn value.Value, tiles func()) {
		f.carryOn(depth, turn, func(k value.Value) {
			p.a = f.at(pa, f.mul(k, aStep))
			p.b = f.at(pb, f.mul(k, bStep))
			p.depth = f.smin(f.sub(depth, k), turn)
			later := f.icmp(predicate[ints.Ne], k, c64(0))
			p.acc = f.bin(or, acc, later)
			p.keep = f.choose(later, constant.NewNull(bytePtr), keep)
			tiles()
		})
	}
	// Rows enough to share it are worth a widened copy of B.
	if tall := int64(2 * m.machine.Micro[0].Rows); key.elem != kernel.F32 && key.perPanel%2 == 0 {
		p.from = f.merge(f.icmp(predicate[ints.Le], c64(tall), rows), func() value.Value {
			piece(c64(blockWide), func() { p.wideTiles(wide) })
			return f.bin(and, vecs, c64(-2))
		}, c64(0))
	}
	// One tile of rows reads B once however k is cut: then it is not cut.
	few := f.icmp(predicate[ints.Le], rows, c64(int64(m.machine.Micro[0].Rows)))
	piece(f.choose(few, depth, c64(blockK)), p.tiles)
	// A product over nothing is 0.
	nothing := f.bin(and, f.icmp(predicate[ints.Le], depth, c64(0)), f.bin(xor, acc, constant.True))
	f.when(nothing, func() {
		f.count(c64(0), rows, 1, func(r value.Value) {
			row := f.at(dst, f.mul(r, dstRow))
			f.count(c64(0), vecs, 1, func(v value.Value) { f.store(vnum(0), row, f.mul(v, c64(lanes*4))) })
		})
	})
	f.ret()
	return f.f
}

// merge gives what body does where c holds, and no elsewhere.
func (f *fn) merge(c value.Value, body func() value.Value, no value.Value) value.Value {
	pre, yes, exit := f.cur, f.f.NewBlock(""), ir.NewBlock("")
	pre.Term = ir.NewCondBr(c, yes, exit)
	f.cur = yes
	f.push()
	v := body()
	f.pop()
	f.cur.Term = ir.NewBr(exit)
	out := ir.NewPhi(ir.NewIncoming(v, f.cur), ir.NewIncoming(no, pre))
	exit.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, exit)
	f.cur = exit
	f.emit(out)
	return out
}

// carryOn runs body for k = 0, turn, 2*turn, ... below n.
func (f *fn) carryOn(n, turn value.Value, body func(k value.Value)) {
	pre, head, exit := f.cur, f.f.NewBlock(""), ir.NewBlock("")
	pre.Term = ir.NewCondBr(f.icmp(predicate[ints.Lt], c64(0), n), head, exit)
	f.cur = head
	k := ir.NewPhi(ir.NewIncoming(c64(0), pre))
	f.emit(k)
	body(k)
	next := f.add(k, turn)
	f.cur.Term = ir.NewCondBr(f.icmp(predicate[ints.Lt], next, n), head, exit)
	k.Incs = append(k.Incs, ir.NewIncoming(next, f.cur))
	exit.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, exit)
	f.cur = exit
}

// product emits the loops over register tiles for a part of k.
type product struct {
	*fn
	key                                 productKey
	a, aRow, aStep, b, bStep, bPanel    value.Value
	depth, dst, dstRow, rows, vecs, acc value.Value
	from                                value.Value // the first vector of columns
	keep                                value.Value // scales of rows, or null
	fetch                               value.Value // bytes to what is fetched of b
}

// wideTiles covers pairs of vectors of columns with register tiles that read a
// copy of B, widened.
func (p *product) wideTiles(wide value.Value) {
	size := int64(p.key.elem.Size())
	p.count(c64(0), p.bin(and, p.vecs, c64(-2)), 2, func(v value.Value) {
		right := p.column(v)
		p.count(c64(0), p.depth, 1, func(k value.Value) {
			row, to := p.at(right, p.mul(k, p.bStep)), p.at(wide, p.mul(k, c64(2*lanes*4)))
			p.prefetch(row, p.mul(p.bStep, c64(4*ahead)))
			for i := range int64(2) {
				p.store(p.widened(p.load(vectorOf(p.key.elem), row, c64(i*lanes*size))), to, c64(i*lanes*4))
			}
		})
		dst := p.at(p.dst, p.mul(v, c64(lanes*4)))
		p.bands(func(s Shape, from, to value.Value) {
			micro := p.micro(microKey{Shape{s.Rows, min(s.Vecs, 2)}, kernel.F32})
			for w := 0; w < 2; w += min(s.Vecs, 2) {
				p.count(from, to, int64(s.Rows), func(r value.Value) {
					p.call(micro, p.at(p.a, p.mul(r, p.aRow)), p.aRow, p.aStep, p.at(wide, c64(int64(w)*lanes*4)), c64(2*lanes*4), p.depth,
						p.at(p.at(dst, c64(int64(w)*lanes*4)), p.mul(r, p.dstRow)), p.dstRow, c64(0), p.acc, p.keepAt(r), c64(0))
				})
			}
		})
	})
}

// keepAt is where the scales of the rows from r on are; null where there are none.
func (p *product) keepAt(r value.Value) value.Value {
	return p.choose(p.none(p.keep), p.keep, p.at(p.keep, p.mul(r, c64(4))))
}

// none is whether a pointer is null.
func (f *fn) none(ptr value.Value) value.Value {
	i := ir.NewICmp(enum.IPredEQ, ptr, constant.NewNull(bytePtr))
	f.emit(i)
	return i
}

// column is where the columns of a vector begin in B.
func (p *product) column(v value.Value) value.Value {
	q, _ := p.floorDivConst(v, p.key.perPanel, true, false)
	_, in := p.floorDivConst(v, p.key.perPanel, true, true)
	return p.at(p.b, p.add(p.mul(q, p.bPanel), p.mul(in, c64(lanes*int64(p.key.elem.Size())))))
}

// bands yields the rows that register tiles of each height cover: the tallest as
// many as they fill, then lower ones.
func (p *product) bands(yield func(s Shape, from, to value.Value)) {
	var row value.Value = c64(0)
	for _, s := range p.machine.Micro {
		q, _ := p.floorDivConst(p.sub(p.rows, row), int64(s.Rows), true, false)
		end := p.add(row, p.mul(q, c64(int64(s.Rows))))
		p.when(p.icmp(predicate[ints.Lt], row, end), func() { yield(s, row, end) })
		row = end
	}
}

// tiles covers the result with register tiles.
func (p *product) tiles() {
	p.when(p.icmp(predicate[ints.Lt], p.from, p.vecs), func() { p.bands(p.band) })
}

// band covers rows [from, to) with register tiles of one height, the widest
// first. The tile's rows of A stay in the nearest cache while B's columns go by.
func (p *product) band(s Shape, from, to value.Value) {
	v := p.from
	for w := s.Vecs; w > 0; w /= 2 {
		// A tile of more than two vectors takes them in pairs at one distance.
		if int64(w) > p.key.perPanel && p.key.perPanel != 2 {
			continue
		}
		span := p.bPanel
		if p.key.perPanel != 2 {
			span = c64(2 * lanes * int64(p.key.elem.Size()))
		}
		end := p.add(p.from, p.bin(and, p.sub(p.vecs, p.from), c64(-int64(w))))
		micro := p.micro(microKey{Shape{s.Rows, w}, p.key.elem})
		first := v
		p.count(from, to, int64(s.Rows), func(r value.Value) {
			left, dst, keep := p.at(p.a, p.mul(r, p.aRow)), p.at(p.dst, p.mul(r, p.dstRow)), p.keepAt(r)
			p.count(first, end, int64(w), func(v value.Value) {
				p.call(micro, left, p.aRow, p.aStep, p.column(v), p.bStep, p.depth, p.at(dst, p.mul(v, c64(lanes*4))), p.dstRow, span, p.acc, keep, p.fetch)
			})
		})
		v = end
	}
}

// microKey names a register tile and the type of B in memory.
type microKey struct {
	Shape
	elem kernel.Elem
}

// micro is the function that computes one register tile:
//
//	micro(a, bytes between its rows, bytes between its columns,
//	      b, bytes between its rows, k > 0, dst, bytes between its rows,
//	      bytes between pairs of vectors of b, add to dst, what dst's rows are
//	      multiplied by first or null, bytes from what is read of b to what is
//	      fetched)
//
// No stride is a constant, so that one function serves every product.
func (m *module) micro(key microKey) *ir.Func {
	if f := m.micros[key]; f != nil {
		return f
	}
	pa, aRow, aStep := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("a.step", i64)
	pb, bStep, depth := ir.NewParam("b", bytePtr), ir.NewParam("b.step", i64), ir.NewParam("k", i64)
	dst, dstRow := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64)
	span, acc, keep, fetch := ir.NewParam("b.span", i64), ir.NewParam("acc", bit), ir.NewParam("keep", bytePtr), ir.NewParam("fetch", i64)
	f := m.newFunc(fmt.Sprintf("memc.dot%dx%d.%s", key.Rows, key.Vecs*lanes, key.elem), types.Void,
		pa, aRow, aStep, pb, bStep, depth, dst, dstRow, span, acc, keep, fetch)
	f.private()
	m.micros[key] = f.f
	rows, vecs, size := key.Rows, key.Vecs, int64(key.elem.Size())

	// The accumulators begin as 0, or as the result's elements, scaled or not.
	zero := &literal{vf32, "zeroinitializer"}
	pre, load, scaled, start := f.cur, f.f.NewBlock(""), f.f.NewBlock(""), f.f.NewBlock("")
	pre.Term = ir.NewCondBr(acc, load, start)
	f.cur = load
	old, begin := make([]value.Value, rows*vecs), make([]value.Value, rows*vecs)
	for r := range rows {
		row := f.at(dst, f.mul(dstRow, c64(int64(r))))
		for v := range vecs {
			old[r*vecs+v] = f.load(vf32, row, c64(int64(v)*lanes*4))
		}
	}
	load.Term = ir.NewCondBr(f.none(keep), start, scaled)
	f.cur = scaled
	for r := range rows {
		x := f.splat(f.load(f32, keep, c64(int64(r)*4)))
		for v := range vecs {
			i := r*vecs + v
			begin[i] = ir.NewPhi(ir.NewIncoming(zero, pre), ir.NewIncoming(old[i], load), ir.NewIncoming(f.bin(fmul, old[i], x), scaled))
		}
	}
	scaled.Term = ir.NewBr(start)
	f.cur = start
	for _, p := range begin {
		f.emit(p.(*ir.InstPhi))
	}

	// A pointer serves four rows: at 0, 1, 2 and 3 strides from it.
	strides := [4]value.Value{c64(0), aRow, f.mul(aRow, c64(2)), f.mul(aRow, c64(3))}
	heads := []value.Value{pb}
	steps := []value.Value{bStep}
	for r := 0; r < rows; r += 4 {
		heads = append(heads, f.at(pa, f.mul(aRow, c64(int64(r)))))
		steps = append(steps, aStep)
	}
	spans := []value.Value{c64(0)}
	for v := 2; v < vecs; v += 2 {
		spans = append(spans, f.mul(span, c64(int64(v/2))))
	}
	out := f.advance(depth, heads, steps, begin, func(p, acc []value.Value) []value.Value {
		b := make([]value.Value, vecs)
		for v := range b {
			if int64(v%2)*lanes*size%64 == 0 {
				f.prefetch(f.at(f.at(p[0], spans[v/2]), c64(int64(v%2)*lanes*size)), fetch)
			}
			b[v] = f.widened(f.load(vectorOf(key.elem), f.at(p[0], spans[v/2]), c64(int64(v%2)*lanes*size)))
		}
		next := make([]value.Value, rows*vecs)
		for r := range rows {
			x := f.splat(f.load(f32, p[1+r/4], strides[r%4]))
			for v := range vecs {
				next[r*vecs+v] = f.fma(x, b[v], acc[r*vecs+v])
			}
		}
		return next
	})
	for r := range rows {
		row := f.at(dst, f.mul(dstRow, c64(int64(r))))
		for v := range vecs {
			f.store(out[r*vecs+v], row, c64(int64(v)*lanes*4))
		}
	}
	f.ret()
	return f.f
}

// advance runs body n > 0 times, with pointers that take a step each time.
func (f *fn) advance(n value.Value, heads, steps, carry []value.Value, body func(heads, carry []value.Value) []value.Value) []value.Value {
	pre, head, exit := f.cur, f.f.NewBlock(""), f.f.NewBlock("")
	pre.Term = ir.NewBr(head)
	f.cur = head
	var phis []*ir.InstPhi
	phi := func(from []value.Value) (in []value.Value) {
		for _, v := range from {
			p := ir.NewPhi(ir.NewIncoming(v, pre))
			f.emit(p)
			phis, in = append(phis, p), append(in, p)
		}
		return in
	}
	left := phi([]value.Value{n})[0]
	at := phi(heads)
	out := body(at, phi(carry))
	next := []value.Value{f.sub(left, c64(1))}
	for i, p := range at {
		next = append(next, f.at(p, steps[i]))
	}
	f.cur.Term = ir.NewCondBr(f.icmp(predicate[ints.Ne], next[0], c64(0)), head, exit)
	for i, v := range append(next, out...) {
		phis[i].Incs = append(phis[i].Incs, ir.NewIncoming(v, f.cur))
	}
	f.cur = exit
	return out
}
