package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// Lowering of what runs when blocks of a chunk's rows, or the chunk, are complete.

// blockSlots are what a turn knows of the blocks of its chunk: the rows before
// those that it adds, how many these are, how many of them earlier calls have
// kept; its last rows, which it keeps, and those before them; which steps run;
// where the rows that it adds begin, lined up or in the call.
func blockSlots(body *ir.Region) []plan.Slot {
	size := body.Clock.Size
	v, and := ints.V, func(a, b *ints.Expr) *ints.Expr { return ints.Bin(ints.And, a, b) }
	end := ints.Plus(v("at"), v("count"))
	some, done := ints.Bin(ints.Lt, ints.C(0), v("added")), ints.Bin(ints.Eq, end, ints.C(int64(size)))
	fresh := ints.Bin(ints.Eq, v("kept"), ints.C(0))
	return []plan.Slot{
		{Name: "border", Expr: ir.Added(v("at"), size, body.Block)},
		{Name: "added", Expr: ints.Minus(ir.Added(end, size, body.Block), v("border"))},
		{Name: "kept", Expr: ints.Minus(v("at"), v("border"))},
		{Name: "last", Expr: ints.Least(v("count"), ints.C(int64(body.Block)))},
		{Name: "skip", Expr: ints.Minus(v("count"), v("last"))},
		{Name: "adds", Expr: some},
		{Name: "lines", Expr: and(some, ints.No(fresh))},
		{Name: "direct", Expr: and(some, fresh)},
		{Name: "first", Expr: ints.If(fresh, v("row"), ints.C(0))},
		{Name: "goes", Expr: and(some, ints.No(done))},
		{Name: "clears", Expr: and(done, ints.Bin(ints.Lt, ints.C(0), v("border")))},
	}
}

// blockSteps lowers what becomes of the rows that a scan keeps for its sums. A
// state has the stream's last rows, as many as a block's. A turn that completes
// blocks lines up those of earlier calls and its own in another buffer, so that
// one walk over it adds them all. Where earlier calls have kept none, the walk is
// over the call's own rows, if they lie there as they would be lined up.
func (sc *scope) blockSteps(body *ir.Region) {
	lw, chunk := sc.lw, body.Clock
	reads := sc.steps
	sc.steps = nil
	rows, lined, inCall := map[*ir.Node]*store{}, map[*ir.Node]*store{}, map[int]int{}
	var asLined, scattered []*ir.Node
	keep := sc.branch()
	keep.ending = true
	keepCopy := keep.kernel("copy")
	for _, kn := range body.Kept {
		if kn.Attr.Keep.Block == 0 {
			continue
		}
		x, waiting := kn.Args[0], lw.waiting(kn)
		keepCopy = keep.copyPart(keepCopy, x, waiting.from(ints.V("at")))
		line := &store{kind: storeRows, rows: true, dims: []int{body.Block - 1 + min(chunk.Size, lw.clockCap(chunk)), waiting.dims[1]}}
		line.buf = lw.buffer(plan.Buffer{Name: lw.name + kn.Attr.Name + ".lined", Class: plan.Temp, Elem: storeElem(x.Type.Elem), Dims: line.dims})
		lined[kn] = line
		read := line.from(ints.C(0))
		if buf, ok := sc.rowsOf(x, line); ok {
			inCall[line.buf] = buf
			read = line.from(ints.V("first"))
			read.dims = []int{0, line.dims[1]} // either buffer's
			asLined = append(asLined, kn)
		} else {
			scattered = append(scattered, kn)
		}
		for _, p := range body.Write.Params {
			if p.Attr.Name == kn.Attr.Name {
				rows[p] = read
			}
		}
	}
	sc.when("adds", sc.lineUp(scattered, lined))
	sc.when("lines", sc.lineUp(asLined, lined))
	lines := sc.steps
	keepCopy.launch()
	sc.steps = nil
	add := sc.ends(rows, body.Write.Adds())
	for i, n := range body.Write.Sums {
		if n != nil {
			add.next[n] = lw.states[body.States[i].Attr.Name]
		}
	}
	add.walk(body, body.Write.Adding)
	sc.when("goes", add)
	adds := either(sc.steps, inCall)
	sc.steps = nil
	sc.write(body, rows)
	writes := either(sc.steps, inCall)
	// A chunk that goes on leaves its states as they are: sums then come first, and of what
	// is read, which is in smaller pieces, who is free first takes more.
	if early := slices.Concat(lines, adds); lw.independent(early, reads) && lw.independent(adds, keep.steps) {
		sc.steps = slices.Concat(early, reads, keep.steps, writes)
	} else {
		sc.steps = slices.Concat(reads, lines, keep.steps, adds, writes)
	}
	// Sums are 0 between chunks; where a turn brought a whole chunk, they still are.
	clear := sc.branch()
	k := clear.kernel("commit")
	for i := range body.Write.Sums {
		if clears(body, i) {
			k = clear.copyPart(k, body.Write.Next[i], lw.states[body.States[i].Attr.Name])
		}
	}
	k.launch()
	sc.when("clears", clear)
}

// branch is a scope for steps beside sc's own.
func (sc *scope) branch() *scope {
	return &scope{lw: sc.lw, outer: sc, loop: sc.loop, scan: sc.scan, stored: map[*ir.Node]*store{}, next: map[*ir.Node]*store{}, users: sc.users, root: sc.root}
}

// from is the store with its first row, or element, elsewhere.
func (s store) from(shift *ints.Expr) *store {
	s.shift = shift
	return &s
}

// lineUp copies the rows that earlier calls have kept, and behind them a turn's own.
func (sc *scope) lineUp(kept []*ir.Node, to map[*ir.Node]*store) *scope {
	own, earlier := sc.branch(), sc.branch()
	earlier.many = "kept"
	k := own.kernel("copy")
	for _, kn := range kept {
		earlier.stored[kn] = sc.lw.waiting(kn).from(ints.V("border"))
		k = earlier.copyPart(k, kn, to[kn].from(ints.C(0)))
		k = own.copyPart(k, kn.Args[0], to[kn].from(ints.V("kept")))
	}
	k.launch()
	return own
}

// rowsOf gives the buffer in which a turn's rows of n lie as they would in a line,
// from the row "row" on.
func (sc *scope) rowsOf(n *ir.Node, line *store) (buf int, ok bool) {
	k := &kernelBuilder{sc: sc, k: &kernel.Kernel{}, names: map[string]string{}} // for its names
	idx := map[string]*ints.Expr{}
	for _, d := range n.Type.Dims {
		idx[d.Name] = ints.V("of." + d.Name)
	}
	s, at := sc.address(k, n, idx)
	_, flat := flatten(ir.Type{Dims: n.Type.Dims[1:]}, idx)
	asLine := []*ints.Expr{ints.Plus(k.slot("row"), idx[n.Type.Dims[0].Name]), flat}
	of := func(s *store) plan.Buffer { return sc.lw.plan.Buffers[s.buf] }
	return s.buf, sameIdx(at, asLine) && s.dims[1] == line.dims[1] && of(s).Elem == of(line).Elem
}

// independent says that no launch of some steps writes a buffer that one of others uses.
func (lw *lowerer) independent(some, others []plan.Step) bool {
	type use struct{ read, write map[int]bool }
	uses := func(steps []plan.Step) use {
		u := use{map[int]bool{}, map[int]bool{}}
		var look func(steps []plan.Step)
		look = func(steps []plan.Step) {
			for _, s := range steps {
				look(s.Steps)
				if s.Kind != plan.Launch {
					continue
				}
				k := lw.kernels[slices.IndexFunc(lw.kernels, func(k *kernel.Kernel) bool { return k.Name == s.Kernel })]
				for i, b := range s.Bufs {
					u.read[b] = true
					u.write[b] = u.write[b] || k.Bufs[i].Write
				}
			}
		}
		look(steps)
		return u
	}
	a, b := uses(some), uses(others)
	meet := func(w, r map[int]bool) (yes bool) {
		for buf := range w {
			yes = yes || w[buf] && r[buf]
		}
		return yes
	}
	return !meet(a.write, b.read) && !meet(b.write, a.read)
}

// either gives launches that read lined up rows another form, which reads a call's
// rows instead, by the buffers of these.
func either(steps []plan.Step, inCall map[int]int) (out []plan.Step) {
	for _, s := range steps {
		s.Steps = either(s.Steps, inCall)
		direct := s
		direct.Bufs = slices.Clone(s.Bufs)
		for i, b := range s.Bufs {
			if buf, ok := inCall[b]; ok {
				direct.Bufs[i] = buf
			}
		}
		if slices.Equal(direct.Bufs, s.Bufs) {
			out = append(out, s)
			continue
		}
		out = append(out, plan.Step{Kind: plan.If, Note: "direct", Steps: []plan.Step{direct}}, plan.Step{Kind: plan.If, Note: "lines", Steps: []plan.Step{s}})
	}
	return out
}

// when runs the steps of a branch where a slot is not 0.
func (sc *scope) when(slot string, b *scope) {
	if len(b.steps) > 0 {
		sc.steps = append(sc.steps, plan.Step{Kind: plan.If, Note: slot, Steps: b.steps})
	}
}

// waiting gives the buffer of the last rows, which are written in turn.
func (lw *lowerer) waiting(kn *ir.Node) *store {
	s, ok := lw.states[kn.Attr.Name]
	if !ok {
		_, dims := lw.place(kn.Args[0].Type)
		dims[0] = kn.Attr.Keep.Block
		s = &store{kind: storeRows, dims: dims, rows: true, ring: dims[0]}
		s.buf = lw.buffer(plan.Buffer{Name: kn.Attr.Name, Class: plan.State, Elem: storeElem(kn.Type.Elem), Dims: dims, From: -1})
		lw.states[kn.Attr.Name] = s
	}
	return s
}

// ends is a scope for what runs where blocks or a chunk are complete; rows says
// where the rows of the blocks lie.
func (sc *scope) ends(rows map[*ir.Node]*store, roots []*ir.Node) *scope {
	in := &scope{lw: sc.lw, outer: sc, loop: sc.loop, scan: sc.scan, stored: map[*ir.Node]*store{}, next: map[*ir.Node]*store{}, users: map[*ir.Node][]*ir.Node{}, root: map[*ir.Node]bool{}, blocks: rows != nil}
	for n, s := range rows {
		in.stored[n] = s
	}
	in.watch(roots)
	return in
}

// walk lowers the groups of a write; those that sum over rows walk through them.
// Sums by themselves wait until no other group can run without one of them: those
// that can be taken then share a launch.
func (sc *scope) walk(body *ir.Region, groups []ir.Group) {
	needs := make([][]int, len(groups)) // of each group, those that it follows
	for i, g := range groups {
		below := ir.Postorder(g.Nodes...)
		for j, o := range groups {
			if i != j && slices.ContainsFunc(o.Nodes, func(n *ir.Node) bool { return slices.Contains(below, n) }) {
				needs[i] = append(needs[i], j)
			}
		}
	}
	done := make([]bool, len(groups))
	ready := func(alone bool) (out []int) {
		for i, g := range groups {
			if !done[i] && (adds(g) && len(g.Nodes) == 1) == alone && !slices.ContainsFunc(needs[i], func(j int) bool { return !done[j] }) {
				out = append(out, i)
			}
		}
		return out
	}
	launch := func(now []int) {
		for _, i := range now {
			sc.needs(groups[i].Nodes)
		}
		k := sc.kernel("write")
		for _, i := range now {
			sc.groupPart(k, groups[i], ir.RowDim(body.Clock).Name)
			done[i] = true
		}
		k.launch()
	}
	for range groups {
		if now := ready(false); len(now) > 0 {
			if i := now[0]; groups[i].Kind == "recur" || adds(groups[i]) {
				launch(now[:1])
			} else {
				sc.groups(groups[i : i+1])
				done[i] = true
			}
			continue
		}
		if now := ready(true); len(now) > 0 {
			launch(now[:min(len(now), kernel.MaxParts)])
		}
	}
}

// adds reports whether a group sums over a chunk's rows.
func adds(g ir.Group) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return n.Op.Name == "accumulate" })
}

// clears reports whether a state is a sum that each chunk begins at 0.
func clears(body *ir.Region, i int) bool {
	w := body.Write
	if i >= len(w.Sums) || w.Sums[i] == nil || w.Next[i] == nil {
		return false
	}
	zero, ok := constantBelow(w.Next[i])
	return ok && zero == 0
}

// changes reports whether a is a state that the write changes, or another way to
// address one.
func changes(body *ir.Region, a *ir.Node) bool {
	for len(a.Args) > 0 && (alias(a) || a.Op.Name == "slice" || a.Op.Name == "expand") {
		a = a.Args[0]
	}
	i := slices.Index(body.States, a)
	return i >= 0 && body.Write.Next[i] != nil && !clears(body, i)
}

// isOld reports whether n is what a state was, or a part of that, which no group
// computes: it is read where the state lies.
func isOld(body *ir.Region, n *ir.Node) bool {
	for _, g := range body.Write.Groups {
		if slices.Contains(g.Nodes, n) {
			return false
		}
	}
	if alias(n) || n.Op.Name == "slice" || n.Op.Name == "expand" {
		return isOld(body, n.Args[0])
	}
	return slices.Contains(body.States, n)
}

// inPlace reports whether the write's first group stores its results into the states
// themselves, at its end: nothing else still reads the old ones.
func inPlace(body *ir.Region) bool {
	groups := body.Write.Groups
	if len(groups) == 0 || groups[0].Kind != "recur" {
		return false
	}
	for _, g := range groups[1:] {
		for _, n := range g.Nodes {
			if slices.ContainsFunc(n.Args, func(a *ir.Node) bool { return changes(body, a) }) {
				return false
			}
		}
	}
	return true
}

// placeProbes gives a write's probes their buffers, of one element a turn.
func (sc *scope) placeProbes(body *ir.Region) (to []*store) {
	lw, l := sc.lw, sc.lw.plan.Loops[sc.loop]
	for _, p := range body.Write.Probes {
		b := lw.buffer(plan.Buffer{Name: lw.name + sc.scan.Attr.Name + "." + p.Name, Class: plan.Probe, Elem: elem.F32, Dims: []int{l.Max}, Loop: l.Name})
		to = append(to, &store{kind: storeFlat, buf: b, dims: []int{l.Max}, shift: ints.V("turn")})
	}
	return to
}

// show has what computes a probe's value store it to its place.
func (sc *scope) show(body *ir.Region, to []*store) {
	for i, p := range body.Write.Probes {
		if sc.next[p.Value] == nil {
			sc.next[p.Value] = to[i]
		}
	}
}

// shown copies the probes that lie elsewhere.
func (sc *scope) shown(body *ir.Region, to []*store) {
	for i, p := range body.Write.Probes {
		if have := sc.stored[p.Value]; have == nil || have.buf != to[i].buf {
			sc.copyTo(p.Value, to[i])
		}
	}
}

// write lowers what runs when a chunk is complete.
func (sc *scope) write(body *ir.Region, rows map[*ir.Node]*store) {
	w := body.Write
	lw := sc.lw
	wr := sc.ends(rows, w.Ends())
	wr.show(body, sc.probes)
	if inPlace(body) {
		for i, n := range w.Next {
			if n != nil && wr.next[n] == nil && !clears(body, i) {
				wr.next[n] = lw.states[body.States[i].Attr.Name]
			}
		}
	}
	// What one state was becomes another one: it is set aside, before it changes.
	for i, n := range w.Next {
		if n != nil && n != body.States[i] && isOld(body, n) && changes(body, n) && wr.stored[n] == nil {
			s, dims := lw.place(n.Type)
			s.buf = lw.buffer(plan.Buffer{Name: fmt.Sprintf("%sv%d", lw.name, n.ID), Class: plan.Temp, Elem: storeElem(n.Type.Elem), Dims: dims})
			wr.copyTo(n, s)
			wr.stored[n] = s
		}
	}
	wr.walk(body, w.Groups)
	for i, n := range w.Next { // before any state changes
		if n != nil && n != body.States[i] && !clears(body, i) {
			wr.needs([]*ir.Node{{Args: []*ir.Node{n}}})
		}
	}
	k := wr.kernel("commit")
	for i, n := range w.Next {
		if n == nil || n == body.States[i] || clears(body, i) {
			continue
		}
		s := lw.states[body.States[i].Attr.Name]
		if have := wr.stored[n]; have == nil || have.buf != s.buf {
			k = wr.copyPart(k, n, s)
		}
	}
	k.launch()
	wr.shown(body, sc.probes)
	sc.when("done", wr)
}
