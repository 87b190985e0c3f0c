package passes

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir"
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

	w := &writer{streamer: s, name: name, chunk: chunk, full: ir.Dim{Name: ir.RowDim(chunk).Name, Size: chunk.Size}, body: &next, early: early, rows: rows}
	for _, m := range late {
		if m != nil && m.Type.Clock() != nil {
			s.fail(m, "a state cannot have rows over %s", chunk.Name)
			return nil
		}
	}
	write := w.write(body)
	if s.fault != nil {
		return nil
	}
	next.Write = write
	sc, err := s.b.Scan(name, &next, args...)
	if err != nil {
		s.fail(n, "%v", err)
		return nil
	}
	return sc
}
