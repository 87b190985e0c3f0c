package irtest

import (
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// scan makes a memory over chunks: a matrix that rows read and sums over the
// chunk write, with some of momentum, a queue of picked rows whose rows come
// before the chunk's, attention inside the chunk, running sums.
func (m *maker) scan() {
	name := m.name("scan")
	c := &ir.Clock{Name: name, Kind: ir.Chunk, Of: m.clock, Size: 2 + m.pick(6)}
	if m.chance(3) {
		c.Size = 16 + m.pick(9) // long enough to be summed in blocks
	}
	if m.clock.Kind == ir.Woven {
		c.Size = m.clock.Size
	}
	s := &maker{src: m.src, b: m.b, clock: c, up: m}
	x := m.flat(m.any())
	d, o := x.Type.Dims[1], ir.Dim{Name: "o", Size: m.odd(7)}
	p := m.b.Must("param", ir.Attr{Name: "x", Elem: elem.F32, Dims: []ir.Dim{ir.RowDim(c), d}})
	r := &ir.Region{Clock: c, Params: []*ir.Node{p}}
	args := []*ir.Node{x}
	s.pool = []*ir.Node{p}
	if m.chance(2) {
		y := m.any()
		q := m.b.Must("param", ir.Attr{Name: "y", Elem: elem.F32, Dims: append([]ir.Dim{ir.RowDim(c)}, static(y)...)})
		r.Params, args = append(r.Params, q), append(args, y)
		s.pool = append(s.pool, q)
	}
	if m.number != nil {
		s.number = m.b.Must("param", ir.Attr{Name: "number", Elem: elem.I32, Dims: []ir.Dim{ir.RowDim(c)}})
		r.Params, args = append(r.Params, s.number), append(args, m.number)
	}

	// Reads.
	w := s.state(r, name+".w", m.weight(d.Size, o, d))
	s.add(m.b.Dot(w, p, d.Name), true)
	var queue *ir.Node
	if m.chance(2) {
		queue = s.queue(r, name, p)
	}
	if m.chance(3) {
		s.add(m.b.Must("cumsum", ir.Attr{Name: m.name("cumsum")}, m.b.Mul(s.any(), m.b.F(0.2))), true)
	}
	if m.chance(3) {
		s.attend()
	}
	for range m.pick(5) {
		s.grow(rowSteps)
	}
	r.Rows = []*ir.Node{s.gather(ir.Dim{Name: "out", Size: m.odd(7)})}
	if m.chance(3) {
		r.Rows = append(r.Rows, s.any())
	}

	// The write: W = 0.9·W + Σ_t u_t ⊗ p_t / size, rows scaled or with momentum.
	u := s.pool[len(s.pool)-1]
	for m.chance(2) {
		s.grow(rowSteps)
		u = s.any()
	}
	u = s.flat(u)
	u = m.b.Must("tanh", ir.Attr{}, m.b.Dot(u, m.weight(u.Type.Dims[1].Size, o, u.Type.Dims[1]), u.Type.Dims[1].Name))
	step := m.b.Mul(m.b.Dot(u, p, ir.RowDim(c).Name), m.b.F(1/float64(c.Size)))
	if m.chance(3) {
		at := m.b.Must("chunk.index", ir.Attr{Clock: c})
		even := m.op("eq", m.op("mod", at, m.b.I(2)), m.b.I(0))
		step = m.b.Select(even, step, m.b.Neg(step))
	}
	if m.chance(2) {
		zero := m.b.Must("expand", ir.Attr{Dims: []ir.Dim{o, d}}, m.b.F(0))
		mom := s.state(r, name+".m", zero)
		mean := m.b.Mul(m.b.Sum(m.op("sigmoid", p), ir.RowDim(c).Name, d.Name), m.b.F(1/float64(c.Size*d.Size)))
		step = m.b.Add(m.b.Mul(mean, mom), step)
		s.next(r, mom, step)
	}
	next := m.b.Add(m.b.Mul(w, m.b.F(0.9)), step)
	if m.chance(2) {
		size := m.op("rsqrt", m.b.Add(m.b.Sum(m.b.Mul(next, next), d.Name), m.b.F(0.1)))
		next = m.b.Mul(next, size)
	}
	s.next(r, w, next)
	if queue != nil {
		s.enqueue(r, name, queue, p)
	}
	if m.chance(2) {
		r.Probes = []ir.Probe{{Name: name, Value: m.b.Sum(m.b.Mul(step, step), o.Name, d.Name)}}
	}
	scan, err := m.b.Scan(name, r, args...)
	if err != nil {
		panic(err)
	}
	for i := range r.Rows {
		y := m.b.Result(scan, i)
		if len(static(y)) > 0 {
			y = m.b.Must("view", ir.Attr{Dims: []ir.Dim{ir.RowDim(m.clock), sized("f", width(static(y)))}}, y)
		}
		m.add(y, true)
	}
}

// state adds a state that starts as first; a write may be set by next.
func (s *maker) state(r *ir.Region, name string, first *ir.Node) *ir.Node {
	st := s.b.Must("state", ir.Attr{Name: name, Elem: elem.F32, Dims: first.Type.Dims})
	r.States, r.Init, r.Next = append(r.States, st), append(r.Init, first), append(r.Next, nil)
	return st
}

func (s *maker) next(r *ir.Region, state, value *ir.Node) {
	for i, st := range r.States {
		if st == state {
			r.Next[i] = value
		}
	}
}

// queue adds a bounded state and lets the chunk's rows attend over it and those
// before them.
func (s *maker) queue(r *ir.Region, name string, p *ir.Node) *ir.Node {
	most := s.odd(6)
	length := ints.V(name + ".n")
	d := p.Type.Dims[1]
	dims := []ir.Dim{{Name: "queue", Size: most, Len: length}, d}
	q := s.b.Must("state", ir.Attr{Name: name + ".q", Elem: elem.F32, Dims: dims})
	zero := s.b.Must("expand", ir.Attr{Dims: []ir.Dim{{Name: "queue", Size: most}, d}}, s.b.F(0))
	r.States, r.Init, r.Next = append(r.States, q), append(r.Init, zero), append(r.Next, nil)
	r.Lens = append(r.Lens, ir.Length{Name: name + ".n", Max: int64(most)})

	pc := &ir.Clock{Name: name + ".prefixed", Kind: ir.Prefixed, Of: r.Clock, Prefix: length, Most: most}
	z := &maker{src: s.src, b: s.b, clock: pc, up: s}
	z.pool = []*ir.Node{s.b.Must("prefix", ir.Attr{Clock: pc}, q, p)}
	for range s.pick(3) {
		z.grow([]func(m *maker){(*maker).unary, (*maker).binary, (*maker).norm, (*maker).position})
	}
	h, e := ir.Dim{Name: "heads", Size: s.odd(3)}, ir.Dim{Name: "size", Size: s.odd(5)}
	v := ir.Dim{Name: "wide", Size: s.odd(5)}
	causal := ints.Bin(ints.Le, ints.V("j"), ints.V("i"))
	o := z.attended(z.heads(z.any(), h, e), z.heads(z.any(), h, e), z.heads(z.any(), h, v), causal)
	s.add(s.b.Must("suffix", ir.Attr{}, o), false)
	return q
}

// enqueue writes picked rows of the chunk behind the queue's.
func (s *maker) enqueue(r *ir.Region, name string, q, p *ir.Node) {
	picks := make([]int64, 1+s.pick(2))
	for i := range picks {
		picks[i] = int64(s.pick(r.Clock.Size))
	}
	rows := s.b.Must("rows", ir.Attr{Dim: "queue", Ints: picks}, s.op("tanh", p))
	most := q.Type.Dims[0].Size
	all := s.b.Must("concat", ir.Attr{Dim: "queue"}, q, rows)
	s.next(r, q, s.b.Must("tail", ir.Attr{Size: most}, all))
	l := &r.Lens[len(r.Lens)-1]
	l.Next = ints.Least(ints.Plus(ints.V(l.Name), ints.C(int64(len(picks)))), ints.C(int64(most)))
}
