package amd64

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
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

// right is the right operand: 16 columns of row k, the v-th vector of them,
// at ptr + k*step + v/perPanel*panel + v%perPanel*16 elements.
type right struct {
	ptr      value.Value
	elem     kernel.Elem
	step     int64
	perPanel int64 // vectors in a panel; 0: one panel
	panel    int64 // bytes
}

// vec is the byte offset of vector v of a row, for v not known before.
func (b *block) vec(r right, v value.Value) value.Value {
	w := c64(lanes * int64(r.elem.Size()))
	if r.perPanel == 0 {
		return b.mul(v, w)
	}
	q, _ := b.floorDivConst(v, r.perPanel, true, false)
	_, m := b.floorDivConst(v, r.perPanel, true, true)
	return b.add(b.mul(q, c64(r.panel)), b.mul(m, w))
}

// blockK is how many steps of k a tile takes before the next one, where several
// tiles of rows read the same columns of B from the nearest cache.
const blockK = 256

func (b *block) dotStmt(s *kernel.Dot) {
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
	lt, rt, lTrans, rTrans := s.A, s.B, s.TransA, s.TransB
	maxRows, maxCols := s.Dst.Rows, s.Dst.Cols
	if turned(s) {
		lt, rt, lTrans, rTrans = s.B, s.A, !s.TransB, !s.TransA
		rows, cols, maxRows, maxCols = cols, rows, maxCols, maxRows
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
	r := b.right(rt, rTrans, int64(k), int64(maxCols), depth, cols)
	vecs, _ := b.floorDivConst(b.add(cols, c64(lanes-1)), lanes, true, false)
	b.product(product{d, a, r, rows, vecs, depth, maxRows, (maxCols + lanes - 1) / lanes, k, s.Acc})
}

// right gives an operand in rows of k with adjacent columns, transposing it
// into scratch where it is not stored so.
func (b *block) right(t *kernel.Tile, trans bool, k, n int64, depth, cols value.Value) right {
	p := b.place(t)
	if q := p.panel; q != nil {
		return right{p.ptr, p.elem, q.step, q.size / lanes, q.stride}
	}
	step, over := p.row, p.col
	if trans {
		step, over = over, step
	}
	size := int64(p.elem.Size())
	if over == size || n == 1 {
		return right{ptr: p.ptr, elem: p.elem, step: step}
	}
	if step != size {
		b.fail("right operand %s has no adjacent elements", t.Name)
		return right{ptr: p.ptr, elem: p.elem, step: step}
	}
	row := rowBytes(n, 4)
	to := place{ptr: b.at(b.scratch, c64(b.reserve(padded(k)*row))), elem: kernel.F32, row: row, col: 4}
	b.turnAll(place{ptr: p.ptr, elem: p.elem, row: over, col: size}, to, cols, depth)
	return right{ptr: to.ptr, elem: kernel.F32, step: row}
}

// product is a product of operands in place: d = (acc ? d : 0) + a*b over the
// valid rows, vectors of columns and depth; the maxima bound them.
type product struct {
	d                         place
	a                         left
	b                         right
	rows, vecs, depth         value.Value
	maxRows, maxVecs, maxDeep int
	acc                       bool
}

func (b *block) product(p product) {
	acc := constant.NewBool(p.acc)
	if p.maxDeep <= blockK+blockK/2 || p.maxRows <= b.machine.Micro[0].Rows {
		if k, ok := constInt(p.depth); ok && k > 0 {
			b.tiles(p, acc)
			return
		}
		// The tiles run at least one step: a product over nothing is apart.
		b.when(b.icmp(predicate[ints.Lt], c64(0), p.depth), func() { b.tiles(p, acc) })
		if !p.acc {
			b.when(b.icmp(predicate[ints.Le], p.depth, c64(0)), func() { b.clear(p) })
		}
		return
	}
	// One tile of rows reads B once however k is cut: then it is not cut.
	few := b.icmp(predicate[ints.Le], p.rows, c64(int64(b.machine.Micro[0].Rows)))
	turn := b.choose(few, p.depth, c64(blockK))
	n, _ := b.floorDivConst(b.add(p.depth, c64(blockK-1)), blockK, true, false)
	b.count(c64(0), b.choose(few, b.smin(n, c64(1)), n), 1, func(i value.Value) {
		k := b.mul(i, turn)
		q := p
		q.a.ptr = b.at(p.a.ptr, b.mul(k, c64(p.a.step)))
		q.b.ptr = b.at(p.b.ptr, b.mul(k, c64(p.b.step)))
		q.depth = b.smin(b.sub(p.depth, k), turn)
		b.tiles(q, b.bin(or, acc, b.icmp(predicate[ints.Ne], k, c64(0))))
	})
	if _, ok := constInt(p.depth); !ok && !p.acc {
		b.when(b.icmp(predicate[ints.Le], p.depth, c64(0)), func() { b.clear(p) })
	}
}

// clear makes the result 0.
func (b *block) clear(p product) {
	b.count(c64(0), p.rows, 1, func(r value.Value) {
		row := b.rowAt(p.d, r)
		b.count(c64(0), p.vecs, 1, func(v value.Value) {
			b.store(vnum(0), row, b.mul(v, c64(lanes*4)))
		})
	})
}

// tiles covers the result with register tiles: the tallest over as many rows as
// they fill, then lower ones; within each, the widest first.
func (b *block) tiles(p product, acc value.Value) {
	var row value.Value = c64(0)
	left := p.maxRows
	exact, isConst := constInt(p.rows)
	for _, s := range b.machine.Micro {
		if s.Rows > left {
			continue
		}
		end := p.rows
		switch {
		case isConst:
			from, _ := constInt(row)
			end = c64(from + (exact-from)/int64(s.Rows)*int64(s.Rows))
		case s.Rows > 1:
			q, _ := b.floorDivConst(b.smax(b.sub(p.rows, row), c64(0)), int64(s.Rows), true, false)
			end = b.add(row, b.mul(q, c64(int64(s.Rows))))
		}
		if from, ok := constInt(row); ok && isConst {
			if to, _ := constInt(end); from == to {
				continue
			}
		}
		b.band(p, acc, s, row, end)
		row = end
		if s.Rows > 1 && !isConst {
			left = min(left, max(s.Rows-1, 1))
		}
	}
}

// band covers rows [from, to) with register tiles of one height.
func (b *block) band(p product, acc value.Value, s Shape, from, to value.Value) {
	var v value.Value = c64(0)
	exact, isConst := constInt(p.vecs)
	for w := s.Vecs; w > 0; w /= 2 {
		// A tile wider than two vectors takes them in pairs at one distance.
		if w > p.maxVecs || w > 2 && p.b.perPanel > 2 && int64(w) > p.b.perPanel || w > 1 && p.b.perPanel == 1 {
			continue
		}
		var end value.Value
		if isConst {
			at, _ := constInt(v)
			end = c64(at + (exact-at)/int64(w)*int64(w))
			if (exact-at)/int64(w) == 0 {
				continue
			}
		} else {
			end = b.bin(and, p.vecs, c64(-int64(w)))
		}
		span := c64(2 * lanes * int64(p.b.elem.Size()))
		if p.b.perPanel == 2 {
			span = c64(p.b.panel)
		}
		micro := b.micro(microKey{Shape{s.Rows, w}, p.b.elem})
		b.count(v, end, int64(w), func(v value.Value) {
			right := b.at(p.b.ptr, b.vec(p.b, v))
			dst := b.at(p.d.ptr, b.mul(v, c64(lanes*4)))
			b.count(from, to, int64(s.Rows), func(r value.Value) {
				left := b.at(p.a.ptr, b.mul(r, c64(p.a.row)))
				b.call(micro, left, c64(p.a.row), c64(p.a.step), right, c64(p.b.step), p.depth, b.at(dst, b.mul(r, c64(p.d.row))), c64(p.d.row), span, acc)
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
//	      bytes between pairs of vectors of b, add to dst)
//
// No stride is a constant, so that one function serves every product.
func (m *module) micro(key microKey) *ir.Func {
	if f := m.micros[key]; f != nil {
		return f
	}
	pa, aRow, aStep := ir.NewParam("a", bytePtr), ir.NewParam("a.row", i64), ir.NewParam("a.step", i64)
	pb, bStep, depth := ir.NewParam("b", bytePtr), ir.NewParam("b.step", i64), ir.NewParam("k", i64)
	dst, dstRow := ir.NewParam("dst", bytePtr), ir.NewParam("dst.row", i64)
	span, acc := ir.NewParam("b.span", i64), ir.NewParam("acc", bit)
	f := m.newFunc(fmt.Sprintf("memc.dot%dx%d.%s", key.Rows, key.Vecs*lanes, key.elem), types.Void,
		pa, aRow, aStep, pb, bStep, depth, dst, dstRow, span, acc)
	f.private()
	m.micros[key] = f.f
	rows, vecs, size := key.Rows, key.Vecs, int64(key.elem.Size())

	// The accumulators begin as 0 or as the result's elements.
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
