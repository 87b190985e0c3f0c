package amd64

import (
	"maps"
	"slices"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// affine is an offset of the form row*r + col*c + rest.
type affine struct {
	row, col int64
	rest     *ints.Expr
}

func affineOf(off *ints.Expr) (affine, bool) {
	cr, rest, ok := off.Coeff(kernel.Row)
	if !ok {
		return affine{}, false
	}
	cc, rest, ok := rest.Coeff(kernel.Col)
	return affine{cr, cc, rest}, ok
}

// view makes the tile of a load an alias of the buffer where nobody can tell:
// the load is the tile's only write, it dominates every read (after holds the
// statements behind it in its list), the buffer is written at most behind all
// of them, and every reader can use the strides.
func (b *block) view(l *kernel.Load, after []kernel.Stmt) bool {
	ok := b.aliased(l, after)
	if ok {
		b.views[l.Dst] = l
	}
	return ok
}

// aliased is view without noting it.
func (b *block) aliased(l *kernel.Load, after []kernel.Stmt) bool {
	t := l.Dst
	u := b.uses[t]
	if l.Gather != nil || l.Buf.Write && !b.readFirst(l, after) || u.writes != 1 || t.Elem == kernel.I64 || !widens(l.Buf.Elem, t.Elem) || l.Buf.Elem.Size() > t.Elem.Size() {
		return false
	}
	seen, rounded, paired := 0, false, true
	statements(after, func(s kernel.Stmt) {
		if d, ok := s.(*kernel.Dot); ok && (d.A == t || d.B == t) {
			rounded = rounded || d.Operands != kernel.F32
			paired = paired && (b.machine.paired(d) || d.Operands == kernel.F32 && !b.machine.squared(d))
		}
		_, reads := effects(s)
		for _, r := range reads {
			if r.tile == t {
				seen++
			}
		}
	})
	if seen != len(u.reads) || rounded && l.Buf.Elem.Quantised() || !paired && l.Buf.Pairs {
		return false
	}
	size := int64(l.Buf.Elem.Size())
	if l.Buf.Panel > 0 {
		return b.panelView(l)
	}
	if l.Buf.Elem.Quantised() {
		return b.codesView(l)
	}
	a, ok := affineOf(b.offset(l.Buf, l.Idx))
	if !ok {
		return false
	}
	for _, r := range u.reads {
		switch r.role {
		case asRows, asStrips:
			ok = t.Cols == 1 && (a.row == 1 || t.Rows == 1) || t.Cols > 1 && a.col == 1
		case asLeft:
			ok = l.Buf.Elem == kernel.F32 && !(t.Rows >= 8 && b.crowded(a.row*size) && b.columnsOf(t, after) >= worthCopy)
		case asRightC:
			ok = a.col == 1 || a.row == 1
		case asRightR:
			ok = a.row == 1 || a.col == 1
		}
		if !ok {
			return false
		}
	}
	b.places[t] = place{ptr: b.at(b.bufs[l.Buf], b.mul(b.int(a.rest), c64(size))), elem: l.Buf.Elem, row: a.row * size, col: a.col * size, next: b.toNext(a.rest, size), more: b.goesOn(a.rest)}
	return true
}

// readFirst says that a part writes a load's buffer in the load's own list alone,
// behind everything that reads what was loaded.
func (b *block) readFirst(l *kernel.Load, after []kernel.Stmt) bool {
	behind := 0
	for _, s := range slices.Backward(after) {
		reads := false
		statements([]kernel.Stmt{s}, func(s kernel.Stmt) {
			_, of := effects(s)
			reads = reads || slices.ContainsFunc(of, func(r read) bool { return r.tile == l.Dst })
		})
		if reads {
			break
		}
		if st, is := s.(*kernel.Store); is && st.Buf == l.Buf {
			behind++
		}
	}
	return behind == b.stores[l.Buf]
}

// worthCopy is with how many columns a tile in crowded rows must be multiplied to be
// copied first, which takes as long as to multiply with some twelve.
const worthCopy = 64

// crowded says that rows so many bytes apart fall into so few sets of the nearest
// cache (64 of 8 to 12 lines) that those of a register tile displace each other.
func (b *block) crowded(row int64) bool { return row%2048 == 0 && b.machine.Micro[0].Rows >= 8 }

// columnsOf counts the columns with which vectors multiply a tile in a list of
// statements; what is laid out anyway, or in a loop within the list, does not count.
func (b *block) columnsOf(t *kernel.Tile, list []kernel.Stmt) (n int) {
	for _, s := range list {
		if d, ok := s.(*kernel.Dot); ok && d.A == t && !d.TransA && !b.machine.squared(d) && d.Operands != kernel.BF16 {
			n += d.Dst.Cols
		}
	}
	return n
}

// resultView has a product write its result where the next statement stores it,
// if that is all that happens to the result and it has whole vectors alone. The
// stores then run beside the next multiply-adds.
func (b *block) resultView(d *kernel.Dot, after []kernel.Stmt) {
	t := d.Dst
	u := b.uses[t]
	if len(after) == 0 || u.writes != 1 || len(u.reads) != 1 || t.Cols%lanes != 0 || t.ValidCols != nil {
		return
	}
	s, ok := after[0].(*kernel.Store)
	overwrites := func(t *kernel.Tile) bool { l := b.views[t]; return ok && l != nil && l.Buf == s.Buf }
	if !ok || overwrites(d.A) || overwrites(d.B) || s.Src != t || !s.Buf.Write || s.Buf.Elem != kernel.F32 || s.Buf.Panel > 0 {
		return
	}
	if a, ok := affineOf(b.offset(s.Buf, s.Idx)); ok && a.col == 1 {
		b.places[t] = place{ptr: b.at(b.bufs[s.Buf], b.mul(b.int(a.rest), c64(4))), elem: kernel.F32, row: a.row * 4, col: 4, stored: true}
	}
}

// panelView is view for a buffer in panels, one index being n, the other k: as a
// right operand, or row by row where n runs along a row.
func (b *block) panelView(l *kernel.Load) bool {
	nd := len(l.Buf.Dims)
	if nd < 2 || len(l.Idx) != nd {
		return false
	}
	p := int64(l.Buf.Panel)
	if p%lanes != 0 || p&(p-1) != 0 {
		return false
	}
	n, k := l.Idx[nd-2], l.Idx[nd-1]
	byRow := n.Has(kernel.Row)
	over, along := kernel.Col, kernel.Row
	if byRow {
		over, along = kernel.Row, kernel.Col
	}
	cn, n0, ok := n.Coeff(over)
	if !ok || cn != 1 || n0.Has(along) || b.multiple(n0)%p != 0 {
		return false
	}
	ck, k0, ok := k.Coeff(along)
	if !ok || ck < 1 || k0.Has(over) {
		return false
	}
	idx := append([]*ints.Expr(nil), l.Idx...)
	for _, e := range idx[:nd-2] {
		if e.Has(kernel.Row) || e.Has(kernel.Col) {
			return false
		}
	}
	for _, r := range b.uses[l.Dst].reads {
		switch r.role {
		case asStrips:
			ok = !byRow && l.Dst.Cols > 1 && !l.Buf.Elem.Quantised()
		case asRightC, asRightR:
			ok = (r.role == asRightR) == byRow
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	idx[nd-2], idx[nd-1] = n0, k0
	if l.Buf.Elem.Quantised() {
		return b.quantisedView(l, idx, ck, byRow)
	}
	size := int64(l.Buf.Elem.Size())
	in, step := l.Buf.Elem, ck*p*size
	if l.Buf.Pairs {
		// Words begin and end with whole pairs.
		depth, valid := l.Dst.Rows, l.Dst.ValidRows
		if byRow {
			depth, valid = l.Dst.Cols, l.Dst.ValidCols
		}
		if l.Buf.Elem != kernel.BF16 || ck != 1 || b.multiple(k0)%2 != 0 || depth%2 != 0 || valid != nil && b.multiple(valid)%2 != 0 {
			return false
		}
		in, step = words, 2*p*size
	}
	at := b.int(b.offset(l.Buf, idx))
	b.places[l.Dst] = place{ptr: b.at(b.bufs[l.Buf], b.mul(at, c64(size))), elem: in,
		panel: &panel{size: p, stride: int64(l.Buf.Dims[nd-1]) * p * size, step: step, byRow: byRow},
		next:  b.toNext(b.offset(l.Buf, idx), size), more: b.goesOn(b.offset(l.Buf, idx))}
	return true
}

// toNext is how far, in bytes, what a load reads in the loop's next turn is from
// what it reads in this; nil where loads do not run ahead.
func (b *block) toNext(off *ints.Expr, size int64) value.Value {
	if b.ahead == nil {
		return nil
	}
	return b.mul(b.sub(b.int(off.Subst(b.ahead)), b.int(off)), c64(size))
}

// turn is a loop's turn: the loop's variable, and whether another turn follows.
type turn struct {
	name string
	more value.Value
}

// goesOn says whether what the loop's next turn reads may lie behind what this one
// reads.
func (b *block) goesOn(off *ints.Expr) value.Value {
	if b.turn.more == nil || !off.Has(b.turn.name) {
		return constant.True
	}
	return b.turn.more
}

// widens says whether a buffer's elements may be loaded into a tile.
func widens(from, to kernel.Elem) bool {
	switch to {
	case kernel.F32:
		return from.Float()
	case kernel.I32:
		return from == kernel.I32
	}
	return from == kernel.I64 || from == kernel.I32
}

// adjacent says whether 16 elements are adjacent in memory, in which the
// variable v (r or c) runs up from a multiple of 16: v is the place along a row,
// or n in a buffer of panels, where such strips do not cross panels.
func (b *block) adjacent(buf *kernel.Buf, idx []*ints.Expr, v string) bool {
	nd := len(idx)
	along := nd - 1
	if buf.Pairs {
		return false
	}
	if buf.Panel > 0 {
		along = nd - 2
	}
	for i, e := range idx {
		if i != along && !b.steadyIn(e, v) {
			return false
		}
	}
	e := idx[along]
	if k, n0, ok := e.Coeff(v); ok && k == 1 {
		return buf.Panel == 0 || buf.Panel%lanes == 0 && b.multiple(n0)%lanes == 0
	}
	return e.Op == ints.Mod && buf.Panel%lanes == 0 && b.wholeStrips(e, v)
}

// steadyIn says that e is one number in each strip of adjacent.
func (b *block) steadyIn(e *ints.Expr, v string) bool {
	if !e.Has(v) || e.Op == ints.Div && b.wholeStrips(e, v) {
		return true
	}
	return len(e.Args) > 0 && !slices.ContainsFunc(e.Args, func(a *ints.Expr) bool { return !b.steadyIn(a, v) })
}

// wholeStrips says that e divides, by a number that 16 divides, what rises by one from a
// multiple of 16 along each strip: no strip crosses a multiple of the divisor.
func (b *block) wholeStrips(e *ints.Expr, v string) bool {
	by, known := e.Args[1].IsConst()
	k, from, ok := e.Args[0].Coeff(v)
	return known && by > 0 && by%lanes == 0 && ok && k == 1 && b.multiple(from)%lanes == 0
}

// aligned gives the variables of which nothing is known and that, were they multiples
// of 16, would make strips adjacent; nil where they would not.
func (b *block) aligned(buf *kernel.Buf, idx []*ints.Expr, v string) []string {
	names := map[string]bool{}
	for _, e := range idx {
		e.Vars(names)
	}
	maps.DeleteFunc(names, func(n string, _ bool) bool {
		_, known := b.steps[n]
		return known || n == kernel.Row || n == kernel.Col || b.vars[n] == nil
	})
	unknown := slices.Sorted(maps.Keys(names))
	ok := false
	b.assume(unknown, func() { ok = b.adjacent(buf, idx, v) })
	if !ok {
		return nil
	}
	return unknown
}

// assume runs body where the variables are multiples of 16.
func (b *block) assume(names []string, body func()) {
	for _, n := range names {
		b.steps[n] = lanes
	}
	body()
	for _, n := range names {
		delete(b.steps, n)
	}
}
