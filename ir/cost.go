package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/ints"
)

// Cost is what the mathematics of a node or an entry point needs, whatever a
// machine does.
type Cost struct {
	// Flops counts floating-point operations: 2 for each term of a product, for
	// attend only those of pairs inside the mask (that may be: whatever integers
	// the rows have), and for it the products alone.
	Flops int64
	// Bytes counts, for a node, its operands and its result in memory; for an
	// entry point, what cannot stay near: weights, inputs, outputs, tables,
	// states, which rows read and each chunk's write reads and writes, histories.
	Bytes int64
}

func (c *Cost) add(d Cost) {
	c.Flops += d.Flops
	c.Bytes += d.Bytes
}

// Cost is that of one call which feeds so many tokens at position pos of a
// stream. An error says which length has no value.
func (g *Graph) Cost(pos, tokens int64) (Cost, error) {
	total, _, _, err := g.Costs(pos, tokens)
	return total, err
}

// Costs gives the cost of the call and that of each node, those in scans summed
// over the chunks of the call; apart from it, adding, what a write's nodes cost
// where they add blocks of a chunk that is not complete.
func (g *Graph) Costs(pos, tokens int64) (total Cost, nodes, adding map[*Node]Cost, err error) {
	c := &counter{nodes: map[*Node]Cost{}, adding: map[*Node]Cost{}, lens: map[string]int64{}, pairs: map[string]int64{}, wait: map[*Node]bool{}, spans: map[*Clock]longSpan{}}
	top := newScope(nil)
	top.all = true
	for _, k := range g.Clocks {
		c.clock(k, pos, tokens)
	}
	if g.Base != nil {
		c.clock(g.Base, pos, tokens)
	}
	c.block(top, g.Roots(), 1)
	for _, o := range g.Outputs {
		c.total.Bytes += c.bytes(o.Node.Type)
	}
	return c.total, c.nodes, c.adding, c.err
}

// longSpan is a span of rows that need not fit in memory.
type longSpan struct{ first, count int64 }

type counter struct {
	nodes, adding map[*Node]Cost
	total         Cost
	lens          map[string]int64
	spans         map[*Clock]longSpan
	pairs         map[string]int64 // by mask and ranges: layers share them
	wait          map[*Node]bool   // histories that nothing reads before their chunk is complete
	err           error
}

func (c *counter) clock(k *Clock, pos, tokens int64) {
	if k.Kind == Base || k.Kind == Woven {
		from := k.RowsAt(pos)
		c.spans[k] = longSpan{from, k.RowsAt(pos+tokens) - from}
	}
}

func (c *counter) length(e *ints.Expr) int64 {
	v, err := e.Eval(c.lens)
	if err != nil && c.err == nil {
		c.err = err
	}
	return v
}

func (c *counter) span(k *Clock) longSpan {
	if s, ok := c.spans[k]; ok || k.Kind != Prefixed {
		return s
	}
	s, before := c.spans[k.Of], c.length(k.Prefix)
	if s.first == 0 {
		return longSpan{0, before + s.count}
	}
	return longSpan{before + s.first, s.count}
}

func (c *counter) size(d Dim) int64 {
	switch {
	case d.Clock != nil && d.Past:
		s := c.span(d.Clock)
		return s.first + s.count
	case d.Clock != nil:
		return c.span(d.Clock).count
	case d.Len != nil:
		return c.length(d.Len)
	}
	return int64(d.Size)
}

func (c *counter) elements(dims []Dim) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= c.size(d)
	}
	return n
}

func (c *counter) bytes(t Type) int64 {
	return t.Elem.Bytes(c.elements(t.Dims), c.rowSize(t))
}

// rowSize is the number of elements along a type's last dimension.
func (c *counter) rowSize(t Type) int64 {
	if len(t.Dims) == 0 {
		return 1
	}
	return c.size(t.Dims[len(t.Dims)-1])
}

// block counts the nodes that roots need in a scope, each so many times.
func (c *counter) block(s *scope, roots []*Node, times int64) {
	seen := map[*Node]bool{}
	var visit func(n *Node)
	visit = func(n *Node) {
		if n == nil || seen[n] || !s.varies(n) {
			return
		}
		seen[n] = true
		for _, d := range s.deps(n) {
			visit(d)
		}
		if n.Body != nil {
			c.scan(s, n)
			return
		}
		k := c.node(n)
		k.Flops, k.Bytes = k.Flops*times, k.Bytes*times
		sum := c.nodes[n]
		sum.add(k)
		c.nodes[n] = sum
		c.total.Flops += k.Flops
		switch n.Op.Name {
		case "weight", "input", "table", "keep":
			c.total.Bytes += k.Bytes
		}
	}
	for _, n := range roots {
		visit(n)
	}
}

func (c *counter) node(n *Node) Cost {
	k := Cost{Bytes: c.bytes(n.Type)}
	if n.Op.Name == "keep" {
		k.Bytes = c.history(n)
		return k
	}
	for _, a := range n.Args {
		if a.Body == nil {
			k.Bytes += c.bytes(a.Type)
		}
	}
	switch n.Op.Name {
	case "dot":
		k.Flops = 2 * c.terms(n.Args)
	case "accumulate":
		k.Flops = int64(len(n.Args)-1) * c.terms(n.Args[1:])
	case "sum", "maximum":
		k.Flops = c.elements(n.Args[0].Type.Dims)
	case "attend":
		q, v := n.Args[0].Type, n.Args[2].Type
		k.Flops = 2 * c.seen(n) * c.size(q.Dims[1]) * (c.size(q.Dims[2]) + c.size(v.Dims[2]))
	default:
		if n.Type.Elem.Float() {
			k.Flops = int64(n.Op.Flops) * c.elements(n.Type.Dims)
		}
	}
	return k
}

// terms is how many products of elements a product of these operands sums.
func (c *counter) terms(args []*Node) int64 {
	dims, err := join(args)
	if err != nil {
		c.err = err
	}
	return c.elements(dims)
}

// history is the bytes of the rows that a call finds kept, where they are read,
// and of its own.
func (c *counter) history(n *Node) int64 {
	s, k := c.span(n.Args[0].Type.Clock()), n.Attr.Keep
	old := s.first
	switch {
	case c.wait[n]:
		old = 0
	case k.All:
	case k.Chunk && k.Ring > 0 && k.Block > 0:
		old -= added(old, k.Ring, k.Block)
	case k.Chunk && k.Ring > 0:
		old %= int64(k.Ring)
	default:
		old = min(old, int64(k.Ring+k.Pin))
	}
	row := n.Type.Elem.Bytes(c.elements(n.Type.Dims[1:]), c.rowSize(n.Type))
	return (old + s.count) * row
}

// seen counts the pairs inside an attend's mask.
func (c *counter) seen(n *Node) int64 {
	s := c.span(n.Args[0].Type.Clock())
	where := Possible(n.Attr.Where)
	key := fmt.Sprintf("%s %v", where, s)
	if p, ok := c.pairs[key]; ok {
		return p
	}
	m, err := NewMask(where)
	if err != nil {
		c.err = err
		return 0
	}
	last := s.first + s.count - 1
	p := m.Pairs(ints.Range{Lo: s.first, Hi: last}, ints.Range{Lo: 0, Hi: last})
	c.pairs[key] = p
	return p
}

// scan counts the pieces that the chunks' borders make of the rows at hand.
// Whole chunks in a row with the same lengths cost the same: once the lengths
// stay, they are counted at once.
func (c *counter) scan(s *scope, n *Node) {
	r := n.Body
	rows := c.span(r.Clock.Of)
	size := int64(r.Clock.Size)
	for _, l := range r.Lens {
		c.lens[l.Name] = l.Start
	}
	// The lengths at the call's first chunk: they come to rest soon.
	for k := int64(0); k < rows.first/size && c.step(r); k++ {
	}
	for done := int64(0); done < rows.count; {
		offset := (rows.first + done) % size
		piece := longSpan{offset, min(size-offset, rows.count-done)}
		times := int64(1)
		c.spans[r.Clock] = piece
		complete := piece.first+piece.count == size
		if whole := (rows.count - done) / size; piece.count == size && whole > 1 && !c.changes(r) {
			times = whole
		}
		blocks := c.blocks(r, piece)
		for _, n := range r.Kept {
			c.wait[n] = !complete && (blocks.count == 0 || n.Attr.Keep.Block == 0)
		}
		c.states(r.Rows, times)
		if r.Write != nil || !complete {
			c.block(s.body(r), append(append([]*Node{}, r.Rows...), r.Kept...), times)
		} else {
			c.block(s.body(r), r.Roots(), times)
		}
		if complete {
			if r.Write != nil {
				c.spans[r.Clock] = blocks
				c.block(s.write(r), r.Write.Roots(), times)
			}
			for _, st := range r.States {
				c.total.Bytes += 2 * times * c.bytes(st.Type)
			}
			c.step(r)
		} else if blocks.count > 0 {
			c.spans[r.Clock] = blocks
			c.nodes, c.adding = c.adding, c.nodes
			c.block(s.write(r), r.Write.Adds(), 1)
			c.nodes, c.adding = c.adding, c.nodes
			c.states(r.Write.Adds(), 1)
			for _, n := range r.Write.Adds() {
				c.total.Bytes += c.bytes(n.Type)
			}
		}
		done += piece.count * times
	}
	delete(c.spans, r.Clock)
}

// states adds the bytes of the states that some nodes need, read so many times.
func (c *counter) states(roots []*Node, times int64) {
	for _, n := range Postorder(roots...) {
		if n.Op.Name == "state" {
			c.total.Bytes += times * c.bytes(n.Type)
		}
	}
}

// blocks gives the rows of the blocks that a piece of a chunk completes.
func (c *counter) blocks(r *Region, piece longSpan) longSpan {
	if r.Block == 0 || r.Write == nil {
		return longSpan{}
	}
	from := added(piece.first, r.Clock.Size, r.Block)
	return longSpan{from, added(piece.first+piece.count, r.Clock.Size, r.Block) - from}
}

// step moves the lengths on by one write, and reports whether any changed.
func (c *counter) step(r *Region) bool {
	next := make([]int64, len(r.Lens))
	changed := false
	for i, l := range r.Lens {
		next[i] = c.length(l.Next)
		changed = changed || next[i] != c.lens[l.Name]
	}
	for i, l := range r.Lens {
		c.lens[l.Name] = next[i]
	}
	return changed
}

// changes reports whether a write moves a length.
func (c *counter) changes(r *Region) bool {
	for _, l := range r.Lens {
		if c.length(l.Next) != c.lens[l.Name] {
			return true
		}
	}
	return false
}
