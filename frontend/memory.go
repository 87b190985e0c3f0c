package frontend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// A scanning is a memory being elaborated: the body of a scan over the chunks
// of a clock.
type scanning struct {
	name    string
	clock   *ir.Clock // the chunk's rows
	xs      []*ir.Node
	parts   map[*ir.Node]*ir.Node // an argument's part in the running chunk
	states  []*state
	probes  []ir.Probe
	mixed   map[string]*ir.Clock // prefixed clocks by their prefix
	written bool
}

// A state of a memory: one tensor, or a record of them.
type state struct {
	name  string
	of    *record
	nodes []*ir.Node // op state, one for each field
	first []*ir.Node
	next  []*ir.Node // nil where the write does not change it
	old   value
	len   string // name of the length of a bounded state
	max   int
}

func (st *state) value(nodes []*ir.Node) value {
	if st.of == nil {
		return tensorV{nodes[0]}
	}
	out := recordV{of: st.of}
	for _, n := range nodes {
		out.fields = append(out.fields, tensorV{n})
	}
	return out
}

func (st *state) initial() value { return st.value(st.first) }

// now is the state as the running write has made it so far.
func (st *state) now() value {
	if st.next == nil {
		return st.old
	}
	return st.value(st.next)
}

// part gives the running chunk's rows of a node over the clock that is cut.
func (m *scanning) part(e *elab, n *ir.Node) *ir.Node {
	if n.Type.Clock() != m.clock.Of || n.Type.Clock() == nil {
		return n
	}
	if p := m.parts[n]; p != nil {
		return p
	}
	dims := slices.Clone(n.Type.Dims)
	dims[0] = ir.RowDim(m.clock)
	p := e.b.Must("param", ir.Attr{Name: fmt.Sprintf("%s.x%d", m.name, len(m.xs)), Elem: n.Type.Elem, Dims: dims})
	m.parts[n] = p
	m.xs = append(m.xs, n)
	return p
}

// memory elaborates a call of a memory into a scan and gives its results. Calls
// that are alike, from two entries say, give the same scan.
func (e *elab) memory(f *fnDecl, pos lexer.Position, s *scope) value {
	if e.scan != nil {
		return e.errorf(pos, "a memory cannot stand inside another memory")
	}
	if f.Chunk == nil {
		return e.errorf(f.Pos, "a memory says which clock it cuts: chunk N of t")
	}
	if f.Body == nil {
		return e.errorf(f.Pos, "a memory has a body in { }")
	}
	of, size, ok := e.chunkOf(f.Chunk, s)
	if !ok {
		return badV{}
	}
	inst := e.path
	if inst == "" {
		inst = f.Name.Text
	}
	args := scopeKey(s)
	if len(args) > maxKey {
		return e.errorf(pos, "the arguments of a memory are too large")
	}
	key := fmt.Sprintf("%p|%s|%s|%d|%s", f, inst, of.Name, size, args)
	if vals, ok := e.memo[key]; ok {
		if t, ok := vals[0].(tensorV); ok {
			e.used[inst] = t.Args[0]
		}
		return oneOrList(vals)
	}
	if e.used[inst] != nil {
		return e.errorf(pos, "two memories at the path %s: their states would have one name; give each its own with at", inst)
	}
	m := &scanning{name: inst, clock: &ir.Clock{Name: inst + "." + of.Name, Kind: ir.Chunk, Of: of, Size: size}, parts: map[*ir.Node]*ir.Node{}, mixed: map[string]*ir.Clock{}}
	e.scan = m
	v := e.stmts(f.Body, s, m)
	defer func() { e.scan, e.phase = nil, outside }()
	if v == nil {
		return e.errorf(f.Body.Pos, "a memory must return rows of its chunk")
	}
	if isBad(v) || e.d.faulty() {
		return badV{}
	}
	results := []value{v}
	if l, ok := v.(listV); ok {
		results = l
	}
	r := &ir.Region{Clock: m.clock}
	for _, v := range results {
		n, ok := e.tensor(f.Body.Pos, v, "what a memory returns")
		if !ok {
			return badV{}
		}
		if n = m.part(e, n); n.Type.Clock() != m.clock {
			return e.errorf(f.Body.Stmts[len(f.Body.Stmts)-1].Pos, "a memory returns rows of its chunk, found %s", n.Type)
		}
		r.Rows = append(r.Rows, n)
	}
	for _, x := range m.xs {
		r.Params = append(r.Params, m.parts[x])
	}
	for _, st := range m.states {
		r.States = append(r.States, st.nodes...)
		r.Init = append(r.Init, st.first...)
		if st.next == nil {
			r.Next = append(r.Next, make([]*ir.Node, len(st.nodes))...)
		} else {
			r.Next = append(r.Next, st.next...)
		}
		if st.len != "" {
			l := ir.Length{Name: st.len, Max: int64(st.max), Next: ints.V(st.len)}
			if st.next != nil {
				l.Next = ir.LenOf(st.next[0].Type.Dims[0])
			}
			r.Lens = append(r.Lens, l)
		}
	}
	r.Probes = m.probes
	e.scan = nil
	e.b.At = []ir.Pos{place(pos)}
	scan, err := e.b.Scan(inst, r, m.xs...)
	if err != nil {
		return e.errorf(pos, "%v", err)
	}
	e.used[inst] = scan
	var vals []value
	for i := range r.Rows {
		vals = append(vals, tensorV{e.b.Result(scan, i)})
	}
	e.memo[key] = vals
	return oneOrList(vals)
}

func oneOrList(vals []value) value {
	if len(vals) == 1 {
		return vals[0]
	}
	return listV(vals)
}

// maxKey bounds the text of a memory's arguments.
const maxKey = 1 << 16

// scopeKey is a text that two sets of arguments share exactly when they are
// alike; beyond maxKey it is cut off.
func scopeKey(s *scope) string {
	var names []string
	for n := range s.vars {
		names = append(names, n)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, n := range names {
		out.WriteString(n + "=")
		writeKey(&out, s.vars[n])
		out.WriteByte(';')
	}
	return out.String()
}

func writeKey(out *strings.Builder, v value) {
	if out.Len() > maxKey {
		return
	}
	switch v := v.(type) {
	case tensorV:
		fmt.Fprintf(out, "%%%d", v.ID)
	case recordV:
		out.WriteString(v.of.name)
		writeKey(out, listV(v.fields))
	case listV:
		out.WriteByte('(')
		for _, x := range v {
			if out.Len() > maxKey {
				return
			}
			writeKey(out, x)
			out.WriteByte(',')
		}
		out.WriteByte(')')
	case maskV:
		out.WriteString(v.Expr.String())
	case lenV:
		out.WriteString(v.Expr.String())
	case dimV:
		fmt.Fprintf(out, "%s %p", v.Dim, v.Clock)
	case strV:
		fmt.Fprintf(out, "%q", string(v))
	default:
		out.WriteString(v.what())
	}
}

func (e *elab) chunkOf(x *chunkRef, s *scope) (*ir.Clock, int, bool) {
	var c *ir.Clock
	switch v := e.lookup(x.Of.Pos, x.Of.Text, s).(type) {
	case clockV:
		c = v.Clock
	case dimV:
		c = v.Clock
	case badV:
		return nil, 0, false
	}
	if c == nil || c.Kind != ir.Base && c.Kind != ir.Woven {
		e.errorf(x.Of.Pos, "a memory cuts a clock, and %s is none", x.Of.Text)
		return nil, 0, false
	}
	if x.Size == nil {
		if c.Kind != ir.Woven {
			e.errorf(x.Pos, "the clock %s has no chunks of its own: write chunk N of %s", c.Name, x.Of.Text)
			return nil, 0, false
		}
		return c, c.Size, true
	}
	if c.Kind == ir.Woven {
		e.errorf(x.Size.Pos, "the rows %s have chunks of their own: write chunk of %s", c.Name, x.Of.Text)
		return nil, 0, false
	}
	d, ok := e.sized(x.Size.Pos, "a chunk", e.expr(x.Size, s))
	return c, d.Size, ok
}

func (e *elab) chunkIndex(pos lexer.Position) value {
	if e.scan == nil {
		return e.errorf(pos, "chunk.index has a meaning inside a memory only")
	}
	return e.make(pos, "chunk.index", ir.Attr{Clock: e.scan.clock})
}

// declareState is state name[dims] len n = first.
func (e *elab) declareState(x *stateStmt, s *scope, m *scanning) {
	name := x.Name.Text
	s.vars[name] = badV{}
	st := &state{name: name}
	et := elem.F32
	if x.Elem != "" {
		var ok bool
		if et, ok = e.elemOf(x.Pos, x.Elem, s); !ok {
			return
		}
		if !et.Float() {
			e.errorf(x.Pos, "a state is f32, bf16 or f16, found %s", et)
			return
		}
	}
	fields := []field{{}}
	if x.Record != nil {
		r, ok := e.recordType(&typeName{Pos: x.Record.Pos, Elem: x.Record.Text})
		if !ok {
			e.errorf(x.Record.Pos, "there is no record type %s", x.Record.Text)
			return
		}
		st.of, fields = r, r.fields
	} else {
		dims, ok := e.dims(x.Shape, s)
		if !ok {
			return
		}
		fields[0].dims = dims
	}
	first := e.expr(x.Init, s)
	if isBad(first) {
		return
	}
	if x.Len != nil {
		if st.of != nil || len(fields[0].dims) == 0 {
			e.errorf(x.Len.Pos, "len counts the rows of one tensor's first dimension")
			return
		}
		if _, ok := first.(emptyV); !ok {
			e.errorf(x.Init.Pos, "a state with a len begins empty: = empty")
			return
		}
		st.len, st.max = m.name+"."+x.Len.Text, fields[0].dims[0].Size
		s.vars[x.Len.Text] = lenV{ints.V(st.len)}
		first = intV(0)
	}
	e.b.At = []ir.Pos{place(x.Pos)}
	for i, f := range fields {
		for _, d := range f.dims {
			if !d.Static() {
				e.errorf(x.Pos, "a state has static dimensions, found %s", d)
				return
			}
		}
		one := first
		if r, ok := first.(recordV); ok && st.of != nil {
			if r.of != st.of {
				e.errorf(x.Init.Pos, "the state %s is a record %s, found %s", name, st.of.name, first.what())
				return
			}
			one = r.fields[i]
		}
		n, ok := e.tensor(x.Init.Pos, one, "the first value of "+name)
		if !ok {
			return
		}
		n = e.numbers(n)
		if n.Type.Clock() != nil {
			e.errorf(x.Init.Pos, "the first value of the state %s has rows: %s", name, n.Type)
			return
		}
		v, ok := e.conform(&target{Pos: x.Init.Pos}, n, f.dims).(tensorV)
		if !ok {
			return
		}
		full := m.name + "." + name
		if f.name != "" {
			full += "." + f.name
		}
		dims := slices.Clone(f.dims)
		if st.len != "" {
			dims[0].Len = ints.V(st.len)
		}
		node, ok := e.make(x.Pos, "state", ir.Attr{Name: full, Elem: et, Dims: dims}).(tensorV)
		if !ok {
			return
		}
		st.first = append(st.first, v.Node)
		st.nodes = append(st.nodes, node.Node)
	}
	if slices.ContainsFunc(m.states, func(o *state) bool { return o.name == name }) {
		e.errorf(x.Name.Pos, "the state %s is declared twice", name)
		return
	}
	st.old = st.value(st.nodes)
	m.states = append(m.states, st)
	s.vars[name] = stateV{st}
}

// writeState gives a state its next value.
func (e *elab) writeState(t *target, st *state, v value) {
	if isBad(v) {
		return
	}
	vals := []value{v}
	if st.of != nil {
		r, ok := v.(recordV)
		if !ok || r.of != st.of {
			e.errorf(t.Pos, "the state %s is a record %s, found %s", st.name, st.of.name, v.what())
			return
		}
		vals = r.fields
	}
	var next []*ir.Node
	for i, v := range vals {
		n, ok := e.tensor(t.Pos, v, "the next value of "+st.name)
		if !ok {
			return
		}
		n = e.numbers(n)
		want := st.nodes[i].Type
		if !n.Type.Elem.Float() {
			e.errorf(t.Pos, "the state %s is %s, found %s: say `as f32`", st.name, want, n.Type)
			return
		}
		if c := n.Type.Clock(); c != nil {
			e.errorf(t.Pos, "the state %s is %s, found %s: a write gives values without rows (sum_%s, mean_%s and last take them away)", st.name, want, n.Type, n.Type.Dims[0].Name, n.Type.Dims[0].Name)
			return
		}
		fits := len(n.Type.Dims) <= len(want.Dims)
		dims := slices.Clone(want.Dims)
		for k, d := range n.Type.Dims {
			at := want.Find(d.Name)
			switch {
			case at < 0:
				fits = false
			case want.Dims[at].Len != nil:
				fits = fits && d.Size <= want.Dims[at].Size && k == at
				dims[at] = d
			default:
				fits = fits && d.Same(want.Dims[at])
			}
		}
		if !fits {
			e.errorf(t.Pos, "the state %s is %s, found %s", st.name, want, n.Type)
			return
		}
		c, ok := e.conform(t, n, dims).(tensorV)
		if !ok {
			return
		}
		next = append(next, c.Node) // the state rounds what it keeps
	}
	st.next = next
}

func (e *elab) probe(x *probeStmt, s *scope) {
	v := e.expr(x.Value, s)
	n, ok := e.tensor(x.Value.Pos, v, "a probe")
	if !ok {
		return
	}
	if len(n.Type.Dims) > 0 {
		e.errorf(x.Value.Pos, "a probe shows a scalar, found %s", n.Type)
		return
	}
	if n = e.numbers(n); !n.Type.Elem.Float() {
		t, ok := e.make(x.Value.Pos, "cast", ir.Attr{Elem: elem.F32}, n).(tensorV)
		if !ok {
			return
		}
		n = t.Node
	}
	full := x.Name.Text
	if slices.ContainsFunc(e.scan.probes, func(p ir.Probe) bool { return p.Name == full }) {
		e.errorf(x.Name.Pos, "the probe %s is named twice", x.Name.Text)
		return
	}
	e.scan.probes = append(e.scan.probes, ir.Probe{Name: full, Value: n})
}
