package passes

import (
	"fmt"
	"maps"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// groups lowers groups in order.
func (sc *scope) groups(gs []ir.Group) {
	for _, g := range gs {
		switch g.Kind {
		case "scan":
			sc.scanLoop(g.Nodes[0], nil)
		case "hybrid":
			var scan, attend *ir.Node
			for _, n := range g.Nodes {
				if n.Op.Name == "scan" {
					scan = n
				} else {
					attend = n
				}
			}
			sc.needs(g.Nodes)
			if !sc.lw.Beside || g.From == 0 {
				sc.scanLoop(scan, attend)
				break
			}
			first := len(sc.steps)
			sc.attend(attend)
			sc.scanLoop(scan, nil)
			steps := slices.Clone(sc.steps[first:])
			sc.steps = append(sc.steps[:first], plan.Step{Kind: plan.Beside, From: g.From, Steps: steps})
		case "attend":
			sc.attend(g.Nodes[0])
		default:
			sc.compute(g)
		}
	}
}

// attend lowers an attend that has a launch of its own.
func (sc *scope) attend(n *ir.Node) {
	sc.needs([]*ir.Node{n})
	k := sc.kernel("attend")
	sc.attendPart(k, n)
	k.launch()
}

// compute lowers a group of maps and products.
func (sc *scope) compute(g ir.Group) {
	sc.needs(g.Nodes)
	if len(g.Nodes) == 1 {
		switch n := g.Nodes[0]; n.Op.Name {
		case "linrec":
			sc.recurrence(n)
			return
		case "prefix":
			sc.prefix(n)
			return
		case "concat":
			if alone(n) {
				sc.join(n)
				return
			}
		case "cast":
			if codes(n, sc.users[n]) {
				sc.encode(n)
				return
			}
		}
	}
	k := sc.kernel(g.Kind)
	sc.groupPart(k, g, "")
	k.launch()
}

// tiling is that of the target, for what the scope has.
func (sc *scope) tiling() Tiling {
	if sc.stays() {
		return sc.lw.Tiling.near()
	}
	return sc.lw.Tiling
}

// stays reports whether the weights of the scope's scan stay near one block.
func (sc *scope) stays() bool {
	if sc.scan == nil {
		return false
	}
	near := sc.lw.near
	stays, known := near[sc.scan]
	if !known {
		stays = sc.lw.Tiling.stays(sc.scan.Body)
		near[sc.scan] = stays
	}
	return stays
}

// groupPart adds the blocks of a group to a kernel.
func (sc *scope) groupPart(k *kernelBuilder, g ir.Group, seq string) {
	sc.groupBlock(k, g, seq, nil).end()
}

// groupBlock is a group's block, with all that it computes and stores. It may use
// the tiles of known.
func (sc *scope) groupBlock(k *kernelBuilder, g ir.Group, seq string, known map[tileKey]*kernel.Tile) *block {
	s := &set{nodes: map[*ir.Node]bool{}}
	for _, n := range g.Nodes {
		s.nodes[n] = true
	}
	s.outs = sc.outs(s.nodes)
	l, ok := lay(s, k.tiling, g.Kind == "recur", seq)
	if own := sc.tiling(); !ok && k.tiling != own {
		l, ok = lay(s, own, g.Kind == "recur", seq)
	}
	if !ok {
		fail(g.Nodes[len(g.Nodes)-1], "no schedule computes %s of type %s: a product sums over one dimension, and at most two dimensions of a value may be summed or sliced together", g.Nodes[len(g.Nodes)-1].Op.Name, g.Nodes[len(g.Nodes)-1].Type)
	}
	b := sc.block(k, l, s.nodes, seq)
	maps.Copy(b.tiles, known)
	for _, o := range s.outs {
		b.out(o)
	}
	return b
}

// users finds who reads each node of the scope's region or entry.
func (sc *scope) outs(nodes map[*ir.Node]bool) []*ir.Node {
	var outs []*ir.Node
	for n := range nodes {
		if sc.root[n] || slices.ContainsFunc(sc.users[n], func(u *ir.Node) bool { return !nodes[u] }) {
			outs = append(outs, n)
		}
	}
	slices.SortFunc(outs, func(a, b *ir.Node) int { return a.ID - b.ID })
	return outs
}

// watch notes the users of every node below the roots.
func (sc *scope) watch(roots []*ir.Node) {
	if sc.users == nil {
		sc.users, sc.root = map[*ir.Node][]*ir.Node{}, map[*ir.Node]bool{}
	}
	for _, r := range roots {
		sc.root[r] = true
	}
	for _, n := range ir.Postorder(roots...) {
		for _, a := range n.Args {
			sc.users[a] = append(sc.users[a], n)
		}
	}
}

// needs makes sure that the histories which some nodes read are up to date.
func (sc *scope) needs(nodes []*ir.Node) {
	for _, n := range nodes {
		for _, a := range n.Args {
			for len(a.Args) > 0 && sc.find(a) == nil {
				if a.Op.Name == "keep" {
					sc.ensure(a)
				}
				a = a.Args[0]
			}
		}
	}
}

// ensure stores this call's rows of a history, once in each scope.
func (sc *scope) ensure(k *ir.Node) {
	s := sc.historyOf(k)
	if s.history.written[sc] {
		return
	}
	s.history.written[sc] = true
	sc.copyTo(k.Args[0], s)
}

// historyOf gives the buffer of a keep node; how it lies follows from who reads it.
func (sc *scope) historyOf(k *ir.Node) *store {
	blocks, keys := false, false
	for _, u := range sc.users[k] {
		if u.Op.Name == "attend" {
			blocks = true
			keys = keys || u.Args[1] == k
		}
	}
	return sc.lw.keep(k, keys, blocks)
}

// find gives where a value was stored, in this scope or an outer one.
func (sc *scope) find(n *ir.Node) *store {
	for s := sc; s != nil; s = s.outer {
		if sc.blocks && !s.blocks && n.Type.Clock() != nil {
			return nil // of other rows
		}
		if st := s.stored[n]; st != nil {
			return st
		}
	}
	return nil
}

// destination gives the places to which a computed node must be stored. A
// quantised history, which is written in whole rows, is one of them where whole
// says so; else it is a copy's.
func (sc *scope) destination(n *ir.Node, whole bool) []*store {
	direct := whole || !n.Type.Elem.Quantised()
	var to []*store
	if s := sc.next[n]; s != nil {
		sc.stored[n] = s
		to = append(to, s)
	} else if s := sc.stored[n]; s != nil {
		to = append(to, s)
	} else {
		// A value that only one history reads goes there alone.
		only := len(sc.users[n]) > 0 && !sc.root[n] && direct
		for _, u := range sc.users[n] {
			only = only && u.Op.Name == "keep" && u.Attr.Keep.Block == 0
		}
		if !only {
			sc.stored[n] = sc.temp(n, storeElem(n.Type.Elem))
			to = append(to, sc.stored[n])
		}
	}
	for _, u := range sc.users[n] {
		if u.Op.Name == "keep" && direct && u.Attr.Keep.Block == 0 {
			h := sc.historyOf(u)
			if !h.history.written[sc] {
				h.history.written[sc] = true
				to = append(to, h)
			}
		}
	}
	return to
}

// temp is a buffer of its own for a computed node. Codes lie in whole rows.
func (sc *scope) temp(n *ir.Node, e elem.Type) *store {
	s, dims := sc.lw.place(n.Type)
	if sc.blocks && n.Type.Clock() != nil {
		dims[0] += blockRows - 1 // kept of earlier calls
	}
	if e.Quantised() && n.Type.Clock() == nil {
		s.kind, dims = storeDims, nil
		for _, d := range n.Type.Dims {
			dims = append(dims, d.Size)
		}
	}
	if sc.run && n.Type.Clock() == nil { // each chunk of a run has its own
		most := sc.lw.plan.Loops[sc.loop].Max
		if s.kind == storeDims {
			s.runs, dims = true, append([]int{most}, dims...)
		} else {
			s.shift = ints.Times(ints.V(runVar), ints.C(int64(dims[0])))
			dims[0] *= most
		}
	}
	s.dims = dims
	s.buf = sc.lw.buffer(plan.Buffer{Name: fmt.Sprintf("%sv%d", sc.lw.name, n.ID), Class: plan.Temp, Elem: e, Dims: dims})
	return s
}

// encode rounds a value to the codes that products read; those that take no rows of
// codes read what they stand for.
func (sc *scope) encode(n *ir.Node) {
	sc.needs([]*ir.Node{n})
	s := sc.temp(n, n.Type.Elem)
	sc.copyPart(sc.kernel("encode"), n.Args[0], s).launch()
	sc.stored[n] = s
	if !sc.lw.Tiling.CodedRows {
		s = sc.temp(n, elem.F32)
		sc.copyTo(n, s)
		sc.stored[n] = s
	}
}

// copyTo stores a value that nothing computes anew (a leaf, an address) to a place.
func (sc *scope) copyTo(n *ir.Node, to *store) {
	sc.needs([]*ir.Node{{Args: []*ir.Node{n}}})
	k := sc.kernel("copy")
	sc.copyPart(k, n, to).launch()
}

// copyPart adds a copy to a kernel, or to another one, which it gives, where that
// has as many parts as a kernel may have.
func (sc *scope) copyPart(k *kernelBuilder, n *ir.Node, to *store) *kernelBuilder {
	if len(k.k.Parts) == kernel.MaxParts {
		kind := k.k.Name
		k.launch()
		k = k.sc.kernel(kind)
	}
	l := layCopy(n.Type, to, sc.lw.plan.Buffers[to.buf].Elem.Quantised())
	b := sc.block(k, l, map[*ir.Node]bool{}, "")
	b.storeTo(n, to)
	b.end()
	return k
}

// layCopy lays a plain copy on a grid: rows in blocks, the dimension along which
// memory lies, which is the last one where it is not in panels, whole or in columns.
func layCopy(t ir.Type, to *store, whole bool) *layout {
	l := &layout{kind: "map"}
	down, along, panels := to.along(t)
	for i, d := range t.Dims {
		a := axis{dim: d, kind: axisOne}
		switch {
		case panels && d.Name == along:
			a.kind, a.step = axisCols, min(256, d.Size)
		case panels && d.Name == down:
			a.kind, a.step = axisRows, 64
		case panels:
		case i == len(t.Dims)-1 && (i > 0 || d.Static()):
			a.kind, a.step = axisCols, min(256, d.Size)
			if whole {
				a.kind = axisLocal
			}
		case i == 0:
			a.kind, a.step = axisRows, 64
			if whole {
				a.step = max(1, min(a.step, mostTile/max(1, t.Dims[len(t.Dims)-1].Size)))
			}
		}
		l.axes = append(l.axes, a)
	}
	return l
}

// prefix stores the rows put before a chunk, where the piece is its first, and
// the piece's own behind them.
func (sc *scope) prefix(n *ir.Node) {
	s, dims := sc.lw.place(n.Type)
	s.buf = sc.lw.buffer(plan.Buffer{Name: fmt.Sprintf("%sv%d", sc.lw.name, n.ID), Class: plan.Temp, Elem: elem.F32, Dims: dims})
	k := sc.kernel("copy")
	for i, a := range n.Args {
		part := *s
		fresh := ints.V(n.Attr.Clock.Name + ".new")
		part.rows, part.shift, part.limit = true, ints.C(0), fresh
		if i == 1 {
			part.shift, part.limit = fresh, nil
		}
		k = sc.copyPart(k, a, &part)
	}
	k.launch()
	sc.stored[n] = s
}

// join stores values of bounded length one behind the other.
func (sc *scope) join(n *ir.Node) {
	s, dims := sc.lw.place(n.Type)
	s.buf = sc.lw.buffer(plan.Buffer{Name: fmt.Sprintf("%sv%d", sc.lw.name, n.ID), Class: plan.Temp, Elem: elem.F32, Dims: dims})
	if n.Type.Find(n.Attr.Dim) != 0 {
		fail(n, "values of bounded length are joined along their first dimension, found %s", n.Type)
	}
	elems := int64(1)
	for _, d := range n.Type.Dims[1:] {
		elems *= int64(d.Size)
	}
	k := sc.kernel("copy")
	at := ints.C(0)
	for _, a := range n.Args {
		part := *s
		part.shift = ints.Times(at, ints.C(elems))
		k = sc.copyPart(k, a, &part)
		at = ints.Plus(at, ir.LenOf(a.Type.Dims[0]))
	}
	k.launch()
	sc.stored[n] = s
}

// scanLoop lowers a scan: a loop over the pieces of chunks; attend, where given,
// runs beside the scan's rows in one launch.
func (sc *scope) scanLoop(scan, attend *ir.Node) {
	lw, body := sc.lw, scan.Body
	chunk := body.Clock
	for i, st := range body.States {
		lw.state(st, body.Init[i])
	}
	if sc.loop >= 0 {
		fail(scan, "a scan inside a scan is not compiled yet")
	}
	// The loop and what its turns know.
	size := ints.C(int64(chunk.Size))
	pos, n := ints.V(posName(chunk.Of)), ints.V(rowsName(chunk.Of))
	first := ints.Quo(pos, size)
	end := ints.Plus(pos, n)
	at := func(slot string, e *ints.Expr) plan.Slot { return plan.Slot{Name: slot, Expr: e} }
	start := ints.Most(pos, ints.Times(ints.V("chunk"), size))
	l := plan.Loop{
		Turns: ints.Minus(ints.CeilQuo(end, int64(chunk.Size)), first),
		Max:   lw.clockCap(chunk.Of)/chunk.Size + 2,
		Slots: []plan.Slot{
			at("turn", nil),
			at("chunk", ints.Plus(first, ints.V("turn"))),
			at("row", ints.Minus(start, pos)),
			at("at", ints.Minus(start, ints.Times(ints.V("chunk"), size))),
			at("count", ints.Minus(ints.Least(end, ints.Times(ints.Plus(ints.V("chunk"), ints.C(1)), size)), start)),
			at("start", start),
		},
		Done: ints.Bin(ints.Eq, ints.Plus(ints.V("at"), ints.V("count")), size),
	}
	if body.Block > 0 {
		l.Slots = append(l.Slots, blockSlots(body)...)
	}
	runs := attend == nil && chunk.Size <= lw.clockCap(chunk.Of) && lw.Tiling.runs(body)
	if runs {
		l.Slots = append(l.Slots, runSlots(chunk)...)
	}
	for _, x := range body.Lens {
		l.Carry = append(l.Carry, plan.Carry{Name: x.Name, Start: x.Start, Next: x.Next})
		l.Slots = append(l.Slots, at(x.Name, nil))
	}
	for _, m := range ir.Postorder(append(append(slices.Clone(body.Rows), body.Kept...), body.Write.Roots()...)...) {
		c := m.Type.Clock()
		if c == nil || c.Kind != ir.Prefixed || slices.ContainsFunc(l.Slots, func(s plan.Slot) bool { return s.Name == c.Name+".new" }) {
			continue
		}
		fresh := ints.Bin(ints.Eq, ints.V("at"), ints.C(0))
		l.Slots = append(l.Slots,
			at(c.Name+".new", ints.If(fresh, c.Prefix, ints.C(0))),
			at(c.Name+".at", ints.If(fresh, ints.C(0), ints.Plus(c.Prefix, ints.V("at")))),
			at(c.Name+".count", ints.Plus(ints.V(c.Name+".new"), ints.V("count"))))
	}
	l.Slots = append(l.Slots, at("done", nil))
	in := &scope{lw: lw, outer: sc, loop: lw.loop(l), scan: scan, stored: map[*ir.Node]*store{}, next: map[*ir.Node]*store{}}
	in.watch(append(slices.Clone(body.Rows), body.Kept...))
	in.probes = in.placeProbes(body)
	// What outer values the body reads must be up to date before the loop.
	sc.needs([]*ir.Node{scan})
	if attend != nil {
		sc.needs([]*ir.Node{attend})
	}
	// Results lie in buffers over the whole call's rows.
	for i, r := range body.Rows {
		res := sc.lw.result(sc, scan, i)
		s := sc.next[res] // an output
		if s == nil {
			var dims []int
			s, dims = lw.place(r.Type)
			s.buf = lw.buffer(plan.Buffer{Name: fmt.Sprintf("%sv%d.%d", lw.name, scan.ID, i), Class: plan.Temp, Elem: storeElem(r.Type.Elem), Dims: dims})
		}
		if res != nil {
			sc.stored[res] = s
		}
		if _, twice := in.next[r]; !twice {
			in.next[r] = s
		}
	}
	copies := func() {
		k := in.kernel("copy")
		for _, kn := range body.Kept {
			if kn.Attr.Keep.Block > 0 {
				continue
			}
			s := in.historyOf(kn)
			if !s.history.written[in] {
				in.needs(kn.Args[:1])
				s.history.written[in] = true
				k = in.copyPart(k, kn.Args[0], s)
			}
		}
		k.launch()
	}
	if attend != nil {
		k := in.kernel("hybrid")
		hyb := &scope{lw: lw, outer: in, loop: in.loop, stored: in.stored, next: in.next, users: sc.users, root: sc.root, piece: chunk.Of}
		in.needs(body.Groups[0].Nodes)
		if s := sc.next[attend]; s != nil { // an output
			hyb.next[attend] = s
		}
		if l := tied(scan, attend, k.tiling); l != nil && lw.Tie {
			in.tiedPart(k, hyb, l, attend, body.Groups[0])
		} else {
			hyb.attendPart(k, attend)
			in.groupPart(k, body.Groups[0], "")
		}
		k.launch()
		sc.stored[attend] = hyb.stored[attend]
	} else {
		in.groups(body.Groups)
	}
	copies()
	for i, r := range body.Rows {
		want := in.next[r]
		if have := in.stored[r]; have == nil || have.buf != want.buf {
			in.copyTo(r, want)
		}
		if res := sc.lw.result(sc, scan, i); res != nil {
			sc.stored[res] = want
		}
	}
	if body.Block > 0 {
		in.blockSteps(body)
	} else {
		in.write(body, nil)
	}
	if runs {
		in.runs(body)
	}
	sc.steps = append(sc.steps, plan.Step{Kind: plan.Repeat, Loop: in.loop, Steps: in.steps})
}

// loop adds a loop to the plan; scans that cut a call at the same places, and
// carry the same lengths, share one.
func (lw *lowerer) loop(l plan.Loop) int {
	key := fmt.Sprint(l.Turns, l.Max, l.Done)
	for _, s := range l.Slots {
		key += fmt.Sprint(";", s.Name, s.Expr)
	}
	for _, c := range l.Carry {
		key += fmt.Sprint(";", c.Name, c.Start, c.Next)
	}
	if i, ok := lw.loops[key]; ok {
		return i
	}
	l.Name = fmt.Sprintf("loop%d", len(lw.plan.Loops))
	lw.plan.Loops = append(lw.plan.Loops, l)
	lw.loops[key] = len(lw.plan.Loops) - 1
	return lw.loops[key]
}

// result finds the node that stands for result i of a scan.
func (lw *lowerer) result(sc *scope, scan *ir.Node, i int) *ir.Node {
	for _, u := range sc.users[scan] {
		if u.Op.Name == "result" && u.Attr.Start == i {
			return u
		}
	}
	return nil
}
