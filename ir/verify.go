package ir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
)

// Verify checks, and reports every fault at its place in the spec:
//
//   - types: each node's type is what its op infers from its operands; its
//     attributes are those that its op's row lists
//   - dimensions: at most one is over a clock, and it is the first; names differ
//   - clocks: parents and patterns hold together; those of the stream stand in
//     the graph's list behind their parents
//   - places: a leaf stands in the graph or scan that it is declared by, a
//     chunk's rows stay in its scan, and a body takes no rows from outside
//   - rows: what mixes rows of a clock is used by a chunk's write alone; the
//     call's last row goes to outputs alone
//   - masks: no row sees a later one, whatever integers the rows have
//   - histories: none forgets a row that a mask still sees; those of an attend
//     keep the same rows
//   - states: first and next values fit; their rows are as many as the lengths say
//   - lengths: they stay between 0 and their most
//   - writes that stand apart: they see the chunk's rows as histories only, and
//     the rows of its blocks in sums that go on from block to block
//   - names: states, attends, scans and all that is carried have a name of
//     their own; weights of one name are one tensor
//   - ports: inputs and outputs have different names; probes are scalars
//   - groups: each node stands in one group at most, behind its operands
func (g *Graph) Verify() []error {
	v := &verifier{g: g, names: map[string]*Node{}, clocks: map[*Clock]bool{}, done: map[*Node]bool{}}
	v.verifyPorts()
	v.verifyClocks()
	top := newScope(nil)
	top.all = true
	v.block(top, nil, append(slices.Clone(g.Inputs), g.Roots()...))
	v.verifyLast(top)
	v.verifyGroups()
	return v.errs
}

// Verify checks each entry, and that what they share by name is the same.
func (m *Module) Verify() []error {
	var errs []error
	names := map[string]bool{}
	shared := map[string]*Node{}
	for _, g := range m.Entries {
		if names[g.Name] {
			errs = append(errs, fmt.Errorf("two entries are called %s", g.Name))
		}
		names[g.Name] = true
		errs = append(errs, g.Verify()...)
		everyNode(g, func(n *Node) {
			if n.Attr.Name == "" || n.Op.Name != "state" && n.Op.Name != "weight" && !carries(n) {
				return
			}
			key := n.Op.Name + " " + n.Attr.Name
			if old := shared[key]; old == nil {
				shared[key] = n
			} else if old.Type.String() != n.Type.String() || old.Attr.Keep != n.Attr.Keep || old.Attr.Start != n.Attr.Start {
				errs = append(errs, &evalError{n, fmt.Errorf("%q is %s here and %s in another entry", n.Attr.Name, n.Type, old.Type)})
			}
		})
	}
	return errs
}

type verifier struct {
	g      *Graph
	errs   []error
	names  map[string]*Node // by op and name
	clocks map[*Clock]bool  // found sound
	done   map[*Node]bool
	top    []*Node // checked outside of scans, operands first
}

func (v *verifier) fault(n *Node, format string, args ...any) {
	v.errs = append(v.errs, &evalError{n, fmt.Errorf(format, args...)})
}

func (v *verifier) faultf(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("%s: %s", v.g.Name, fmt.Sprintf(format, args...)))
}

func (v *verifier) verifyPorts() {
	seen := map[string]bool{}
	for _, n := range v.g.Inputs {
		if n.Op.Name != "input" {
			v.fault(n, "it is no input")
		} else if seen[n.Attr.Name] {
			v.fault(n, "two inputs are called %s", n.Attr.Name)
		}
		seen[n.Attr.Name] = true
	}
	seen = map[string]bool{}
	for _, o := range v.g.Outputs {
		if seen[o.Name] {
			v.fault(o.Node, "two outputs are called %s", o.Name)
		}
		if o.Node.Type.Elem.Quantised() {
			v.fault(o.Node, "the output %s is %s, which is no element type of results", o.Name, o.Node.Type.Elem)
		}
		seen[o.Name] = true
	}
}

func (v *verifier) verifyClocks() {
	for i, c := range v.g.Clocks {
		if c.Of != nil && !slices.Contains(v.g.Clocks[:i], c.Of) {
			v.faultf("the clock %s stands before its parent %s", c.Name, c.Of.Name)
		}
		if c.Kind == Base && c != v.g.Base {
			v.faultf("the clock %s counts the stream's tokens beside %s", c.Name, v.g.Base.name())
		}
		v.clock(nil, c)
	}
}

func (c *Clock) name() string {
	if c == nil {
		return "none"
	}
	return c.Name
}

// clock checks a clock in use, once.
func (v *verifier) clock(n *Node, c *Clock) {
	if c == nil || v.clocks[c] {
		return
	}
	v.clocks[c] = true
	msg := c.wrong()
	if msg == "" && (c.Kind == Base || c.Kind == Woven) && !slices.Contains(v.g.Clocks, c) {
		msg = fmt.Sprintf("the clock %s is not in the graph's list", c.Name)
	}
	switch {
	case msg != "" && n != nil:
		v.fault(n, "%s", msg)
	case msg != "":
		v.faultf("%s", msg)
	case c.Of != nil:
		v.clock(n, c.Of)
	}
}

// block checks the nodes that roots need in one scope: the graph, or a region
// with those around it, innermost last.
func (v *verifier) block(s *scope, around []*Region, roots []*Node) {
	for _, n := range roots {
		if n == nil || v.done[n] || !s.varies(n) {
			continue
		}
		v.done[n] = true
		v.block(s, around, s.deps(n))
		v.node(n, around)
		if len(around) == 0 {
			v.top = append(v.top, n)
		}
		if n.Body != nil {
			v.scan(s, n, around)
		}
	}
}

func (v *verifier) node(n *Node, around []*Region) {
	v.verifyType(n)
	v.verifyDims(n)
	v.verifyPlace(n, around)
	v.verifyName(n)
	if n.Op.Name == "attend" && len(n.Args) >= 3 && n.Attr.Where != nil {
		v.verifyMask(n)
	}
}

func (v *verifier) verifyType(n *Node) {
	if !n.Op.Variadic && len(n.Args) != len(n.Op.Operands) {
		v.fault(n, "it has %d operands, not %d", len(n.Args), len(n.Op.Operands))
		return
	}
	t, err := n.Op.Type(n)
	if err != nil {
		v.fault(n, "%v", err)
	} else if !t.Equal(n.Type) {
		v.fault(n, "its type is %s, not %s", t, n.Type)
	}
	a := n.Attr
	for _, f := range []struct {
		name string
		set  bool
	}{{"name", a.Name != ""}, {"value", a.Value != 0}, {"over", len(a.Over) > 0}, {"dims", len(a.Dims) > 0}, {"elem", a.Elem != 0},
		{"dim", a.Dim != ""}, {"start", a.Start != 0}, {"size", a.Size != 0}, {"ints", len(a.Ints) > 0}, {"floats", len(a.Floats) > 0},
		{"where", a.Where != nil}, {"linear", a.Linear}, {"cap", a.Cap != 0}, {"init", a.Init != Init{}}, {"clock", a.Clock != nil}, {"keep", a.Keep != Keep{}}} {
		if f.set && !isAttr(n.Op, f.name) {
			v.fault(n, "it has the attribute %s, which its op does not know", f.name)
		}
	}
}

func (v *verifier) verifyDims(n *Node) {
	v.clock(n, n.Attr.Clock)
	for i, d := range n.Type.Dims {
		v.clock(n, d.Clock)
		if d.Clock != nil && i > 0 {
			v.fault(n, "the rows %s are not the first dimension of %s", d.Name, n.Type)
		}
		if n.Type.Find(d.Name) != i {
			v.fault(n, "two dimensions called %s in %s", d.Name, n.Type)
		}
	}
}

func (v *verifier) verifyName(n *Node) {
	switch n.Op.Name {
	case "weight", "state", "attend", "scan", "keep", "shift", "cumsum", "linrec":
	default:
		return
	}
	if n.Attr.Name == "" {
		if n.Op.Name == "weight" || n.Op.Name == "state" || n.Op.Name == "keep" {
			v.fault(n, "it has no name")
		}
		return
	}
	key := n.Op.Name + " " + n.Attr.Name
	old := v.names[key]
	v.names[key] = n
	switch {
	case old == nil || old == n:
	case n.Op.Name != "weight":
		v.fault(n, "two are called %q", n.Attr.Name)
	case !old.Type.Equal(n.Type):
		v.fault(n, "the weight %q is %s here and %s elsewhere", n.Attr.Name, n.Type, old.Type)
	case old.Attr.Init != n.Attr.Init:
		v.fault(n, "the weight %q starts as %s here and as %s elsewhere", n.Attr.Name, n.Attr.Init, old.Attr.Init)
	}
}

// verifyPlace checks what a node may stand beside.
func (v *verifier) verifyPlace(n *Node, around []*Region) {
	within := func(ok func(r *Region) bool) bool { return slices.ContainsFunc(around, ok) }
	switch n.Op.Name {
	case "input":
		if !slices.Contains(v.g.Inputs, n) {
			v.fault(n, "the input %s is not in the graph's list", n.Attr.Name)
		}
		return
	case "param":
		if !within(func(r *Region) bool { return slices.Contains(r.Params, n) }) {
			v.fault(n, "the parameter %s stands outside its scan", n.Attr.Name)
		}
		return
	case "state":
		if !within(func(r *Region) bool { return slices.Contains(r.States, n) }) {
			v.fault(n, "the state %s stands outside its scan", n.Attr.Name)
		}
	case "kept":
		if !within(func(r *Region) bool { return r.Write != nil }) {
			v.fault(n, "the kept rows %s stand outside a write", n.Attr.Name)
		}
	case "chunk.index":
		if !within(func(r *Region) bool { return r.Clock == n.Attr.Clock }) {
			v.fault(n, "the number of a chunk is known inside its scan only")
		}
	}
	// Outside of scans a fault is said where the rows come from, in a scan where
	// they come in.
	from := slices.ContainsFunc(n.Args, func(a *Node) bool { return a.Type.Clock() == n.Type.Clock() })
	if !from && !v.verifyRowsPlace(n, n.Type.Clock(), around) {
		return
	}
	for _, a := range n.Args {
		if len(around) > 0 && !v.verifyRowsPlace(n, a.Type.Clock(), around) {
			return
		}
	}
	for _, d := range n.Type.Dims {
		if d.Len == nil || slices.ContainsFunc(n.Args, func(a *Node) bool { return slices.ContainsFunc(a.Type.Dims, d.Same) }) {
			continue // an operand's fault is said once
		}
		r := v.ranges(around)
		for name := range varsOf(d.Len) {
			if _, ok := r[name]; !ok {
				v.fault(n, "dimension %s counts %s, which is no length here", d.Name, name)
				return
			}
		}
		if got := d.Len.Interval(r); got.Lo < 0 || got.Hi > int64(d.Size) {
			v.fault(n, "dimension %s may have from %d to %d rows, not 0 to %d", d.Name, got.Lo, got.Hi, d.Size)
		}
	}
}

// verifyRowsPlace reports rows of a chunk outside of its scan, and rows in a
// scan that are not its chunk's.
func (v *verifier) verifyRowsPlace(n *Node, c *Clock, around []*Region) bool {
	if c != nil && c.Kind == Prefixed {
		c = c.Of
	}
	switch {
	case c == nil:
	case len(around) > 0 && c == around[len(around)-1].Clock:
	case c.Kind == Chunk && !slices.ContainsFunc(around, func(r *Region) bool { return r.Clock == c }):
		v.fault(n, "rows of the chunk %s stand outside its scan", c.Name)
		return false
	case len(around) > 0:
		v.fault(n, "a scan's body reads rows of %s from outside; they must be an argument", c.Name)
		return false
	}
	return true
}

// ranges gives the values that the lengths around may have.
func (v *verifier) ranges(around []*Region) map[string]ints.Range {
	r := map[string]ints.Range{}
	for _, a := range around {
		for _, l := range a.Lens {
			r[l.Name] = ints.Range{Lo: 0, Hi: l.Max}
		}
	}
	return r
}

func varsOf(e *ints.Expr) map[string]bool {
	vars := map[string]bool{}
	e.Vars(vars)
	return vars
}

// verifyLast reports rows outside of scans that are mixed, or that look at the
// call's last row.
func (v *verifier) verifyLast(s *scope) {
	last := map[*Node]bool{}
	for _, n := range v.top {
		if slices.ContainsFunc(s.deps(n), func(d *Node) bool { return last[d] }) {
			last[n] = true
			if n.Body != nil || n.Type.Clock() != nil {
				v.fault(n, "mixes rows with the call's last: cannot stream")
				last[n] = false
			}
		}
		last[n] = last[n] || n.Op.Name == "last"
		if name := mixes(n); name != "" {
			v.fault(n, "mixes rows of %s: cannot stream", name)
		}
	}
}

// mixes gives the name of the rows that an op mixes, or nothing.
func mixes(n *Node) string {
	total := n.Op.Name == "grad" && n.Attr.Dim == "" // the rows' terms are summed
	if !total && !MixesRows(n) {
		return ""
	}
	for _, a := range n.Args {
		if a.Type.Clock() != nil {
			return a.Type.Dims[0].Name
		}
	}
	return ""
}

func (v *verifier) verifyGroups() {
	group := map[*Node]int{}
	for i, gr := range v.g.Groups {
		for j, n := range gr.Nodes {
			if k, ok := group[n]; ok {
				v.fault(n, "it stands in the groups %d and %d", k, i)
			}
			group[n] = i
			for _, a := range n.Args {
				if slices.Contains(gr.Nodes[j:], a) {
					v.fault(n, "it stands in group %d before its operand %s", i, a.Op.Name)
				}
			}
		}
	}
}

// Explain joins faults, one a line.
func Explain(errs []error) string {
	s := make([]string, len(errs))
	for i, e := range errs {
		s[i] = e.Error()
	}
	return strings.Join(s, "\n")
}
