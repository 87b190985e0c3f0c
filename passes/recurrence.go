package passes

import (
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// recurCols is how many columns of a recurrence one block walks down.
const recurCols = 128

// recurrence lowers y_i = a_i·y_(i-1) + b_i (a running sum where a is 1): a
// block for some columns walks down the rows of the call, one by one, with the
// last y in a tile. Between calls it lies in a state; before the first row of
// the stream, or of the chunk, it is 0. The order of the rows is that of the
// stream whatever the cuts, so the bits are too.
func (sc *scope) recurrence(n *ir.Node) {
	rows := n.Type.Dims[0]
	l := &layout{kind: n.Op.Name}
	for i, d := range n.Type.Dims {
		a := axis{dim: d, kind: axisOne}
		switch {
		case i == 0:
			a.kind = axisSeq
		case i == len(n.Type.Dims)-1:
			a.kind, a.step = axisCols, recurCols
		}
		l.axes = append(l.axes, a)
	}
	k := sc.kernel(n.Op.Name)
	b := sc.block(k, l, map[*ir.Node]bool{n: true}, "")
	l.axes[0].kind = axisOne // a tile has one row, that of the walk
	rd, cd := b.orient(n)
	at := note(n)

	// What has no rows is read once.
	for _, a := range n.Args {
		if a.Type.Find(rows.Name) < 0 {
			b.value(a, rd, cd)
		}
	}
	y := b.fresh(n, rd, cd)
	s := sc.lw.lastRow(n)
	state := sc.index(k, s, ir.Type{Dims: n.Type.Dims[1:]}, b.indices(n, rd, cd))
	first := ints.Bin(ints.Eq, sc.rowNumber(k, rows.Clock), ints.C(0))
	b.emit(before, &kernel.Load{Dst: y, Buf: k.buf(s, true), Idx: state, Note: at})
	b.emit(before, &kernel.Map{Dst: y, Expr: kernel.F(kernel.Choose, kernel.TestOf(first), kernel.N(0), kernel.R(y)), Note: at})
	head := b.code[before]

	b.code[before] = nil
	next := kernel.R(y)
	if v, ok := constantBelow(n.Args[0]); !ok || v != 1 {
		next = kernel.F(kernel.Mul, b.value(n.Args[0], rd, cd), next)
	}
	next = kernel.F(kernel.Add, next, b.value(n.Args[1], rd, cd))
	b.emit(before, &kernel.Map{Dst: y, Expr: next, Note: at})
	for _, to := range sc.destination(n, true) {
		idx := sc.index(k, to, n.Type, b.indices(n, rd, cd))
		b.emit(before, &kernel.Store{Buf: k.buf(to, true), Idx: idx, Src: y, Note: at})
	}
	walk := &kernel.For{Var: "s", Lo: ints.C(0), Hi: sc.rowCount(k, rows.Clock), Step: 1, Stages: 1, Body: b.code[before]}

	b.code[before] = append(head, walk)
	b.last(&kernel.Store{Buf: k.buf(s, true), Idx: state, Src: y, Note: at})
	b.end()
	k.launch()
}

// lastRow gives the state in which a recurrence's last row waits for the next.
func (lw *lowerer) lastRow(n *ir.Node) *store {
	key := "last/" + n.Attr.Name
	if s, ok := lw.states[key]; ok {
		return s
	}
	s, dims := lw.place(ir.Type{Dims: n.Type.Dims[1:]})
	s.buf = lw.buffer(plan.Buffer{Name: n.Attr.Name + ".last", Class: plan.State, Elem: elem.F32, Dims: dims, From: -1})
	lw.states[key] = s
	return s
}
