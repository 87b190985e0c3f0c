package amd64

import (
	"slices"

	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// The blocks that differ in the last axis alone are a row of blocks. A worker
// runs the part of a row that is its own from firstBlock to lastBlock.
const firstBlock, lastBlock = "first block", "last block"

// rowOf gives a part's body as the program of a row of blocks: statements that
// do not depend on the last axis, and then a loop over it.
func rowOf(p kernel.Part) []kernel.Stmt {
	if len(p.Grid) == 0 {
		return p.Body
	}
	axis := p.Grid[len(p.Grid)-1]
	uses := usages(p.Body)
	var once, each []kernel.Stmt
	kept := map[*kernel.Tile]bool{} // the same in the whole row
	steady := func(es ...*ints.Expr) bool {
		return !slices.ContainsFunc(es, func(e *ints.Expr) bool { return e != nil && e.Has(axis.Var) })
	}
	for _, s := range p.Body {
		w, reads := effects(s)
		ok := w != nil && uses[w].writes == 1 && steady(w.ValidRows, w.ValidCols)
		for _, r := range reads {
			ok = ok && kept[r.tile]
		}
		switch s := s.(type) {
		case *kernel.Load:
			ok = ok && !s.Buf.Write && steady(s.Idx...)
		case *kernel.Map:
			ok = ok && steady(indices(s.Expr)...)
		case *kernel.Dot, *kernel.Reduce, *kernel.Transpose, *kernel.Slice:
		default:
			ok = false
		}
		if ok {
			kept[w] = true
			once = append(once, s)
		} else {
			each = append(each, s)
		}
	}
	return append(once, &kernel.For{Var: axis.Var, Lo: ints.V(firstBlock), Hi: ints.V(lastBlock), Step: axis.Step, Body: each})
}

// indices gives the integer expressions within a map's expression.
func indices(v *kernel.Val) (es []*ints.Expr) {
	if v.I != nil {
		es = append(es, v.I)
	}
	for _, a := range v.Args {
		es = append(es, indices(a)...)
	}
	return es
}

// grid runs blocks [from, to) of a part, the last axis running fastest. sizes
// are the numbers of blocks along the axes, of which the first begins at base.
func (b *block) grid(axes []kernel.Axis, sizes []value.Value, base, from, to value.Value, body []kernel.Stmt) {
	if len(axes) == 0 {
		b.count(from, to, 1, func(value.Value) { b.list(body) })
		return
	}
	outer := axes[0].Var
	// bind names the axes' values, given their numbers, and then runs.
	bind := func(names []string, at []value.Value, axes []kernel.Axis, run func()) {
		for i := range names {
			next, a := run, axes[i]
			extent := a.Extent.Interval(b.ranges)
			step := int64(a.Step)
			whole := (max(0, extent.Hi) + step - 1) / step * step // where a block behind the last would begin
			v, r := b.mul(at[i], c64(step)), ints.Range{Lo: 0, Hi: whole}
			if _, known := constInt(base); !known && names[i] == outer {
				v, step = b.add(base, v), gcd(step, int64(b.machine.Micro[0].Rows))
			}
			if whole <= step && names[i] != lastBlock { // one block
				v, r, step = c64(0), ints.Range{}, 0
			}
			run = func() { b.bind(names[i], v, r, step, next) }
		}
		run()
	}
	last := len(axes) - 1
	var rows value.Value = c64(1)
	for _, n := range sizes[:last] {
		rows = b.mul(rows, n)
	}
	// run goes through blocks [from, to) of the columns [first, first+length).
	run := func(from, to, first, length value.Value) {
		begin := b.bin(udiv, from, length)
		end := b.bin(udiv, b.add(to, b.sub(length, c64(1))), length)
		b.count(begin, b.choose(b.icmp(predicate[ints.Lt], from, to), end, begin), 1, func(row value.Value) {
			start := b.mul(row, length)
			at := []value.Value{b.add(first, b.smax(b.sub(from, start), c64(0))), b.add(first, b.smin(b.sub(to, start), length))}
			names := []string{firstBlock, lastBlock}
			of := []kernel.Axis{axes[last], axes[last]}
			for i := last - 1; i >= 0; i-- {
				n := row
				if i > 0 {
					n, row = b.bin(urem, row, sizes[i]), b.bin(udiv, row, sizes[i])
				}
				names, at, of = append(names, axes[i].Var), append(at, n), append(of, axes[i])
			}
			bind(names, at, of, func() { b.list(body) })
		})
	}
	width := b.swath(axes[last], body)
	if width == 0 {
		run(from, to, c64(0), b.smax(sizes[last], c64(1)))
		return
	}
	b.count(c64(0), sizes[last], width, func(first value.Value) {
		length := b.smin(c64(width), b.sub(sizes[last], first))
		before := b.mul(first, rows)
		within := func(n value.Value) value.Value {
			return b.smin(b.smax(b.sub(n, before), c64(0)), b.mul(rows, length))
		}
		run(within(from), within(to), first, length)
	})
}

// nearWeights is how many bytes of weights a worker goes through before it
// comes back to the first of them for other rows: they should stay in L2.
const nearWeights = 1 << 20

// swath is the number of neighbouring blocks along the last axis that read as
// many weights as fit near; 0 where all do. A part's blocks go by in swaths that
// wide, so that its other rows find the weights there.
func (b *block) swath(axis kernel.Axis, body []kernel.Stmt) int64 {
	bytes, extent := int64(0), axis.Extent.Interval(b.ranges)
	// To lay out rows again for each swath is dearer than weights from L3.
	laidOut, once := map[*kernel.Tile]bool{}, map[*kernel.Tile]bool{}
	for _, s := range body {
		if w, _ := effects(s); w != nil {
			once[w] = true
		}
	}
	statements(body, func(s kernel.Stmt) {
		if d, ok := s.(*kernel.Dot); ok && (b.machine.squared(d) || b.machine.inStrips() && extent.Hi >= sharing) {
			left, right, _, _ := operands(d)
			laidOut[right] = laidOut[right] || once[left]
		}
	})
	statements(body, func(s kernel.Stmt) {
		if l, ok := s.(*kernel.Load); ok && l.Buf.Panel > 0 && (!laidOut[l.Dst] || l.Buf.Elem.Quantised()) && slices.ContainsFunc(l.Idx, func(e *ints.Expr) bool { return e.Has(axis.Var) }) {
			_, k := l.Buf.Matrix()
			bytes += l.Buf.Elem.Bytes(int64(l.Dst.Rows)*int64(l.Dst.Cols), k)
		}
	})
	if bytes == 0 || extent.Hi <= 0 || extent.Hi/int64(axis.Step)*bytes <= nearWeights {
		return 0
	}
	return max(1, nearWeights/bytes)
}
