package amd64

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// A product of tiles: how its operands lie in memory, and what has to be
// transposed first.

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
	next, more            value.Value // as in place
}

// rows is an operand with all columns of a row adjacent: pairs without a gap.
func rows(ptr value.Value, e kernel.Elem, step int64) right {
	return right{ptr: ptr, elem: e, step: step, perPanel: 2, panel: 2 * lanes * int64(e.Size())}
}

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
		m, n = n, m
		d.row, d.col = d.col, d.row
	}
	if b.place(lt).elem.Quantised() && (lTrans || !b.place(rt).elem.Quantised()) {
		b.wide(lt, func() { b.dotStmt(s, scale) })
		return
	}
	vecs, _ := b.floorDivConst(b.add(cols, c64(lanes-1)), lanes, true, false)
	if scale != nil && (b.machine.squared(s) || b.place(rt).elem.Quantised()) {
		b.byRows([]kernel.Stmt{scale})
	}
	if b.machine.squared(s) && !b.place(rt).elem.Quantised() {
		b.squareDotStmt(s, d, rows, vecs, depth)
		return
	}
	p := b.place(lt)
	a := left{p.ptr, p.row, p.col}
	if lTrans {
		a.row, a.step = a.step, a.row
	}
	if p.elem != kernel.F32 && !p.elem.Quantised() || p.panel != nil {
		b.fail("left operand %s is not f32 rows", lt.Name)
		return
	}
	r := b.right(rt, rTrans)
	if r.elem.Quantised() && s.Operands != kernel.F32 {
		b.fail("product of %s operands with %s of %s", s.Operands, rt.Name, r.elem)
		return
	}
	if r.elem.Quantised() {
		b.quantised(lt, lTrans, a, r, depth, d, rows, vecs, b.adds(s))
		return
	}
	pairs := b.machine.paired(s)
	if pairs {
		a = b.pairedLeft(lt, lTrans)
	} else if s.Operands == kernel.BF16 {
		a, r = b.roundLeft(a, int64(m), int64(k), rows, depth), b.roundRight(r, int64(k), int64(n), depth, vecs)
	}
	if r.elem == words && !pairs && s.Operands != kernel.F32 {
		b.fail("product of %s operands with words of %s", s.Operands, rt.Name)
		return
	}
	wide := b.scratch
	in, out := s.In, s.Out
	if turned(s) {
		in, out = nil, nil
	}
	key := productKey{r.elem, r.perPanel, pairs, perOf(in), perOf(out)}
	if r.elem != key.copied() {
		wide = b.near(blockK*wideRow, span{b.pos, b.pos})
	}
	keep := value.Value(constant.NewNull(bytePtr))
	if scale != nil {
		keep = b.place(scaleOf(scale)).ptr
	}
	fetch := value.Value(c64(ahead * r.step))
	if most, known := constInt(rows); !known || most <= int64(b.machine.Micro[0].Rows) {
		steps := b.load(i64, b.scratch, c64(-plan.HostBytes))
		near := b.mul(steps, c64(r.step))
		if r.next != nil {
			near = r.next
			if int64(k)*int64(n)*int64(r.elem.Size()) > besideTurn {
				near = b.choose(b.icmp(predicate[ints.Eq], steps, c64(0)), c64(0), near)
			}
		}
		few := b.icmp(predicate[ints.Le], rows, c64(int64(b.machine.Micro[0].Rows)))
		fetch = b.choose(few, near, fetch)
	}
	height := int64(b.machine.Micro[0].Rows)
	from, row, step, strip := a.ptr, value.Value(c64(a.row)), value.Value(c64(a.step)), value.Value(c64(height*a.row))
	if c, ok := b.copies[copyKey{tile: lt, trans: lTrans}]; ok && !pairs {
		from, row, step = b.choose(c.made, c.ptr, from), b.choose(c.made, c64(4), row), b.choose(c.made, c64(4*height), step)
		strip = b.choose(c.made, b.mul(depth, c64(4*height)), strip)
	}
	args := []value.Value{from, row, step, strip, r.ptr, c64(r.step), c64(r.panel),
		depth, d.ptr, c64(d.row), rows, vecs, b.adds(s), keep, fetch, wide}
	b.call(b.product(key), append(args, b.limitsOf(in, out)...)...)
}

// right gives an operand in rows of k with adjacent columns, transposing it
// into scratch where it is not stored so.
func (b *block) right(t *kernel.Tile, trans bool) right {
	p := b.place(t)
	if q := p.panel; q != nil {
		return right{p.ptr, p.elem, q.step, q.size / lanes, q.stride, p.next, p.more}
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
		r.next, r.more = p.next, p.more
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

// depthOf is how many products an element of a product sums, at most.
func depthOf(s *kernel.Dot) int {
	if s.TransA {
		return s.A.Rows
	}
	return s.A.Cols
}

// anyProduct says that a kernel has a product that is so.
func anyProduct(k *kernel.Kernel, is func(*kernel.Dot) bool) (yes bool) {
	for _, p := range k.Parts {
		statements(p.Body, func(s kernel.Stmt) {
			d, ok := s.(*kernel.Dot)
			yes = yes || ok && is(d)
		})
	}
	return yes
}

// turnAhead lays out the operands of products in a loop that the loop does not
// change, before the loop; several says whether it has more turns than one.
func (b *block) turnAhead(loop *kernel.For, several value.Value) {
	statements(loop.Body, func(s kernel.Stmt) {
		d, ok := s.(*kernel.Dot)
		if !ok {
			return
		}
		lt, t, lTrans, trans := operands(d)
		if l := b.views[lt]; l != nil && l.Buf.Elem.Quantised() {
			return
		}
		if b.machine.squared(d) {
			b.squaresAhead(loop, d, several)
			return
		}
		if b.steady(loop, t) {
			b.right(t, trans)
		}
		if b.machine.paired(d) && b.steady(loop, lt) {
			b.pairedLeft(lt, lTrans)
		}
		b.stripsAhead(loop, d)
	})
}

// steady says that a loop that begins here does not change a tile.
func (b *block) steady(loop *kernel.For, t *kernel.Tile) bool {
	return b.written[t] && !writes(loop.Body, t) && b.inScope(t.ValidRows) && b.inScope(t.ValidCols)
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
