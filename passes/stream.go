package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// stream derives what is carried from call to call. Row-wise values need
// nothing; attend and shift read histories (op keep), as long as the mask says;
// a scan's body is split in two at its first reductions over the chunk: rows,
// computed for each piece of a chunk that a call brings, and the write, computed
// when the chunk is complete from the rows that were kept of it.
func stream(g *ir.Graph) (*ir.Graph, error) {
	s := &streamer{b: g.B}
	r := newRebuild(g.B, func(n *ir.Node, args []*ir.Node) *ir.Node {
		if s.fault != nil {
			return nil
		}
		switch n.Op.Name {
		case "scan":
			return s.scan(n, args)
		case "attend":
			return s.attend(n, args, n.Attr.Name, keepFor(n.Attr.Where))
		case "shift":
			kept := g.B.Must("keep", ir.Attr{Name: n.Attr.Name, Keep: ir.Keep{Ring: n.Attr.Start}}, args[0])
			return g.B.Must("shift", n.Attr, kept)
		case "cumsum", "rows":
			s.fail(n, "%s stands inside a scan", n.Op.Name)
		}
		if ir.MixesRows(n) {
			s.fail(n, "mixes rows of %s: cannot stream", n.Args[0].Type.Dims[0].Name)
		}
		return nil
	})
	return r.graph(g), s.fault
}

type streamer struct {
	b     *ir.Builder
	fault error
}

func (s *streamer) fail(n *ir.Node, f string, a ...any) {
	if s.fault != nil {
		return
	}
	s.fault = fmt.Errorf(f, a...)
	if len(n.Pos()) > 0 {
		s.fault = fmt.Errorf("%s: error: %w", n.Pos()[0], s.fault)
	}
}

func (s *streamer) attend(n *ir.Node, args []*ir.Node, name string, keep ir.Keep) *ir.Node {
	if args[1].Op.Name == "keep" {
		return nil
	}
	args = slices.Clone(args)
	args[1] = s.b.Must("keep", ir.Attr{Name: name + ".k", Keep: keep}, args[1])
	args[2] = s.b.Must("keep", ir.Attr{Name: name + ".v", Keep: keep}, args[2])
	key, err := ir.KeyRows(n.Attr.Where, len(args)-3)
	if err != nil {
		s.fail(n, "%v", err)
		return nil
	}
	for i := range key { // what the mask knows of the keys' rows is kept as long as they are
		if key[i] {
			args[3+i] = s.b.Must("keep", ir.Attr{Name: fmt.Sprintf("%s.m%d", name, i), Keep: keep}, args[3+i])
		}
	}
	attr := n.Attr
	attr.Name = name
	return s.b.Must("attend", attr, args...)
}

// scan splits a body into its rows and its write.
func (s *streamer) scan(n *ir.Node, args []*ir.Node) *ir.Node {
	body := n.Body
	if body.Write != nil {
		return nil
	}
	chunk := body.Clock
	name := n.Attr.Name

	// Everything that rows need, and whatever of the write must be computed as
	// rows arrive because it looks back inside the chunk.
	late := slices.Clone(body.Next)
	for _, p := range body.Probes {
		late = append(late, p.Value)
	}
	roots := slices.Clone(body.Rows)
	for _, m := range ir.Postorder(late...) {
		if m.Op.Rows == ir.Masked || m.Op.Rows == ir.Stepwise || m.Op.Name == "prefix" || m.Op.Name == "suffix" {
			roots = append(roots, m)
		}
	}
	early := map[*ir.Node]bool{}
	for _, m := range ir.Postorder(roots...) {
		if ir.MixesRows(m) {
			s.fail(m, "mixes rows of %s: cannot stream (a row would need later ones)", m.Args[0].Type.Dims[0].Name)
			return nil
		}
		early[m] = true
	}

	// Rows: attends read histories of the chunk, which is over when it is written.
	// A running sum is from here on the recurrence that it is.
	count := 0
	rows := newRebuild(s.b, func(m *ir.Node, a []*ir.Node) *ir.Node {
		switch m.Op.Name {
		case "cumsum":
			return s.b.Must("linrec", ir.Attr{Name: m.Attr.Name}, s.b.F(1), a[0])
		case "attend":
		default:
			return nil
		}
		count++
		c := m.Args[1].Type.Clock()
		return s.attend(m, a, fmt.Sprintf("%s.a%d", name, count-1), ir.Keep{Chunk: true, Ring: c.Most + chunk.Size})
	})
	next := *body
	next.Rows = rows.nodes(body.Rows)
	next.Next, next.Probes, next.Kept = nil, nil, nil

	// The cut: where the walk down from the next states meets a row value that is
	// a parameter or computed as rows arrive, that value is kept for the write.
	write := *body
	write.Rows, write.Kept, write.Params = nil, nil, nil
	full := ir.Dim{Name: ir.RowDim(chunk).Name, Size: chunk.Size}
	done := map[*ir.Node]*ir.Node{}
	seen := map[*ir.Node]bool{}
	var walk func(m *ir.Node)
	walk = func(m *ir.Node) {
		if m == nil || seen[m] {
			return
		}
		seen[m] = true
		if m.Type.Clock() == nil || m.Op.Name == "index" || m.Op.Name != "param" && !early[m] {
			for _, a := range m.Args {
				walk(a)
			}
			return
		}
		if m.Type.Clock() != chunk {
			s.fail(m, "the write sums rows of %s, of which a chunk has no fixed number: drop the rows put before the chunk first", m.Type.Dims[0].Name)
			return
		}
		label := fmt.Sprintf("%s.r%d", name, len(next.Kept))
		s.b.At = m.Pos()
		dims := slices.Clone(m.Type.Dims)
		dims[0] = full
		next.Kept = append(next.Kept, s.b.Must("keep", ir.Attr{Name: label, Keep: ir.Keep{Chunk: true, Ring: chunk.Size}}, rows.node(m)))
		done[m] = s.b.Must("kept", ir.Attr{Name: label, Elem: m.Type.Elem, Dims: dims})
		write.Params = append(write.Params, done[m])
	}
	for _, m := range late {
		if m != nil && m.Type.Clock() != nil {
			s.fail(m, "a state cannot have rows over %s", chunk.Name)
			return nil
		}
		walk(m)
	}
	inWrite := newRebuild(s.b, func(m *ir.Node, a []*ir.Node) *ir.Node {
		switch {
		case m.Op.Name == "index" && m.Attr.Clock == chunk:
			return s.b.Must("iota", ir.Attr{Dims: []ir.Dim{full}})
		case m.Op.Name == "rows":
			return pick(s.b, a[0], full.Name, ir.Dim{Name: m.Attr.Dim, Size: len(m.Attr.Ints)}, m.Attr.Ints)
		}
		attr := m.Attr
		attr.Dims = redim(attr.Dims, chunk, full)
		x := s.b.Must(m.Op.Name, attr, a...)
		// Rows over a clock come first whatever their operands' order; the static
		// rows of a complete chunk must be put there.
		if want := redim(m.Type.Dims, chunk, full); len(want) == len(x.Type.Dims) {
			x = fill(s.b, x, want)
		}
		return x
	})
	inWrite.done = done
	write.Next = inWrite.nodes(body.Next)
	write.Probes = slices.Clone(body.Probes)
	for i := range write.Probes {
		write.Probes[i].Value = inWrite.node(body.Probes[i].Value)
	}
	next.Write = &write
	sc, err := s.b.Scan(name, &next, args...)
	if err != nil {
		s.fail(n, "%v", err)
		return nil
	}
	return sc
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
