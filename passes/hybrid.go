package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
)

// Hybrid says which attends and scans that can run together do.
type Hybrid uint8

// What there is to choose from.
const (
	Chosen   Hybrid = iota // those for which the counts say that it is worth it
	Apart                  // none
	Together               // all, whatever the number of workers
)

// HasChoice reports whether an attend and a scan of a graph can run together: fuse
// has chosen then, and said why.
func HasChoice(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Groups, func(gr ir.Group) bool { return gr.Why != "" })
}

// A machine that plans are chosen for may have up to so many workers; a call may
// bring many rows or one, deep in a stream. What saves less than leastGain of a
// call's time is not worth it.
const (
	mostWorkers = 16
	manyRows    = 512
	deepRow     = 8192
	leastGain   = 0.05
)

// hybrids joins each scan whose rows are one recur group with the nearest
// attend before it over the same clock that neither reaches it nor is reached,
// where that saves time.
func (f *fuser) hybrids(g *ir.Graph, which Hybrid) {
	taken := map[*ir.Node]bool{}
	costs := &callCosts{g: g}
	for i, s := range f.order {
		if s.Op.Name != "scan" || len(s.Body.Groups) != 1 || s.Body.Groups[0].Kind != "recur" {
			continue
		}
		fits := func(j int) bool {
			if j < 0 || j >= len(f.order) {
				return false
			}
			a := f.order[j]
			return a.Op.Name == "attend" && !taken[a] && a.Type.Clock() == s.Body.Clock.Of && !depends(s, a) && !depends(a, s)
		}
		var found *ir.Node
		for d := 1; d < len(f.order) && found == nil; d++ {
			if fits(i - d) {
				found = f.order[i-d]
			} else if fits(i + d) {
				found = f.order[i+d]
			}
		}
		if found == nil || f.between(f.group[found], f.group[s]) || f.between(f.group[s], f.group[found]) {
			continue
		}
		taken[found] = true
		c, from := f.group[s], 1
		if which == Chosen {
			var worth bool
			if f.t.runs(s.Body) {
				c.why = "apart: whole chunks of the memory run in one launch"
				continue
			}
			if from, worth, c.why = f.gain(costs, s, found); !worth {
				continue
			}
		}
		c.kind, c.from = "hybrid", from
		old := f.group[found]
		c.nodes[found] = true
		f.take(c, c.nodes)
		f.groups = slices.DeleteFunc(f.groups, func(x *cluster) bool { return x == old })
	}
}

func depends(n, on *ir.Node) bool { return slices.Contains(ir.Postorder(n), on) }

// gain says whether an attend and a scan should run together, and why. It counts
// from how many workers on they take less time than one after the other. Time is
// counted in operations: launches of few blocks leave workers idle, and what runs
// beside them is work for those. Neither the longest chain of launches nor the
// longest block becomes shorter. Where nobody waits, both are worth one launch
// (from is 0) if its blocks load rows once for both.
func (f *fuser) gain(costs *callCosts, scan, attend *ir.Node) (from int, worth bool, why string) {
	size := int64(scan.Body.Clock.Size)
	pos := (deepRow + size - 1) / size * size
	var calls [2][]work
	for i, rows := range []int64{manyRows, 1} {
		c := costs.of(pos, rows)
		if c.err != nil {
			return 0, false, "apart: the work is not known: " + c.err.Error()
		}
		calls[i] = append(f.scanWork(scan.Body, pos, rows, c.nodes, c.adding), f.attendWork(attend, rows, c.nodes[attend].Flops))
	}
	least := 1.0
	for w := int64(2); w <= mostWorkers; w++ {
		many, one := together(calls[0], w), together(calls[1], w)
		least = min(least, many, one)
		if least <= 1-leastGain {
			return int(w), true, fmt.Sprintf("with %d workers %d rows take %.2f of the time apart, one row %.2f", w, manyRows, many, one)
		}
	}
	if tied(scan, attend, f.t) != nil {
		q := attend.Args[0].Type
		return 0, true, fmt.Sprintf("in one launch, which loads %d bytes a row once instead of twice", q.Elem.Bytes(int64(q.Dims[1].Size)*int64(q.Dims[2].Size), int64(q.Dims[2].Size)))
	}
	return 0, false, fmt.Sprintf("apart: together would take %.2f of the time at best, with up to %d workers", least, mostWorkers)
}

// callCosts counts each call of a graph once: the layers of a deep one ask for the
// same.
type callCosts struct {
	g    *ir.Graph
	seen map[[2]int64]*callCost // by position and rows
}

type callCost struct {
	nodes, adding map[*ir.Node]ir.Cost
	err           error
}

func (c *callCosts) of(pos, rows int64) *callCost {
	key := [2]int64{pos, rows}
	if c.seen[key] == nil {
		if c.seen == nil {
			c.seen = map[[2]int64]*callCost{}
		}
		k := &callCost{}
		_, k.nodes, k.adding, k.err = c.g.Costs(pos, rows)
		c.seen[key] = k
	}
	return c.seen[key]
}

// work is launches of one kernel: so many, each of so many blocks that cost about
// the same.
type work struct{ launches, blocks, flops int64 }

// time is that of the launches with so many workers.
func (w work) time(workers int64) float64 {
	if w.blocks == 0 || w.flops == 0 {
		return 0
	}
	rounds := (w.blocks + workers - 1) / workers
	return float64(w.flops) * float64(rounds) / float64(w.blocks)
}

// together is the part of the time apart that the last of the launches takes
// beside the others.
func together(list []work, workers int64) float64 {
	side := list[len(list)-1]
	chain, all := 0.0, int64(0)
	for _, w := range list[:len(list)-1] {
		chain += w.time(workers)
		all += w.flops
	}
	longest := 0.0
	if side.blocks > 0 {
		longest = float64(side.flops) / float64(side.blocks)
	}
	apart := chain + side.time(workers)
	if apart == 0 {
		return 1
	}
	return max(chain, longest, float64(all+side.flops)/float64(workers)) / apart
}

// attendWork is the work of an attend for so many rows.
func (f *fuser) attendWork(n *ir.Node, rows, flops int64) work {
	heads, kv := int64(n.Type.Dims[1].Size), int64(n.Args[1].Type.Dims[1].Size)
	step := max(1, int64(f.t.AttendQ)/(heads/kv))
	return work{1, kv * ((rows + step - 1) / step), flops}
}

// scanWork is the work of a scan in a call of so many rows: that of its rows and,
// where blocks of a chunk or the chunk are complete, of its write.
func (f *fuser) scanWork(body *ir.Region, pos, rows int64, nodes, adding map[*ir.Node]ir.Cost) []work {
	var reads, adds, writes int64
	body.Pieces(body.Clock.Of.RowsAt(pos), rows, func(_, _, added int64, last bool) {
		reads++
		switch {
		case last:
			writes++
		case added > 0:
			adds++
		}
	})
	seq := ir.RowDim(body.Clock).Name
	var list []work
	count := func(gs []ir.Group, roots []*ir.Node, seq string, launches int64, costs map[*ir.Node]ir.Cost) {
		if launches == 0 {
			return
		}
		r := newFuser(roots, f.t, true)
		for _, g := range gs {
			in, flops := map[*ir.Node]bool{}, int64(0)
			for _, n := range g.Nodes {
				in[n] = true
				flops += costs[n].Flops
			}
			list = append(list, work{launches, r.blocks(in, g.Kind == "recur", seq, rows/launches), flops})
		}
	}
	count(body.Groups, append(slices.Clone(body.Rows), body.Kept...), "", reads, nodes)
	if w := body.Write; w != nil {
		count(w.Adding, w.Adds(), seq, adds, adding)
		count(w.Groups, w.Ends(), seq, writes, nodes)
	}
	return list
}

// blocks is the number of a group's blocks where clocks have so many rows; 1 where
// no grid serves it.
func (f *fuser) blocks(nodes map[*ir.Node]bool, chain bool, seq string, rows int64) int64 {
	l, ok := lay(f.set(nodes), f.t, chain, seq)
	if !ok {
		return 1
	}
	blocks := int64(1)
	for _, a := range l.axes {
		size, step := int64(a.dim.Size), int64(max(1, a.step))
		if a.dim.Clock != nil {
			size = rows
		}
		switch a.kind {
		case axisOne:
			blocks *= size
		case axisRows, axisCols:
			blocks *= (size + step - 1) / step
		}
	}
	return max(1, blocks)
}
