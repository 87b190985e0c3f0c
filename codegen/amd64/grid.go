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
// are the numbers of blocks along the axes.
func (b *block) grid(axes []kernel.Axis, sizes []value.Value, from, to value.Value, body []kernel.Stmt) {
	if len(axes) == 0 {
		b.count(from, to, 1, func(value.Value) { b.list(body) })
		return
	}
	// bind names the axes' values, given their numbers, and then runs.
	bind := func(names []string, at []value.Value, axes []kernel.Axis, run func()) {
		for i := range names {
			next, a := run, axes[i]
			extent := a.Extent.Interval(b.ranges)
			step := int64(a.Step)
			whole := (max(0, extent.Hi) + step - 1) / step * step // where a block behind the last would begin
			v, r := b.mul(at[i], c64(step)), ints.Range{Lo: 0, Hi: whole}
			if whole <= step && names[i] != lastBlock { // one block
				v, r, step = c64(0), ints.Range{}, 0
			}
			run = func() { b.bind(names[i], v, r, step, next) }
		}
		run()
	}
	last := len(axes) - 1
	length := b.smax(sizes[last], c64(1))
	first := b.bin(udiv, from, length)
	end := b.bin(udiv, b.add(to, b.sub(length, c64(1))), length)
	b.count(first, b.choose(b.icmp(predicate[ints.Lt], from, to), end, first), 1, func(row value.Value) {
		start := b.mul(row, length)
		at := []value.Value{b.smax(b.sub(from, start), c64(0)), b.smin(b.sub(to, start), length)}
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
