package passes

import (
	"maps"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// Where a memory's weights fit into what is near to one block, they stay there: one
// launch, of a block for each head, walks through all whole chunks of a call, reads
// with the weights and writes them where a chunk ends. They are loaded before its
// first chunk and stored behind its last one. Chunks of which a call brings a part
// take the launches that they take elsewhere, with the same sums in the same order.

// runVar counts the chunks of a run: those, each of them whole, that one launch
// walks through.
const runVar = "i"

// runRows is how many rows of a chunk are near at one time, beside the weights.
const runRows = 32

// mostReading bounds the multiply-adds by which one block reads a chunk. Several
// blocks would share them; but between the launches of a chunk's read and write,
// of which there are five or more, a GPU waits for microseconds each time, in which
// one of its blocks does some hundred thousand multiply-adds of f32. Counted, not
// timed.
const mostReading = 1 << 20

// of is the tiling of what belongs to one scan. Where weights stay near one block, so do
// the sums over rows that it takes, and there is room for fewer rows.
func (t Tiling) of(body *ir.Region) Tiling {
	if t.stays(body) {
		return t.near()
	}
	return t
}

func (t Tiling) near() Tiling {
	t.MaxSums, t.RecurRows = 4*t.MaxNear, min(t.RecurRows, runRows)
	return t
}

// stays reports whether the fast weights of a scan fit near a block that walks
// through the rows of its heads; body has its groups of rows.
func (t Tiling) stays(body *ir.Region) bool {
	if t.Resident == 0 || body.Block == 0 || len(body.Lens) > 0 || len(body.Groups) != 1 || body.Groups[0].Kind != "recur" {
		return false
	}
	if slices.ContainsFunc(body.Kept, func(k *ir.Node) bool { return k.Attr.Keep.Block == 0 }) {
		return false // rows that are not summed wait elsewhere
	}
	l, ok := t.walks(body, body.Groups[0], append(slices.Clone(body.Rows), body.Kept...))
	if !ok {
		return false
	}
	near := 0
	for _, st := range fast(body) {
		if st.Type.Elem != elem.F32 {
			return false // stored, it would be rounded
		}
		near += l.elems(st)
	}
	return near > 0 && near <= t.Resident && near*body.Clock.Size <= mostReading
}

// walks lays a group so that a block walks through the rows of its heads.
func (t Tiling) walks(body *ir.Region, g ir.Group, roots []*ir.Node) (*layout, bool) {
	nodes := map[*ir.Node]bool{}
	for _, n := range g.Nodes {
		nodes[n] = true
	}
	l, ok := lay(newFuser(roots, t, true).set(nodes), t, true, ir.RowDim(body.Clock).Name)
	return l, ok && l.byHeads()
}

// runs reports whether whole chunks of a scan run in one launch: its weights stay, and
// the first group of its write, a block for each of the same heads, is all that
// changes states. What is behind that group has only probes to compute.
func (t Tiling) runs(body *ir.Region) bool {
	if !t.stays(body) || !inPlace(body) {
		return false
	}
	w, t := body.Write, t.of(body)
	main := w.Groups[0]
	read, _ := t.walks(body, body.Groups[0], append(slices.Clone(body.Rows), body.Kept...))
	write, ok := t.walks(body, main, w.Ends())
	if !ok || !slices.Equal(read.heads(), write.heads()) {
		return false
	}
	next := func(n *ir.Node) bool {
		i := slices.Index(w.Next, n)
		return i >= 0 && !clears(body, i)
	}
	for i, n := range w.Next {
		if n != nil && n != body.States[i] && !clears(body, i) && !slices.Contains(main.Nodes, n) {
			return false
		}
	}
	// A state is that of the last chunk when probes are computed.
	changed := func(n *ir.Node) bool {
		for len(n.Args) > 0 && (alias(n) || n.Op.Name == "slice" || n.Op.Name == "expand") && !slices.Contains(main.Nodes, n) {
			n = n.Args[0]
		}
		return next(n) || slices.Contains(body.States, n)
	}
	for _, g := range w.Groups[1:] {
		if slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return slices.ContainsFunc(n.Args, changed) }) {
			return false
		}
	}
	return !slices.ContainsFunc(w.Probes, func(p ir.Probe) bool { return changed(p.Value) })
}

// byHeads reports whether a block has one index, or all, of every dimension that is
// not walked through.
func (l *layout) byHeads() bool {
	return !slices.ContainsFunc(l.axes, func(a axis) bool { return a.kind == axisRows || a.kind == axisCols })
}

// heads are the dimensions that tell blocks apart.
func (l *layout) heads() (names []string) {
	for _, a := range l.axes {
		if a.kind == axisOne && a.dim.Size > 1 {
			names = append(names, a.dim.Name)
		}
	}
	return names
}

// elems is how much of a value without rows a block has.
func (l *layout) elems(n *ir.Node) int {
	elems := 1
	for _, d := range n.Type.Dims {
		if a := l.find(d.Name); a == nil || a.kind != axisOne {
			elems *= d.Size
		}
	}
	return elems
}

// fast are the states that a scan's rows read.
func fast(body *ir.Region) []*ir.Node {
	below := ir.Postorder(body.Groups[0].Nodes...)
	return slices.DeleteFunc(slices.Clone(body.States), func(st *ir.Node) bool { return !slices.Contains(below, st) })
}

// runSlots are what a turn knows of the run that begins with it: how many chunks it
// has, 0 for a turn that begins none; and whether the turn is one by itself.
func runSlots(chunk *ir.Clock) []plan.Slot {
	v, size := ints.V, ints.C(int64(chunk.Size))
	and := func(a, b *ints.Expr) *ints.Expr { return ints.Bin(ints.And, a, b) }
	pos, n := v(posName(chunk.Of)), v(rowsName(chunk.Of))
	whole := and(ints.Bin(ints.Eq, v("at"), ints.C(0)), ints.Bin(ints.Eq, v("count"), size))
	// The call's first whole chunk begins less than a chunk behind its first row.
	first := and(whole, ints.Bin(ints.Lt, v("row"), size))
	return []plan.Slot{
		{Name: "runs", Expr: ints.If(first, ints.Quo(ints.Minus(ints.Plus(pos, n), v("start")), size), ints.C(0))},
		{Name: "alone", Expr: ints.No(whole)},
	}
}

// runs lowers the whole chunks of a call; sc is the scope of the scan's loop, whose
// steps are then for the other turns.
func (sc *scope) runs(body *ir.Region) {
	lw, w := sc.lw, body.Write
	seq := ir.RowDim(body.Clock).Name
	alone := &scope{steps: sc.steps}
	sc.steps = nil
	sc.when("alone", alone)

	rs := &scope{lw: lw, outer: sc, loop: sc.loop, scan: sc.scan, stored: maps.Clone(sc.stored), next: maps.Clone(sc.next), users: sc.users, root: sc.root, run: true}
	wr := rs.ends(nil, w.Ends())
	wr.run, wr.same = true, map[*ir.Node]*ir.Node{}
	for _, p := range w.Params {
		for _, k := range body.Kept {
			if k.Attr.Name == p.Attr.Name {
				wr.same[p] = k.Args[0]
			}
		}
	}
	for i, n := range w.Next {
		if n != nil && n != body.States[i] && !clears(body, i) {
			wr.next[n] = lw.states[body.States[i].Attr.Name]
		}
	}
	var probes []*store
	for _, s := range sc.probes {
		at := *s
		at.shift = ints.Plus(s.shift, ints.V(runVar))
		probes = append(probes, &at)
	}
	wr.show(body, probes)

	// The rows that a state has are the stream's last ones, whatever calls brought them.
	keep := &scope{lw: lw, outer: rs, loop: sc.loop, scan: sc.scan, stored: map[*ir.Node]*store{}, next: map[*ir.Node]*store{}, users: sc.users, root: sc.root, run: true, ending: true}

	k := rs.kernel("run")
	k.inRun = true
	read := rs.groupBlock(k, body.Groups[0], seq, nil)
	known := map[tileKey]*kernel.Tile{} // of states and weights
	for key, t := range read.tiles {
		if !read.in[key.n] && read.phaseOf(key.n) == before {
			known[key] = t
		}
	}
	write := wr.groupBlock(k, w.Groups[0], seq, known)
	k.k.Parts = []kernel.Part{{Grid: read.grid, Body: k.settle(body, append(read.program(), write.program()...))}}
	k.launch()
	k = keep.kernel("copy")
	for _, kn := range body.Kept {
		waiting := *lw.waiting(kn)
		waiting.shift = ints.C(0)
		k = keep.copyPart(k, kn.Args[0], &waiting)
	}
	k.launch()
	rs.steps = append(rs.steps, keep.steps...)
	wr.walk(body, w.Groups[1:])
	wr.shown(body, probes)
	rs.steps = append(rs.steps, wr.steps...)
	sc.when("runs", rs)
}

// settle gives the loop over a run's chunks, turn being what is done for one, with
// what no turn changes before it, and states that stay in tiles loaded before it and
// stored behind it.
func (k *kernelBuilder) settle(body *ir.Region, turn []kernel.Stmt) []kernel.Stmt {
	loop := &kernel.For{Var: runVar, Lo: ints.C(0), Hi: k.slot("runs"), Step: 1, Stages: 1}
	var ahead, behind []kernel.Stmt
	homes := map[*kernel.Buf]*kernel.Load{}
	for _, st := range fast(body) {
		if b, ok := k.own(k.sc.lw.states[st.Attr.Name].buf); ok && oneTile(turn, b) {
			homes[b] = nil
		}
	}
	same := invariant(turn)
	for _, s := range turn {
		if same[s] {
			ahead = append(ahead, s)
			continue
		}
		switch s := s.(type) {
		case *kernel.Load:
			home, stays := homes[s.Buf]
			switch {
			case !stays:
			case home == nil:
				homes[s.Buf] = s
				ahead = append(ahead, s)
				continue
			case sameIdx(s.Idx, home.Idx):
				loop.Body = append(loop.Body, &kernel.Map{Dst: s.Dst, Expr: kernel.R(home.Dst), Note: s.Note})
				continue
			default:
				loop.Body = append(loop.Body, &kernel.Transpose{Dst: s.Dst, Src: home.Dst, Note: s.Note})
				continue
			}
		case *kernel.Store:
			if home := homes[s.Buf]; home != nil {
				if sameIdx(s.Idx, home.Idx) {
					loop.Body = append(loop.Body, &kernel.Map{Dst: home.Dst, Expr: kernel.R(s.Src), Note: s.Note})
				} else {
					loop.Body = append(loop.Body, &kernel.Transpose{Dst: home.Dst, Src: s.Src, Note: s.Note})
				}
				behind = append(behind, &kernel.Store{Buf: s.Buf, Idx: home.Idx, Src: home.Dst, Note: s.Note})
				continue
			}
		}
		loop.Body = append(loop.Body, s)
	}
	return slices.Concat(ahead, []kernel.Stmt{loop}, behind)
}

// own gives the kernel's one view of a plan buffer.
func (k *kernelBuilder) own(buf int) (b *kernel.Buf, ok bool) {
	for i, have := range k.bufs {
		if have == buf {
			if b != nil {
				return nil, false
			}
			b = k.k.Bufs[i]
		}
	}
	return b, b != nil
}

// invariant finds the statements of a turn that give the same in every turn: they
// read what nobody writes, and what they give is a vector or is read by such alone,
// so that no matrix stays near for it.
func invariant(turn []kernel.Stmt) map[kernel.Stmt]bool {
	written := map[*kernel.Tile]int{}
	kernel.Each(turn, func(s kernel.Stmt) {
		_, writes := kernel.Touches(s)
		for _, t := range writes {
			written[t]++
		}
	})
	same, given := map[kernel.Stmt]bool{}, map[*kernel.Tile]bool{}
	for _, s := range turn {
		switch s := s.(type) {
		case *kernel.Load:
			turns := slices.ContainsFunc(s.Idx, func(e *ints.Expr) bool { return e.Has(runVar) })
			same[s] = !s.Buf.Write && !turns && s.Gather == nil
		case *kernel.Map, *kernel.Reduce, *kernel.Transpose:
			m, maps := s.(*kernel.Map)
			reads, _ := kernel.Touches(s)
			same[s] = !(maps && m.Expr.Has(runVar)) && !slices.ContainsFunc(reads, func(t *kernel.Tile) bool { return !given[t] })
		}
		_, writes := kernel.Touches(s)
		for _, t := range writes {
			same[s] = same[s] && written[t] == 1
			given[t] = same[s]
		}
	}
	for again := true; again; {
		again = false
		needed := map[*kernel.Tile]bool{} // in a turn
		kernel.Each(turn, func(s kernel.Stmt) {
			if same[s] {
				return
			}
			reads, _ := kernel.Touches(s)
			for _, t := range reads {
				needed[t] = true
			}
		})
		for _, s := range turn {
			if !same[s] {
				continue
			}
			if _, writes := kernel.Touches(s); needed[writes[0]] && writes[0].Rows > 1 && writes[0].Cols > 1 {
				same[s], again = false, true
			}
		}
	}
	return same
}

// oneTile reports whether the statements load and store a buffer outside all loops
// and conditions alone, as one tile or as that turned.
func oneTile(list []kernel.Stmt, b *kernel.Buf) bool {
	var idx, turned []*ints.Expr
	uses := 0
	for _, s := range list {
		buf, at := access(s)
		if buf != b {
			continue
		}
		uses++
		if idx == nil {
			idx = at
			swap := map[string]*ints.Expr{kernel.Row: ints.V(kernel.Col), kernel.Col: ints.V(kernel.Row)}
			for _, e := range at {
				turned = append(turned, e.Subst(swap))
			}
		}
		if !sameIdx(at, idx) && !sameIdx(at, turned) {
			return false
		}
	}
	kernel.Each(list, func(s kernel.Stmt) {
		if buf, _ := access(s); buf == b {
			uses--
		}
	})
	return uses == 0
}

// access is what a statement loads or stores.
func access(s kernel.Stmt) (*kernel.Buf, []*ints.Expr) {
	switch s := s.(type) {
	case *kernel.Load:
		return s.Buf, s.Idx
	case *kernel.Store:
		return s.Buf, s.Idx
	}
	return nil, nil
}

func sameIdx(a, b []*ints.Expr) bool { return slices.EqualFunc(a, b, ints.Equal) }
