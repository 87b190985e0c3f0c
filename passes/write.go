package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// A chunk's write needs sums over its rows. Those that need no other sum first
// are taken while the chunk is read: each is a state, to which rows are added
// block by block, and the token that completes the chunk adds the last block and
// does the rest of the write. What is no sum (a maximum, picked rows) waits for
// the whole chunk, whose rows are kept for it.

// blockRows is how many rows are added at a time. More are added with less
// traffic, since a block reads and writes all sums; but the token that completes
// a block does the work of all its rows. Eight rows of a write take no longer
// than half a token of the model around it, where a memory has a few per cent of
// that model's weights and a row of a write costs several reads. A block's rows
// may be summed as a group (kernel.Dot), since they are always added together.
const blockRows = 8

// writer makes the write of one scan.
type writer struct {
	*streamer
	name  string
	chunk *ir.Clock
	full  ir.Dim // the rows of a complete chunk
	body  *ir.Region
	early map[*ir.Node]bool // computed as rows arrive
	rows  *rebuild          // of what is computed as rows arrive

	params []*ir.Node
	sums   []*ir.Node        // of body.States
	zeros  []*ir.Node        // what these begin as
	mixed  map[*ir.Node]bool // what needs several rows
	done   [2]map[*ir.Node]*ir.Node
}

// What rows a node of the write is computed over.
const (
	overBlocks = iota // those of complete blocks: the clock's
	overChunk         // the whole chunk's: a static dimension
)

// write gives the region that has old's next states and probes, and adds to the
// body what it keeps for them.
func (w *writer) write(old *ir.Region) *ir.Region {
	w.sums = make([]*ir.Node, len(old.States))
	w.body.States, w.body.Init = slices.Clone(old.States), slices.Clone(old.Init)
	w.mixed = map[*ir.Node]bool{}
	w.done = [2]map[*ir.Node]*ir.Node{{}, {}}
	next := *old
	next.Rows, next.Kept, next.Next, next.Probes = nil, nil, nil, slices.Clone(old.Probes)
	for _, n := range old.Next {
		next.Next = append(next.Next, w.node(n, overChunk))
	}
	for i := range next.Probes {
		next.Probes[i].Value = w.node(old.Probes[i].Value, overChunk)
	}
	next.Params, next.States, next.Init = w.params, w.body.States, w.body.Init
	if len(w.sums) > len(old.States) {
		w.body.Block = blockRows
		next.Sums = w.sums
		next.Next = append(next.Next, w.zeros...) // for the next chunk
	}
	return &next
}

// node gives what m has become over those rows.
func (w *writer) node(m *ir.Node, over int) *ir.Node {
	if m == nil || w.fault != nil {
		return m
	}
	if x, ok := w.done[over][m]; ok {
		return x
	}
	var x *ir.Node
	switch {
	case m.Type.Clock() != nil && m.Op.Name != "index" && (m.Op.Name == "param" || w.early[m]) && !m.Type.Elem.Quantised(): // codes are made again
		x = w.keep(m, over)
	case over == overChunk && w.first(m):
		x = w.sum(m)
	default:
		args := make([]*ir.Node, len(m.Args))
		for i, a := range m.Args {
			args[i] = w.node(a, over)
		}
		if w.fault != nil {
			return m
		}
		w.b.At = m.Pos()
		if over == overChunk {
			x = w.whole(m, args)
		} else {
			x = w.b.Must(m.Op.Name, m.Attr, args...)
		}
	}
	w.done[over][m] = x
	return x
}

// keep keeps rows for the write: a parameter's, or some that are computed as they
// arrive.
func (w *writer) keep(m *ir.Node, over int) *ir.Node {
	if m.Type.Clock() != w.chunk {
		w.fail(m, "the write sums rows of %s, of which a chunk has no fixed number: drop the rows put before the chunk first", m.Type.Dims[0].Name)
		return m
	}
	label := fmt.Sprintf("%s.r%d", w.name, len(w.body.Kept))
	keep := ir.Keep{Chunk: true, Ring: w.chunk.Size}
	dims := slices.Clone(m.Type.Dims)
	if over == overBlocks {
		keep.Block = blockRows
	} else {
		dims[0] = w.full
	}
	w.b.At = m.Pos()
	w.body.Kept = append(w.body.Kept, w.b.Must("keep", ir.Attr{Name: label, Keep: keep}, w.rows.node(m)))
	w.b.At = m.Pos()
	x := w.b.Must("kept", ir.Attr{Name: label, Elem: m.Type.Elem, Dims: dims})
	w.params = append(w.params, x)
	return x
}

// first reports whether m is a sum over the chunk's rows that needs none before
// it, of a chunk that is worth cutting.
func (w *writer) first(m *ir.Node) bool {
	if w.chunk.Size < 2*blockRows || !ir.MixesRows(m) || !static(m.Type) {
		return false
	}
	switch {
	case m.Op.Name == "sum":
	case m.Op.Name == "dot" && len(m.Attr.Over) == 1:
	default:
		return false
	}
	return !slices.ContainsFunc(m.Args, func(a *ir.Node) bool { return a.Type.Clock() != w.chunk || w.mixes(a) })
}

// mixes reports whether a value of the write needs more than its own row.
func (w *writer) mixes(m *ir.Node) bool {
	mixed, ok := w.mixed[m]
	if !ok {
		mixed = m.Op.Name != "param" && !w.early[m] && (ir.MixesRows(m) || slices.ContainsFunc(m.Args, w.mixes))
		w.mixed[m] = mixed
	}
	return mixed
}

// sum makes a state of a sum over rows. Its other dimensions are summed when the
// chunk is complete.
func (w *writer) sum(m *ir.Node) *ir.Node {
	rows := w.full.Name
	var args []*ir.Node
	for _, a := range m.Args {
		args = append(args, w.node(a, overBlocks))
	}
	if w.fault != nil {
		return m
	}
	w.b.At = m.Pos()
	t := m.Type
	if len(args) == 2 && !slices.ContainsFunc(t.Dims, func(d ir.Dim) bool { return (args[0].Type.Find(d.Name) < 0) != (args[1].Type.Find(d.Name) < 0) }) {
		args = []*ir.Node{w.b.Mul(args[0], args[1])} // element by element
	}
	if len(args) == 1 {
		t = args[0].Type.Without([]string{rows})
	}
	st := w.b.Must("state", ir.Attr{Name: fmt.Sprintf("%s.sum#%d", w.name, len(w.sums)), Elem: elem.F32, Dims: t.Dims})
	zero := w.b.F(0)
	if len(t.Dims) > 0 {
		zero = w.b.Must("expand", ir.Attr{Dims: t.Dims}, zero)
	}
	x := w.b.Must("accumulate", ir.Attr{Over: []string{rows}}, append([]*ir.Node{st}, args...)...)
	w.body.States, w.body.Init, w.sums = append(w.body.States, st), append(w.body.Init, zero), append(w.sums, x)
	w.zeros = append(w.zeros, zero)
	if rest := slices.DeleteFunc(slices.Clone(m.Attr.Over), func(d string) bool { return d == rows }); len(rest) > 0 {
		x = w.b.Sum(x, rest...)
	}
	return x
}

// whole is m over the rows of a complete chunk.
func (w *writer) whole(m *ir.Node, args []*ir.Node) *ir.Node {
	switch {
	case m.Op.Name == "index" && m.Attr.Clock == w.chunk:
		return w.b.Must("iota", ir.Attr{Dims: []ir.Dim{w.full}})
	case m.Op.Name == "rows":
		return pick(w.b, args[0], w.full.Name, ir.Dim{Name: m.Attr.Dim, Size: len(m.Attr.Ints)}, m.Attr.Ints)
	}
	attr := m.Attr
	attr.Dims = redim(attr.Dims, w.chunk, w.full)
	x := w.b.Must(m.Op.Name, attr, args...)
	// Rows over a clock come first whatever their operands' order; the static
	// rows of a complete chunk must be put there.
	if want := redim(m.Type.Dims, w.chunk, w.full); len(want) == len(x.Type.Dims) {
		x = fill(w.b, x, want)
	}
	return x
}

// pick gives rows of a complete chunk along the dimension to: a slice where they
// follow each other.
func pick(b *ir.Builder, x *ir.Node, rows string, to ir.Dim, numbers []int64) *ir.Node {
	for i, r := range numbers {
		if r != numbers[0]+int64(i) {
			picked := b.Must("table", ir.Attr{Elem: elem.I64, Dims: []ir.Dim{to}, Ints: numbers})
			return b.Must("gather", ir.Attr{}, x, picked)
		}
	}
	part := b.Must("slice", ir.Attr{Dim: rows, Start: int(numbers[0]), Size: len(numbers)}, x)
	return b.Must("view", ir.Attr{Dims: append([]ir.Dim{to}, x.Type.Dims[1:]...)}, part)
}
