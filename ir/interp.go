package ir

import (
	"fmt"
	"maps"
	"slices"

	"github.com/memc-lang/memc/ir/elem"
)

// Weights gives the value of a weight node: as many elements as its type, in
// row-major order.
type Weights func(n *Node) (*Tensor, error)

// Run computes an entry point over a whole stream: the meaning of a graph, before
// streaming is derived or after. Inputs over the base clock say how many tokens
// the stream has. The last chunk of a scan, where it is not complete, is read
// but not written.
func Run(g *Graph, in map[string]*Tensor, weights Weights) (map[string]*Tensor, error) {
	out, _, err := RunProbes(g, in, weights)
	return out, err
}

// RunProbes is Run that gives the probes of every complete chunk too.
func RunProbes(g *Graph, in map[string]*Tensor, weights Weights) (map[string]*Tensor, []ProbeValue, error) {
	s := newSession([]*Graph{g}, weights)
	out, err := s.Call(g.Name, in)
	return out, s.TakeProbes(), err
}

// frame is where nodes have values: the constants of a session, a call, a piece
// of a scan's chunk, a write.
type frame struct {
	s      *Session
	up     *frame
	scope  *scope
	values map[*Node]*Tensor
	scans  map[*Node][]*Tensor // the rows that a scan gave
	spans  map[*Clock]span
	chunks map[*Clock]int64
	env    *Env
}

// span is the rows of a clock that are at hand.
type span struct {
	first int64
	count int
}

func (s *Session) frame(up *frame, sc *scope) *frame {
	f := &frame{s: s, up: up, scope: sc, values: map[*Node]*Tensor{}, scans: map[*Node][]*Tensor{}, spans: map[*Clock]span{}, chunks: map[*Clock]int64{}}
	f.env = &Env{
		Index: func(c *Clock) (int64, int) { p := f.span(c); return p.first, p.count },
		Chunk: f.chunk,
		Len:   func(name string) (int64, bool) { v, ok := s.now.lens[name]; return v, ok },
		Carry: s.carry,
		Keep:  s.keep,
	}
	return f
}

func (f *frame) span(c *Clock) span {
	for g := f; g != nil; g = g.up {
		if p, ok := g.spans[c]; ok {
			return p
		}
		if c.Kind != Prefixed {
			continue
		}
		p, ok := g.spans[c.Of]
		if !ok {
			continue
		}
		before, err := f.env.length(c.Prefix)
		if err != nil {
			return span{}
		}
		if p.first == 0 {
			return span{0, before + p.count}
		}
		return span{int64(before) + p.first, p.count}
	}
	return span{}
}

func (f *frame) chunk(c *Clock) int64 {
	for g := f; g != nil; g = g.up {
		if k, ok := g.chunks[c]; ok {
			return k
		}
	}
	return 0
}

// value gives what this frame or one around it has computed. Constants are
// computed when they are first asked for.
func (f *frame) value(n *Node) (*Tensor, error) {
	for g := f; g != nil; g = g.up {
		if t, ok := g.values[n]; ok {
			return t, nil
		}
		if g.up == nil {
			return g.compute(n)
		}
	}
	return nil, fmt.Errorf("%s has no value here", n.Op.Name)
}

func (f *frame) run(p *program) error {
	for i, n := range p.nodes {
		if _, bound := f.values[n]; !bound {
			if _, err := f.compute(n); err != nil {
				return err
			}
		}
		for _, d := range p.drop[i] {
			delete(f.values, d)
			delete(f.scans, d)
		}
	}
	return nil
}

func (f *frame) compute(n *Node) (*Tensor, error) {
	t, err := f.apply(n)
	if err != nil {
		return nil, at(n, err)
	}
	if t != nil && len(n.Type.Dims) > 0 && n.Type.Dims[0].Past && t.Rows == nil {
		for _, a := range n.Args {
			if v := f.values[a]; v != nil && v.Rows != nil {
				t.Rows = v.Rows
			}
		}
	}
	f.values[n] = t
	return t, nil
}

// at says at which node of the spec an error arose, unless it says so already.
func at(n *Node, err error) error {
	if _, ok := err.(*evalError); ok {
		return err
	}
	return &evalError{n, err}
}

type evalError struct {
	node *Node
	err  error
}

func (e *evalError) Error() string {
	where := ""
	if len(e.node.at) > 0 {
		where = e.node.at[0].String() + ": "
	}
	if e.node.Attr.Name != "" {
		return fmt.Sprintf("%s%s %q: %v", where, e.node.Op.Name, e.node.Attr.Name, e.err)
	}
	return where + e.node.Op.Name + ": " + e.err.Error()
}

func (e *evalError) Unwrap() error { return e.err }

// maxValue bounds the elements of one value, so that no graph asks for more than
// a few GB at once.
const maxValue = 1 << 30

func (f *frame) apply(n *Node) (*Tensor, error) {
	switch n.Op.Name {
	case "weight":
		return f.weight(n)
	case "scan":
		return nil, f.scan(n)
	case "result":
		for g := f; g != nil; g = g.up {
			if rows, ok := g.scans[n.Args[0]]; ok {
				return rows[n.Attr.Start], nil
			}
		}
		return nil, fmt.Errorf("the scan has not run")
	}
	if n.Op.Eval == nil {
		return nil, fmt.Errorf("%q has no value here: %s", n.Attr.Name, n.Op.Special)
	}
	in := make([]*Tensor, len(n.Args))
	for i, a := range n.Args {
		var err error
		if in[i], err = f.value(a); err != nil {
			return nil, err
		}
	}
	dims, err := f.env.sizes(n.Type.Dims, n.Args, in)
	if err != nil {
		return nil, err
	}
	elements := 1
	for _, d := range dims {
		if d > 0 && elements > maxValue/d {
			return nil, fmt.Errorf("%s of sizes %v is more than the interpreter holds", n.Type, dims)
		}
		elements *= d
	}
	return n.Op.Eval(n, in, f.env)
}

func (f *frame) weight(n *Node) (*Tensor, error) {
	if f.s.weights == nil {
		return nil, fmt.Errorf("there are no weights to take %s from", n.Attr.Name)
	}
	t, err := f.s.weights(n)
	if err != nil {
		return nil, err
	}
	if len(t.Data) != n.Type.Count() {
		return nil, fmt.Errorf("the weight %s is %s, found %d elements", n.Attr.Name, n.Type, len(t.Data))
	}
	dims, err := f.env.sizes(n.Type.Dims, nil, nil)
	return &Tensor{Elem: n.Type.Elem, Dims: dims, Data: t.Data}, err
}

// scan runs the body over the pieces into which the chunks' borders cut the
// rows at hand.
func (f *frame) scan(n *Node) error {
	r := n.Body
	over := f.span(r.Clock.Of)
	if over.first == 0 {
		if err := f.start(r); err != nil {
			return err
		}
	}
	args := make([]*Tensor, len(n.Args))
	for i, a := range n.Args {
		t, err := f.value(a)
		if err != nil {
			return err
		}
		if t.Dims[0] != over.count {
			return fmt.Errorf("argument %d has %d rows of %d", i, t.Dims[0], over.count)
		}
		args[i] = t
	}
	results := make([][]*Tensor, len(r.Rows))
	for done := 0; done < over.count || done == 0; {
		at := over.first + int64(done)
		offset := int(at % int64(r.Clock.Size))
		rows := min(r.Clock.Size-offset, over.count-done)
		c := f.s.frame(f, f.scope.body(r))
		c.spans[r.Clock] = span{int64(offset), rows}
		c.chunks[r.Clock] = at / int64(r.Clock.Size)
		for i, p := range r.Params {
			c.values[p] = args[i].cut(done, done+rows)
		}
		before := len(f.s.now.probes)
		if err := c.piece(r, offset+rows == r.Clock.Size); err != nil {
			return err
		}
		for i := range f.s.now.probes[before:] {
			if p := &f.s.now.probes[before+i]; p.Scan == "" { // else of a scan inside
				p.Scan = n.Attr.Name
			}
		}
		for i, o := range r.Rows {
			t, err := c.value(o)
			if err != nil {
				return err
			}
			results[i] = append(results[i], t)
		}
		if done += rows; rows == 0 {
			break
		}
	}
	f.scans[n] = make([]*Tensor, len(r.Rows))
	for i, ts := range results {
		f.scans[n][i] = stack(ts...)
		f.scans[n][i].Rows = nil
	}
	return nil
}

// start gives a scan's states and lengths their first values.
func (f *frame) start(r *Region) error {
	for _, l := range r.Lens {
		f.s.now.lens[l.Name] = l.Start
	}
	for i, st := range r.States {
		t, err := f.value(r.Init[i])
		if err != nil {
			return err
		}
		if f.s.now.tensors["state/"+st.Attr.Name], err = f.fit(t, r.Init[i], st, true); err != nil {
			return err
		}
	}
	f.s.clear(f.scope.body(r))
	return nil
}

// fit gives a value as a state holds it: its element type, its order of
// dimensions, the rows that its lengths say. A first value may have more rows
// than that: the rest is dropped.
func (f *frame) fit(t *Tensor, n, state *Node, first bool) (*Tensor, error) {
	dims, err := f.env.sizes(state.Type.Dims, nil, nil)
	if err != nil {
		return nil, err
	}
	for i, d := range state.Type.Dims {
		j := n.Type.Find(d.Name)
		if j < 0 || t.Dims[j] == dims[i] {
			continue
		}
		if !first || j != 0 || t.Dims[0] < dims[i] {
			return nil, fmt.Errorf("the state %s has %d rows %s now, but its value has %d", state.Attr.Name, dims[i], d.Name, t.Dims[j])
		}
		t = t.cut(0, dims[i])
	}
	data, err := arrange(state.Type.Dims, dims, n, t)
	if err != nil {
		return nil, err
	}
	if e := state.Type.Elem; e != elem.F32 && e != n.Type.Elem {
		data = append([]float64{}, data...)
		for i, x := range data {
			data[i] = Round(e, x)
		}
	}
	return &Tensor{Elem: state.Type.Elem, Dims: dims, Data: data}, nil
}

// piece computes the rows of a piece of a chunk and, where it completes the
// chunk, the write.
func (c *frame) piece(r *Region, complete bool) error {
	for _, st := range r.States {
		t, err := c.state(st)
		if err != nil {
			return err
		}
		c.values[st] = t
	}
	w := c
	switch {
	case r.Write != nil:
		roots := append(append([]*Node{}, r.Rows...), r.Kept...)
		if err := c.run(c.s.program(c.scope, r, "rows", roots)); err != nil {
			return err
		}
		from, to := int64(0), int64(r.Clock.Size)
		if p := c.spans[r.Clock]; r.Block > 0 {
			from = added(p.first, r.Clock.Size, r.Block)
			to = added(p.first+int64(p.count), r.Clock.Size, r.Block)
		}
		if !complete && (r.Block == 0 || from == to) {
			return nil
		}
		var err error
		if w, err = c.write(r, from, to); err != nil {
			return err
		}
		if !complete {
			return w.add(r)
		}
	case complete:
		return c.finish(r, r, c.s.program(c.scope, r, "all", r.Roots()))
	default:
		return c.run(c.s.program(c.scope, r, "rows", r.Rows))
	}
	return w.finish(r, r.Write, c.s.program(w.scope, r.Write, "all", r.Write.Roots()))
}

// state gives a state's value, checked against its lengths: a restored session
// may hold anything.
func (c *frame) state(n *Node) (*Tensor, error) {
	t := c.s.now.tensors["state/"+n.Attr.Name]
	dims, err := c.env.sizes(n.Type.Dims, nil, nil)
	if err == nil && (t == nil || !slices.Equal(t.Dims, dims)) {
		err = fmt.Errorf("the state %s has no value of %v", n.Attr.Name, dims)
	}
	return t, err
}

// write is the frame of a write after streaming: the states, and out of the
// histories the whole chunk's rows, or those from one block's border to another's.
func (c *frame) write(r *Region, from, to int64) (*frame, error) {
	w := c.s.frame(c.up, c.up.scope.write(r))
	w.spans[r.Clock] = span{from, int(to - from)}
	w.chunks[r.Clock] = c.chunks[r.Clock]
	kept := map[string]*Tensor{}
	for n, t := range c.values {
		if n.Op.Name == "keep" {
			kept[n.Attr.Name] = t
		}
	}
	for _, st := range r.States {
		w.values[st] = c.s.now.tensors["state/"+st.Attr.Name]
	}
	what, roots := "all", r.Write.Roots()
	if to < int64(r.Clock.Size) {
		what, roots = "sums", r.Write.Adds()
	}
	for _, n := range c.s.program(w.scope, r.Write, what, roots).nodes {
		if n.Op.Name != "kept" {
			continue
		}
		t := kept[n.Attr.Name]
		if t == nil {
			return nil, at(n, fmt.Errorf("no rows are kept as %s", n.Attr.Name))
		}
		dims, err := w.env.sizes(n.Type.Dims, nil, nil)
		if err != nil {
			return nil, at(n, err)
		}
		if n.Type.Clock() != nil && len(t.Dims) > 0 && t.Dims[0] >= dims[0] && (len(t.Rows) == 0 || t.Rows[0] == from) {
			t = t.cut(0, dims[0]) // later rows are of the next block
		}
		if count(dims) != len(t.Data) {
			return nil, at(n, fmt.Errorf("%s is %s, but %s was kept", n.Attr.Name, n.Type, t))
		}
		w.values[n] = &Tensor{Elem: n.Type.Elem, Dims: dims, Data: t.Data}
	}
	return w, nil
}

// add moves on the states that complete blocks add to.
func (w *frame) add(r *Region) error {
	if err := w.run(w.s.program(w.scope, r.Write, "sums", r.Write.Adds())); err != nil {
		return err
	}
	for i, n := range r.Write.Sums {
		if n == nil {
			continue
		}
		t, err := w.value(n)
		if err != nil {
			return err
		}
		if w.s.now.tensors["state/"+r.States[i].Attr.Name], err = w.fit(t, n, r.States[i], false); err != nil {
			return at(n, err)
		}
	}
	return nil
}

// finish runs a write of region r, whose next values are from's, and begins the
// next chunk.
func (c *frame) finish(r, from *Region, p *program) error {
	if err := c.run(p); err != nil {
		return err
	}
	s := c.s
	for _, pr := range from.Probes {
		t, err := c.value(pr.Value)
		if err != nil {
			return err
		}
		if len(t.Data) != 1 {
			return at(pr.Value, fmt.Errorf("the probe %s is no scalar: %s", pr.Name, t))
		}
		s.now.probes = append(s.now.probes, ProbeValue{Name: pr.Name, Chunk: c.chunk(r.Clock), Value: t.Data[0]})
	}
	lens := map[string]int64{}
	for _, l := range r.Lens {
		v, err := c.env.length(l.Next)
		if err != nil {
			return err
		}
		if v < 0 || int64(v) > l.Max {
			return fmt.Errorf("the length %s becomes %d, more than %d", l.Name, v, l.Max)
		}
		lens[l.Name] = int64(v)
	}
	maps.Copy(s.now.lens, lens)
	for i, st := range r.States {
		n := from.Next[i]
		if n == nil {
			continue
		}
		t, err := c.value(n)
		if err != nil {
			return err
		}
		if s.now.tensors["state/"+st.Attr.Name], err = c.fit(t, n, st, false); err != nil {
			return at(n, err)
		}
	}
	s.clear(c.up.scope.body(r))
	return nil
}
