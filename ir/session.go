package ir

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/elem"
)

// Session runs entry points that share state over one stream, a call at a time.
// A call that fails leaves the session as it was. It is not safe for use by
// several goroutines at once.
type Session struct {
	graphs   map[string]*Graph
	weights  Weights
	consts   *frame
	calls    map[string]*scope
	programs map[programKey]*program
	streamed bool
	was, now memory // what the last call left; what the running call works on
}

// memory is what a stream carries from call to call.
type memory struct {
	pos     int64
	tensors map[string]*Tensor // under "state/", "keep/" and "carry/" and a name
	lens    map[string]int64
	probes  []ProbeValue
}

type programKey struct {
	scope *scope
	what  string
}

// ProbeValue is what a probe showed when a chunk was complete.
type ProbeValue struct {
	Name  string
	Chunk int64
	Value float64
	Scan  string // the name of the scan that the probe stands in
}

// NewSession begins a stream. The graphs must have gone through the pass that
// derives streaming: every op that looks back at earlier rows has a name to
// carry them under, and scans have their write apart.
func NewSession(graphs []*Graph, weights Weights) (*Session, error) {
	for _, g := range graphs {
		var err error
		everyNode(g, func(n *Node) {
			switch {
			case err != nil:
			case n.Op.Name == "attend" && !n.Args[1].Type.Dims[0].Past, n.Op.Name == "shift" && !n.Args[0].Type.Dims[0].Past:
				err = at(n, fmt.Errorf("%s: it looks back without a history: streaming has not been derived", g.Name))
			case n.Op.Name == "scan" && n.Body.Write == nil && slices.ContainsFunc(n.Body.Next, func(n *Node) bool { return n != nil }):
				err = at(n, fmt.Errorf("%s: the write stands with the rows: streaming has not been derived", g.Name))
			case carries(n) && n.Attr.Name == "":
				err = at(n, fmt.Errorf("%s: it needs a name to carry rows from call to call", g.Name))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	s := newSession(graphs, weights)
	s.streamed = true
	return s, nil
}

// everyNode visits the nodes of a graph and those of the bodies in it.
func everyNode(g *Graph, visit func(*Node)) {
	var region func(r *Region)
	seen := map[*Node]bool{}
	all := func(roots []*Node) {
		for _, n := range Postorder(roots...) {
			if seen[n] {
				continue
			}
			seen[n] = true
			visit(n)
			if n.Body != nil {
				region(n.Body)
			}
		}
	}
	region = func(r *Region) {
		all(r.Init)
		all(r.Params)
		all(r.Roots())
		if r.Write != nil {
			region(r.Write)
		}
	}
	all(g.Inputs)
	all(g.Roots())
}

// carries reports whether the op leaves something for its next rows.
func carries(n *Node) bool {
	switch n.Op.Name {
	case "keep", "cumsum", "linrec":
		return true
	}
	return false
}

func newSession(graphs []*Graph, weights Weights) *Session {
	s := &Session{graphs: map[string]*Graph{}, weights: weights, calls: map[string]*scope{}, programs: map[programKey]*program{}}
	for _, g := range graphs {
		s.graphs[g.Name] = g
		s.calls[g.Name] = newScope(nil)
	}
	s.was = memory{tensors: map[string]*Tensor{}, lens: map[string]int64{}}
	s.consts = s.frame(nil, nil)
	return s
}

// Position is the number of tokens read so far.
func (s *Session) Position() int64 { return s.was.pos }

// StateBytes is the memory that the state needs in its own element types.
func (s *Session) StateBytes() int64 {
	n := int64(0)
	for _, t := range s.was.tensors {
		last := 1
		if len(t.Dims) > 0 {
			last = t.Dims[len(t.Dims)-1]
		}
		n += t.Elem.Bytes(int64(len(t.Data)), int64(last))
	}
	return n
}

// TakeProbes gives the probes of the chunks completed since it was last called.
func (s *Session) TakeProbes() []ProbeValue {
	p := s.was.probes
	s.was.probes = nil
	return p
}

// Call feeds an entry point the next rows of the stream and gives its outputs.
func (s *Session) Call(entry string, in map[string]*Tensor) (map[string]*Tensor, error) {
	g := s.graphs[entry]
	if g == nil {
		return nil, fmt.Errorf("there is no entry %q; there are %s", entry, strings.Join(slices.Sorted(maps.Keys(s.graphs)), ", "))
	}
	s.now = memory{s.was.pos, maps.Clone(s.was.tensors), maps.Clone(s.was.lens), slices.Clone(s.was.probes)}
	f := s.frame(s.consts, s.calls[entry])
	rows, err := f.bind(g, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", entry, err)
	}
	if err := f.run(s.program(f.scope, nil, "call", g.Roots())); err != nil {
		return nil, err
	}
	out := map[string]*Tensor{}
	for _, o := range g.Outputs {
		t, err := f.value(o.Node)
		if err != nil {
			return nil, err
		}
		out[o.Name] = &Tensor{Elem: t.Elem, Dims: t.Dims, Data: t.Data}
	}
	s.now.pos += int64(rows)
	s.was = s.now
	return out, nil
}

// bind checks the inputs, sets the clocks, and gives the number of tokens.
func (f *frame) bind(g *Graph, in map[string]*Tensor) (rows int, err error) {
	rows = -1
	for _, n := range g.Inputs {
		t := in[n.Attr.Name]
		if t == nil {
			return 0, fmt.Errorf("the input %s is missing", n.Attr.Name)
		}
		if len(t.Dims) != len(n.Type.Dims) || count(t.Dims) != len(t.Data) {
			return 0, fmt.Errorf("the input %s is %s, found %s with %d elements", n.Attr.Name, n.Type, t, len(t.Data))
		}
		if c := n.Type.Clock(); c != nil && c.Kind == Base {
			if rows >= 0 && rows != t.Dims[0] {
				return 0, fmt.Errorf("the input %s has %d rows where another has %d", n.Attr.Name, t.Dims[0], rows)
			}
			rows = t.Dims[0]
		}
	}
	rows = max(rows, 0)
	pos := f.s.was.pos
	for _, c := range g.Clocks {
		if c.Kind == Base || c.Kind == Woven {
			from := c.RowsAt(pos)
			f.spans[c] = span{from, int(c.RowsAt(pos+int64(rows)) - from)}
		}
	}
	if g.Base != nil {
		f.spans[g.Base] = span{pos, rows}
	}
	for _, n := range g.Inputs {
		t := in[n.Attr.Name]
		for i, d := range n.Type.Dims {
			want, err := f.env.size(d, nil, nil)
			if err != nil {
				return 0, err
			}
			if t.Dims[i] != want {
				return 0, fmt.Errorf("the input %s is %s, found %s: %d along %s, expected %d", n.Attr.Name, n.Type, t, t.Dims[i], d.Name, want)
			}
		}
		f.values[n] = &Tensor{Elem: n.Type.Elem, Dims: t.Dims, Data: t.Data}
	}
	return rows, nil
}

// program finds or makes the order of computation of a frame.
func (s *Session) program(sc *scope, r *Region, what string, roots []*Node) *program {
	k := programKey{sc, what}
	if s.programs[k] == nil {
		s.programs[k] = sc.program(roots)
	}
	return s.programs[k]
}

func carryKey(n *Node) string {
	if n.Op.Name == "keep" {
		return "keep/" + n.Attr.Name
	}
	return "carry/" + n.Attr.Name
}

func (s *Session) carry(n *Node) (*Tensor, error) {
	if !s.streamed {
		return nil, nil
	}
	return s.now.tensors[carryKey(n)], nil
}

func (s *Session) keep(n *Node, t *Tensor) error {
	if s.streamed {
		s.now.tensors[carryKey(n)] = t
	}
	return nil
}

// clear drops what the nodes of a scan's body carried through its chunk.
func (s *Session) clear(sc *scope) {
	if !s.streamed {
		return
	}
	for n, varies := range sc.known {
		if varies && carries(n) && n.Attr.Name != "" {
			delete(s.now.tensors, carryKey(n))
		}
	}
}

// State gives everything that the stream carries as named tensors: states,
// histories with their row numbers under "rows/", lengths, and the position.
func (s *Session) State() map[string]*Tensor {
	out := map[string]*Tensor{"position": Scalar(elem.I64, float64(s.was.pos))}
	for name, t := range s.was.tensors {
		out[name] = &Tensor{Elem: t.Elem, Dims: t.Dims, Data: t.Data}
		if name, ok := strings.CutPrefix(name, "keep/"); ok {
			rows := NewTensor(elem.I64, len(t.Rows))
			for i, r := range t.Rows {
				rows.Data[i] = float64(r)
			}
			out["rows/"+name] = rows
		}
	}
	for name, v := range s.was.lens {
		out["len/"+name] = Scalar(elem.I64, float64(v))
	}
	return out
}

// SetState goes on where State was taken, by a session of the same graphs. An
// error says what does not fit; the session then stays as it was.
func (s *Session) SetState(from map[string]*Tensor) error {
	m := memory{tensors: map[string]*Tensor{}, lens: map[string]int64{}}
	want := s.carried()
	for name, t := range from {
		if t == nil || count(t.Dims) != len(t.Data) {
			return fmt.Errorf("the state holds %q without its elements", name)
		}
		kind, rest, _ := strings.Cut(name, "/")
		switch kind {
		case "position", "len":
			if len(t.Data) != 1 || t.Data[0] < 0 || t.Data[0] > 1<<53 || t.Data[0] != float64(int64(t.Data[0])) {
				return fmt.Errorf("the state's %s is no number of rows", name)
			}
			if kind == "position" {
				m.pos = int64(t.Data[0])
			} else if most, ok := want[name]; !ok || int(t.Data[0]) > most[0] {
				return fmt.Errorf("the state's %s does not fit", name)
			} else {
				m.lens[rest] = int64(t.Data[0])
			}
		case "state", "keep", "carry":
			dims, ok := want[name]
			if !ok || len(dims) != len(t.Dims) {
				return fmt.Errorf("the state holds %q %s, which this program does not have", name, t)
			}
			for i, d := range dims {
				if d != t.Dims[i] && (d >= 0 || t.Dims[i] > -d) {
					return fmt.Errorf("the state's %s is %s, which does not fit %v", name, t, dims)
				}
			}
			c := *t
			if rows := from["rows/"+rest]; kind == "keep" {
				if rows == nil || len(rows.Data) != t.Dims[0] {
					return fmt.Errorf("the state's %s lacks the numbers of its rows", name)
				}
				c.Rows = make([]int64, len(rows.Data))
				for i, r := range rows.Data {
					c.Rows[i] = int64(r)
					if r < 0 || i > 0 && c.Rows[i] <= c.Rows[i-1] {
						return fmt.Errorf("the rows of %s do not rise", name)
					}
				}
			}
			m.tensors[name] = &c
		case "rows":
		default:
			return fmt.Errorf("the state holds %q, which no state is called", name)
		}
	}
	s.was = m
	return nil
}

// anyRows is the bound of a dimension whose rows are not limited, as carried
// gives it.
const anyRows = -1 << 62

// carried gives the sizes of each tensor that a state may hold; one below 0 is
// a bound. Lengths have their most rows.
func (s *Session) carried() map[string][]int {
	want := map[string][]int{}
	sizes := func(dims []Dim) []int {
		out := make([]int, len(dims))
		for i, d := range dims {
			switch {
			case d.Clock != nil:
				out[i] = anyRows
			case d.Len != nil:
				out[i] = -d.Size
			default:
				out[i] = d.Size
			}
		}
		return out
	}
	for _, g := range s.graphs {
		everyNode(g, func(n *Node) {
			switch n.Op.Name {
			case "keep":
				want[carryKey(n)] = sizes(n.Type.Dims)
			case "cumsum", "linrec":
				want[carryKey(n)] = sizes(n.Type.Dims[1:])
			case "state":
				want["state/"+n.Attr.Name] = sizes(n.Type.Dims)
			case "scan":
				for _, l := range n.Body.Lens {
					want["len/"+l.Name] = []int{int(l.Max)}
				}
				for _, st := range n.Body.States {
					want["state/"+st.Attr.Name] = sizes(st.Type.Dims)
				}
			}
		})
	}
	return want
}
