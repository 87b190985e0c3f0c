package passes

import (
	"maps"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// fuse says which nodes one kernel computes. Values that are only another way
// to address a stored one (views, slices of stored values, a queue's tail) need
// no kernel; everything else starts a group of its own and joins those of its
// operands where one grid serves both. A scan's rows become one recur group
// where a whole piece of a chunk fits into a block's tiles, likewise its write;
// an attend and a recur that do not reach each other become a hybrid where that
// is worth it (hybrid.go).
func fuse(g *ir.Graph) (*ir.Graph, error) { return fuseFor(g, DefaultTiling, true, Chosen) }

// DefaultTiling is what fuse assumes of a machine; lowering uses the machine's own.
var DefaultTiling = Tiling{Rows: 64, Cols: 64, MapElems: 8192, AttendQ: 64, RecurRows: 64, Panel: 32, MaxNear: 1 << 18, MaxSums: 1 << 30}

func fuseFor(g *ir.Graph, t Tiling, join bool, together Hybrid) (*ir.Graph, error) {
	r := newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node {
		if n.Op.Name != "scan" || n.Body.Write == nil {
			return nil
		}
		body, write := *n.Body, *n.Body.Write
		rows := append(slices.Clone(body.Rows), body.Kept...)
		body.Groups = fuseRegion(rows, t, "", join, rows)
		t := t.of(&body)
		seq := ir.RowDim(body.Clock).Name
		ends, adds := write.Ends(), write.Adds()
		write.Groups = fuseRegion(ends, t, seq, join, slices.Concat(write.Next, sums(ends)), write.Next, sums(ends))
		write.Adding = fuseRegion(adds, t, seq, join, adds)
		body.Write = &write
		s, err := g.B.Scan(n.Attr.Name, &body, args...)
		if err != nil {
			panic(err)
		}
		return s
	})
	h := r.graph(g)
	f := newFuser(h.Roots(), t, join)
	f.grow()
	if join && together != Apart {
		f.hybrids(h, together)
	}
	h.Groups = f.list()
	return h, nil
}

// fuseRegion groups a scan's rows or its write: what the first of mains needs for
// which that is possible as one group, the rest (probes) after it.
func fuseRegion(roots []*ir.Node, t Tiling, seq string, join bool, mains ...[]*ir.Node) []ir.Group {
	f := newFuser(roots, t, join)
	for _, main := range mains {
		if join && f.whole(main, seq) {
			break
		}
	}
	for _, n := range sums(roots) { // each walks through the rows by itself
		if f.group[n] == nil {
			kind := "map"
			if isDot(n) {
				kind = "recur"
			}
			f.add(&cluster{kind: kind, nodes: map[*ir.Node]bool{n: true}, fixed: true})
		}
	}
	f.grow()
	return f.list()
}

// sums gives the sums over a chunk's rows that roots need.
func sums(roots []*ir.Node) []*ir.Node {
	return slices.DeleteFunc(ir.Postorder(roots...), func(n *ir.Node) bool { return n.Op.Name != "accumulate" })
}

type fuser struct {
	t      Tiling
	join   bool
	order  []*ir.Node
	at     map[*ir.Node]int // places in the order
	roots  map[*ir.Node]bool
	users  map[*ir.Node][]*ir.Node
	group  map[*ir.Node]*cluster
	groups []*cluster
}

type cluster struct {
	kind  string
	nodes map[*ir.Node]bool
	fixed bool // takes no further nodes
	from  int  // ir.Group
	why   string

	first, last int // places of its nodes in the order
}

func newFuser(roots []*ir.Node, t Tiling, join bool) *fuser {
	f := &fuser{t: t, join: join, roots: map[*ir.Node]bool{}, users: map[*ir.Node][]*ir.Node{}, group: map[*ir.Node]*cluster{}}
	for _, r := range roots {
		f.roots[r] = true
	}
	f.order = ir.Postorder(roots...)
	f.at = make(map[*ir.Node]int, len(f.order))
	for i, n := range f.order {
		f.at[n] = i
		for _, a := range n.Args {
			f.users[a] = append(f.users[a], n)
		}
	}
	return f
}

// leaf reports whether a value exists without being computed.
func leaf(n *ir.Node) bool {
	switch n.Op.Name {
	case "input", "weight", "state", "param", "kept", "const", "table", "iota", "index", "chunk.index":
		return true
	}
	return false
}

// alias reports whether a value is always only a way to address its operand.
func alias(n *ir.Node) bool {
	switch n.Op.Name {
	case "view", "last", "suffix", "tail", "result", "keep", "stop":
		return true
	}
	return false
}

// reorders reports whether an expand moves dimensions, so that it is no address
// for a view.
func reorders(n *ir.Node) bool {
	last := -1
	for _, d := range n.Args[0].Type.Dims {
		at := n.Type.Find(d.Name)
		if at < last {
			return true
		}
		last = at
	}
	return false
}

// alone reports whether an op has a schedule of its own.
func alone(n *ir.Node) bool {
	switch n.Op.Name {
	case "attend", "scan", "prefix", "linrec":
		return true
	case "concat":
		d := n.Type.Dims[n.Type.Find(n.Attr.Dim)]
		return !d.Static()
	}
	return false
}

// codes reports whether a value, which these read, is stored as q8: rows that products
// read. What histories alone read is rounded where it is stored there.
func codes(n *ir.Node, users []*ir.Node) bool {
	return n.Op.Name == "cast" && n.Type.Elem == elem.Q8 && rows(n.Type) && len(users) > 0 && !slices.ContainsFunc(users, func(u *ir.Node) bool { return u.Op.Name != "dot" })
}

// rows reports whether a type is that of a row, or of rows.
func rows(t ir.Type) bool {
	return len(t.Dims) == 2 && (t.Clock() != nil || static(t)) || len(t.Dims) == 1 && static(t)
}

func (f *fuser) grow() {
	for _, n := range f.order {
		switch {
		case leaf(n) || alias(n) || f.group[n] != nil:
			continue
		case (n.Op.Name == "slice" || n.Op.Name == "expand" && !reorders(n)) && f.group[n.Args[0]] == nil:
			continue // an address
		case alone(n) || codes(n, f.users[n]):
			kind := "map"
			if n.Op.Name == "attend" || n.Op.Name == "scan" {
				kind = n.Op.Name
			}
			f.add(&cluster{kind: kind, nodes: map[*ir.Node]bool{n: true}, fixed: true})
			continue
		}
		c := &cluster{nodes: map[*ir.Node]bool{n: true}}
		f.add(c)
		if !f.join {
			continue
		}
		for _, a := range n.Args {
			if p := f.group[a]; p != nil && p != f.group[n] && !p.fixed {
				f.merge(p, f.group[n])
			}
		}
	}
	for _, c := range f.groups {
		if c.kind == "" {
			if l, ok := lay(f.set(c.nodes), f.t, false, ""); ok {
				c.kind = l.kind
			} else {
				c.kind = "map"
			}
		}
	}
}

func (f *fuser) add(c *cluster) {
	f.groups = append(f.groups, c)
	f.take(c, c.nodes)
}

// take makes nodes those of a group.
func (f *fuser) take(c *cluster, nodes map[*ir.Node]bool) {
	c.nodes, c.first, c.last = nodes, len(f.order), 0
	for n := range nodes {
		f.group[n] = c
		c.first, c.last = min(c.first, f.at[n]), max(c.last, f.at[n])
	}
}

// sorted gives nodes in their order.
func (f *fuser) sorted(nodes map[*ir.Node]bool) []*ir.Node {
	return slices.SortedFunc(maps.Keys(nodes), func(x, y *ir.Node) int { return f.at[x] - f.at[y] })
}

// set is what the layout needs of some nodes: which of them must be stored.
func (f *fuser) set(nodes map[*ir.Node]bool) *set {
	s := &set{nodes: nodes}
	for _, n := range f.sorted(nodes) {
		if f.roots[n] || slices.ContainsFunc(f.users[n], func(u *ir.Node) bool { return !nodes[u] }) {
			s.outs = append(s.outs, n)
		}
	}
	return s
}

// mostNodes bounds a group: kernels of more gain nothing, and to see whether
// another node fits takes a look at all that are there.
const mostNodes = 256

// merge joins two groups into one where a grid serves both and no third group
// stands between them.
func (f *fuser) merge(a, b *cluster) bool {
	if len(a.nodes)+len(b.nodes) > mostNodes {
		return false
	}
	if f.between(a, b) || f.between(b, a) {
		return false
	}
	both := map[*ir.Node]bool{}
	for n := range a.nodes {
		both[n] = true
	}
	for n := range b.nodes {
		both[n] = true
	}
	// Nothing of the union may be read through an address by the union itself.
	for n := range both {
		if reached := f.throughAlias(n, both); reached {
			return false
		}
	}
	if _, ok := lay(f.set(both), f.t, false, ""); !ok {
		return false
	}
	f.take(a, both)
	f.groups = slices.DeleteFunc(f.groups, func(c *cluster) bool { return c == b })
	return true
}

// throughAlias reports whether n reads another node of the set by way of a view.
func (f *fuser) throughAlias(n *ir.Node, in map[*ir.Node]bool) bool {
	for _, a := range n.Args {
		for !in[a] && len(a.Args) > 0 && f.group[a] == nil {
			a = a.Args[0]
			if in[a] {
				return true
			}
		}
	}
	return false
}

// between reports whether b depends on a through another group.
func (f *fuser) between(a, b *cluster) bool {
	// Nothing behind the end leads to b, not even through a group that began
	// before it.
	end := b.last
	for grown := true; grown; {
		grown = false
		for _, c := range f.groups {
			if c.first < end && c.last > end {
				end, grown = c.last, true
			}
		}
	}
	seen := map[*ir.Node]bool{}
	var walk func(n *ir.Node) bool
	walk = func(n *ir.Node) bool {
		if seen[n] {
			return false
		}
		seen[n] = true
		for _, u := range f.users[n] {
			if a.nodes[u] {
				continue
			}
			if b.nodes[u] {
				if !a.nodes[n] {
					return true
				}
				continue
			}
			// A group runs as one: what any of its nodes feeds comes after it.
			if c := f.group[u]; c != nil {
				for m := range c.nodes {
					if f.at[m] <= end && walk(m) {
						return true
					}
				}
			} else if f.at[u] <= end && walk(u) {
				return true
			}
		}
		return false
	}
	for n := range a.nodes {
		if f.at[n] <= end && walk(n) {
			return true
		}
	}
	return false
}

// whole makes one recur group of all that main needs, if it fits.
func (f *fuser) whole(main []*ir.Node, seq string) bool {
	nodes := map[*ir.Node]bool{}
	order := ir.Postorder(main...)
	for _, n := range order {
		switch {
		case leaf(n) || n.Op.Name == "keep":
		case alone(n) || codes(n, f.users[n]) || n.Op.Name == "gather" || n.Op.Name == "take" || n.Op.Name == "shift":
			return false
		case alias(n):
			if !f.address(n, nodes) {
				return false
			}
		case (n.Op.Name == "slice" || n.Op.Name == "expand") && !nodes[n.Args[0]]:
			if !f.address(n, nodes) {
				return false
			}
		default:
			nodes[n] = true
		}
	}
	if len(nodes) == 0 {
		return false
	}
	if seq != "" && !onePass(order, seq) {
		return false
	}
	dots := 0
	for n := range nodes {
		if isDot(n) {
			dots++
		}
	}
	if dots == 0 {
		return false
	}
	s := f.set(nodes)
	if _, ok := lay(s, f.t, true, seq); !ok {
		return false
	}
	f.add(&cluster{kind: "recur", nodes: nodes, fixed: true})
	return true
}

// address reports whether n addresses something that the group does not compute.
func (f *fuser) address(n *ir.Node, nodes map[*ir.Node]bool) bool {
	for len(n.Args) > 0 {
		if nodes[n] {
			return false
		}
		n = n.Args[0]
	}
	return leaf(n)
}

// onePass reports whether everything with rows along seq can be computed in one
// walk: nothing of it needs a sum over all of them.
func onePass(order []*ir.Node, seq string) bool {
	after := map[*ir.Node]bool{}
	for _, n := range order {
		for _, a := range n.Args {
			if after[a] {
				after[n] = true
			}
		}
		if after[n] && n.Type.Find(seq) >= 0 {
			return false
		}
		if slices.Contains(n.Attr.Over, seq) {
			after[n] = true
		}
	}
	return true
}

// list gives the groups in an order in which they can run: as early as possible
// in the order of the nodes.
func (f *fuser) list() []ir.Group {
	var out []ir.Group
	state := map[*cluster]int{}
	var place func(c *cluster)
	var need func(n *ir.Node, seen map[*ir.Node]bool)
	need = func(n *ir.Node, seen map[*ir.Node]bool) {
		if seen[n] {
			return
		}
		seen[n] = true
		if c := f.group[n]; c != nil {
			place(c)
			return
		}
		for _, a := range n.Args {
			need(a, seen)
		}
	}
	place = func(c *cluster) {
		if state[c] != 0 {
			return
		}
		state[c] = 1
		nodes := f.sorted(c.nodes)
		seen := map[*ir.Node]bool{}
		for _, n := range nodes {
			for _, a := range n.Args {
				if f.group[a] != c {
					need(a, seen)
				}
			}
		}
		out = append(out, ir.Group{Kind: c.kind, Nodes: nodes, From: c.from, Why: c.why})
	}
	for _, n := range f.order {
		if c := f.group[n]; c != nil {
			place(c)
		}
	}
	return out
}
