package ir

import "slices"

// program is the order in which a frame of the interpreter computes its nodes:
// those that vary with the frame's own leaves. The others are captures, which
// the frame around it has computed.
type program struct {
	nodes    []*Node
	drop     [][]*Node // after each node: the values that nothing asks for any more
	captures []*Node
}

// scope says which nodes vary in a frame: those that depend on one of its
// leaves. In a call's frame these are inputs and row numbers; in a scan's, the
// chunk's rows, states, lengths and numbers.
type scope struct {
	region *Region // nil: a call
	all    bool    // everything varies: for printing
	leaves map[*Node]bool
	lens   map[string]bool
	known  map[*Node]bool
	bodies map[*Region]*scope
}

func newScope(r *Region) *scope {
	s := &scope{region: r, leaves: map[*Node]bool{}, lens: map[string]bool{}, known: map[*Node]bool{}, bodies: map[*Region]*scope{}}
	if r != nil {
		for _, n := range slices.Concat(r.Params, r.States) {
			s.leaves[n] = true
		}
		for _, l := range r.Lens {
			s.lens[l.Name] = true
		}
	}
	return s
}

// body is the scope of a scan's body that stands in s.
func (s *scope) body(r *Region) *scope {
	if s.bodies[r] == nil {
		s.bodies[r] = newScope(r)
	}
	return s.bodies[r]
}

// write is the scope of a write that stands apart: the same leaves, but for
// histories in place of the chunk's rows.
func (s *scope) write(r *Region) *scope {
	if s.bodies[r.Write] == nil {
		s.bodies[r.Write] = newScope(r)
	}
	return s.bodies[r.Write]
}

func (s *scope) follows(c *Clock) bool {
	if s.region == nil {
		return c.Kind == Base || c.Kind == Woven
	}
	return c == s.region.Clock || c.Kind == Prefixed && c.Of == s.region.Clock
}

func (s *scope) leaf(n *Node) bool {
	switch n.Op.Name {
	case "input":
		return s.region == nil
	case "kept":
		return s.region != nil
	case "index", "chunk.index":
		return n.Attr.Clock != nil && s.follows(n.Attr.Clock)
	}
	if s.leaves[n] {
		return true
	}
	for _, d := range n.Type.Dims {
		if d.Clock != nil && s.follows(d.Clock) {
			return true
		}
		if d.Len != nil {
			for name := range s.lens {
				if d.Len.Has(name) {
					return true
				}
			}
		}
	}
	return false
}

// varies reports whether n's value depends on the scope's leaves.
func (s *scope) varies(n *Node) bool {
	if s.all {
		return true
	}
	if v, ok := s.known[n]; ok {
		return v
	}
	v := s.leaf(n) || slices.ContainsFunc(s.deps(n), s.varies)
	s.known[n] = v
	return v
}

// deps are the nodes whose values computing n asks for.
func (s *scope) deps(n *Node) []*Node {
	if n.Body == nil {
		return n.Args
	}
	d := append(slices.Clone(n.Args), n.Body.Init...)
	d = append(d, s.body(n.Body).program(n.Body.Roots()).captures...)
	if w := n.Body.Write; w != nil {
		d = append(d, s.write(n.Body).program(w.Roots()).captures...)
	}
	return d
}

// program orders what roots need. The roots' values and those of histories,
// which a write may read, stay.
func (s *scope) program(roots []*Node) *program {
	p := &program{}
	seen := map[*Node]bool{}
	last := map[*Node]int{}
	var visit func(n *Node)
	visit = func(n *Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if !s.varies(n) {
			p.captures = append(p.captures, n)
			return
		}
		deps := s.deps(n)
		for _, d := range deps {
			visit(d)
		}
		for _, d := range deps {
			last[d] = len(p.nodes)
		}
		p.nodes = append(p.nodes, n)
	}
	for _, r := range roots {
		if r != nil {
			visit(r)
		}
	}
	p.drop = make([][]*Node, len(p.nodes))
	for _, n := range p.nodes {
		if at, ok := last[n]; ok && n.Op.Name != "keep" && !slices.Contains(roots, n) {
			p.drop[at] = append(p.drop[at], n)
		}
	}
	return p
}
