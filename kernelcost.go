package memc

import (
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/plan"
)

// KernelCost is what the mathematics of a kernel's work in one call needs: the
// sum over the groups of nodes that it computes.
type KernelCost struct {
	Flops int64 // as ir.Cost counts them
	Bytes int64 // what its groups read and write, each tensor once
}

// KernelCosts gives the cost of each kernel of a plan in a call of an entry
// that feeds so many tokens at position pos. g is the entry's graph after all
// passes. Groups and launches stand in the same order; where they do not pair
// off, the plan is of another graph and the result is nil.
func KernelCosts(g *ir.Graph, p *plan.Plan, pos, tokens int64) map[string]KernelCost {
	i := slices.IndexFunc(p.Entries, func(e plan.Entry) bool { return e.Name == g.Name })
	if i < 0 {
		return nil
	}
	launches := launchesOf(p.Entries[i].Steps)
	used := map[*ir.Node][]*ir.Node{}
	for _, n := range Nodes(g) {
		for _, a := range n.Args {
			used[a] = append(used[a], n)
		}
	}
	out := map[string]KernelCost{}
	for end := pos + tokens; pos < end; pos += int64(p.Slab) { // the runtime cuts the call so
		w := &groupWalk{g: g, pos: pos, tokens: min(end-pos, int64(p.Slab)), used: used, launches: launches, block: -1}
		var err error
		if _, w.nodes, w.adding, err = g.Costs(w.pos, w.tokens); err != nil {
			return nil
		}
		w.groups(g.Groups, 1)
		if len(launches) != len(w.costs) {
			return nil
		}
		for k, name := range launches {
			c := out[name]
			c.Flops += w.costs[k].Flops
			c.Bytes += w.costs[k].Bytes
			out[name] = c
		}
	}
	return out
}

// launchesOf lists the kernels of the launches that compute groups, in order:
// all but those that keep rows and states. One kernel in two conditions after each
// other is one launch, which reads its rows in one of two places.
func launchesOf(steps []plan.Step) []string {
	var out []string
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		switch schedule := Schedule(s.Kernel); {
		case s.Kind == plan.Repeat:
			out = append(out, launchesOf(readsFirst(s.Steps))...)
		case s.Kind != plan.Launch:
			out = append(out, launchesOf(s.Steps)...)
			if next := i + 1; next < len(steps) && only(s) != "" && only(s) == only(steps[next]) && s.Cond != steps[next].Cond {
				i = next
			}
		case schedule != "copy" && schedule != "commit":
			out = append(out, s.Kernel)
		}
	}
	return out
}

// readsFirst is the steps of a loop's turn in the order of groups: what a turn sums for
// its chunk's write, under a condition, may come before what it reads.
func readsFirst(steps []plan.Step) []plan.Step {
	early := slices.IndexFunc(steps, func(s plan.Step) bool { return s.Kind != plan.If })
	if early <= 0 {
		return steps
	}
	sums, rest := steps[:early], steps[early:]
	reads := slices.IndexFunc(rest, func(s plan.Step) bool { return s.Kind == plan.If })
	if reads < 0 {
		reads = len(rest)
	}
	return slices.Concat(rest[:reads], sums, rest[reads:])
}

// only is the kernel that a condition decides upon, where it is one launch.
func only(s plan.Step) string {
	if s.Kind != plan.If || len(s.Steps) != 1 {
		return ""
	}
	return s.Steps[0].Kernel
}

// Schedule is the schedule that a kernel is made by, which its name begins with.
func Schedule(kernel string) string { return strings.TrimRight(kernel, "0123456789") }

// groupWalk lists the costs of groups in the order in which their kernels run.
type groupWalk struct {
	g             *ir.Graph
	pos, tokens   int64
	nodes, adding map[*ir.Node]ir.Cost
	used          map[*ir.Node][]*ir.Node
	launches      []string
	block         int64 // the rows of a chunk's clock in a write; below 0: not in one
	costs         []KernelCost
}

func (w *groupWalk) groups(list []ir.Group, times int64) {
	for _, g := range list {
		if k := slices.IndexFunc(g.Nodes, func(n *ir.Node) bool { return n.Body != nil }); k >= 0 {
			body := g.Nodes[k].Body
			of := body.Clock.Of
			var turns, adds, added, writes, written int64
			body.Pieces(of.RowsAt(w.pos), w.rows(of), func(_, count, n int64, last bool) {
				turns++
				switch {
				case last:
					writes, written = writes+1, written+n
				case n > 0:
					adds, added = adds+1, added+n
				}
			})
			first := len(w.costs)
			if len(g.Nodes) == 1 {
				w.groups(body.Groups, turns)
			} else { // a hybrid: one kernel for its attend and the scan's rows, or two
				c := w.cost(ir.Group{Nodes: slices.Delete(slices.Clone(g.Nodes), k, k+1)}, 1)
				one := first < len(w.launches) && Schedule(w.launches[first]) == "hybrid"
				if !one {
					w.costs = append(w.costs, c)
				}
				w.groups(body.Groups, turns)
				if one {
					w.costs[first].Flops += c.Flops
					w.costs[first].Bytes += c.Bytes - w.shared(g, body.Groups[0])
				}
			}
			if body.Write != nil {
				w.nodes, w.adding = w.adding, w.nodes
				w.block = added
				w.groups(body.Write.Adding, adds)
				w.nodes, w.adding = w.adding, w.nodes
				w.block = written
				w.groups(body.Write.Groups, writes)
				w.block = -1
			}
			continue
		}
		w.costs = append(w.costs, w.cost(g, times))
	}
}

// shared is the bytes that both parts of a hybrid read: each tensor counts once.
func (w *groupWalk) shared(hybrid, rows ir.Group) (bytes int64) {
	var scan, attend *ir.Node
	for _, n := range hybrid.Nodes {
		if n.Body != nil {
			scan = n
		} else {
			attend = n
		}
	}
	for i, p := range scan.Body.Params {
		read := slices.ContainsFunc(rows.Nodes, func(n *ir.Node) bool { return slices.Contains(n.Args, p) })
		if read && slices.Contains(attend.Args, scan.Args[i]) {
			bytes += w.bytes(p.Type, 1)
		}
	}
	return bytes
}

// cost is that of a group which runs so many times.
func (w *groupWalk) cost(g ir.Group, times int64) KernelCost {
	c := KernelCost{}
	if times == 0 {
		return c
	}
	inside := map[*ir.Node]bool{}
	for _, n := range g.Nodes {
		inside[n] = true
	}
	counted := map[*ir.Node]bool{}
	for _, n := range g.Nodes {
		c.Flops += w.nodes[n].Flops
		for _, a := range n.Args {
			if !inside[a] && !counted[a] {
				counted[a] = true
				c.Bytes += w.bytes(a.Type, times)
			}
		}
		if len(w.used[n]) == 0 || slices.ContainsFunc(w.used[n], func(u *ir.Node) bool { return !inside[u] }) {
			c.Bytes += w.bytes(n.Type, times)
		}
	}
	return c
}

// bytes is the size of all the values that a node of this type has in the call.
func (w *groupWalk) bytes(t ir.Type, times int64) int64 {
	n, last := int64(1), int64(1)
	for _, d := range t.Dims {
		if d.Clock == nil {
			n *= int64(d.Size)
			last = int64(d.Size)
		} else {
			n *= w.rows(d.Clock)
			if d.Clock.Kind == ir.Chunk || d.Clock.Kind == ir.Prefixed {
				times = 1 // the chunks' rows together are the call's
			}
		}
	}
	return t.Elem.Bytes(n, last) * times
}

// rows is how many rows of a clock the call has, those of all chunks together.
func (w *groupWalk) rows(c *ir.Clock) int64 {
	switch c.Kind {
	case ir.Chunk:
		if w.block >= 0 {
			return w.block
		}
		return w.rows(c.Of)
	case ir.Prefixed:
		rows := w.rows(c.Of)
		return rows + (rows/int64(c.Of.Size)+1)*int64(c.Most)
	}
	return c.RowsAt(w.pos+w.tokens) - c.RowsAt(w.pos)
}
