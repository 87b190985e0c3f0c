package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// Program is what lowering gives: one plan and the kernels it launches.
type Program struct {
	Plan    *plan.Plan
	Kernels []*kernel.Kernel
	// Texts has for each kernel its schedule and the text that it has where
	// Options.Tiling is used for all: what Options.Choose is asked with.
	Texts []string
}

// Options say for what machine a graph is lowered.
type Options struct {
	Target string // the plan's
	Slab   int    // the most base rows of one call
	Tiling Tiling
	Fuse   bool // false: every node a kernel of its own, for tests
	// Hybrid says which attends and scans run together, where they can. Beside has
	// them run in a plan.Beside, else in launches of both.
	Hybrid Hybrid
	Beside bool
	// Tie has one block do both where, in one launch, they read the same rows.
	Tie bool
	// Products is what operands of products are rounded to: F32, or BF16. Sums of
	// rows stay sums of f32, products with q8 or q4 as they are; where there is no
	// other product BF16 is an error.
	Products elem.Type
	// Choose gives the tile sizes of single kernels, by their Program.Texts; nil:
	// Tiling for all. Panel, MaxNear and MaxSums stay Tiling's, as does what is fused; sizes
	// for which a group has no layout give way to Tiling.
	Choose func(text string) Tiling
}

// Lower turns entry points that went through the passes into one plan and its
// kernels. Entries share states by name.
func Lower(entries []*ir.Graph, o Options) (*Program, error) {
	var fused []*ir.Graph
	for _, g := range entries {
		f, err := fuseFor(g, o.Tiling, o.Fuse, o.Hybrid)
		if err != nil {
			return nil, err
		}
		fused = append(fused, f)
	}
	p, texts, err := lower(fused, o, nil)
	if err != nil || o.Choose == nil {
		return p, err
	}
	p, _, err = lower(fused, o, texts)
	return p, err
}

// lower gives the program of fused entry points and the text of each kernel in the order in which they
// are built, which does not depend on tile sizes. With these texts it asks
// o.Choose for the sizes of each.
func lower(fused []*ir.Graph, o Options, texts []string) (p *Program, built []string, err error) {
	lw := &lowerer{
		Options: o,
		texts:   texts,
		plan:    &plan.Plan{Target: o.Target, Slab: o.Slab},
		byText:  map[string]string{},
		slots:   map[string]bool{},
		weights: map[string]*store{},
		states:  map[string]*store{},
		panels:  map[string]bool{},
		alike:   map[string]bool{},
		tables:  map[string]int{},
		loops:   map[string]int{},
		buffers: map[string]bool{},
		near:    map[*ir.Node]bool{},
	}
	defer func() {
		if r := recover(); r != nil {
			p, built = nil, nil
			if e, ok := r.(lowerError); ok {
				err = e.error
			} else {
				err = fmt.Errorf("internal error while lowering (a bug in the compiler, not in the spec): %v", r)
			}
			if lw.chosen != "" {
				err = &SizesError{lw.chosen, err}
			}
		}
	}()
	lw.slot("pos", nil)
	lw.slot("n", nil)
	for _, g := range fused {
		lw.choosePanels(g)
	}
	for _, g := range fused {
		lw.entry(g)
	}
	lw.finish()
	if lw.Products != elem.F32 && !lw.rounds {
		return nil, nil, fmt.Errorf("no product takes operands of %s: it has none but sums over rows and products with q8 or q4", lw.Products)
	}
	return &Program{lw.plan, lw.kernels, lw.origins}, lw.built, nil
}

// SizesError is the error of a kernel that cannot be built with the sizes which
// Options.Choose gave.
type SizesError struct {
	Text string // what Choose was asked with
	Err  error
}

// Error says where in the spec the fault lies.
func (e *SizesError) Error() string { return e.Err.Error() }

// Unwrap gives the fault.
func (e *SizesError) Unwrap() error { return e.Err }

// lowerError carries a fault out of the depth of lowering.
type lowerError struct{ error }

func fail(n *ir.Node, f string, a ...any) {
	err := fmt.Errorf(f, a...)
	if n != nil && len(n.Pos()) > 0 {
		err = fmt.Errorf("%s: error: %w", n.Pos()[0], err)
	}
	panic(lowerError{err})
}

type lowerer struct {
	Options
	name    string // of the entry being lowered: it begins the names of its buffers
	plan    *plan.Plan
	kernels []*kernel.Kernel
	texts   []string          // of an earlier lowering with Tiling: see lower
	chosen  string            // the text of the kernel that is being built with sizes of its own
	built   []string          // the texts of this one
	origins []string          // of kernels: Program.Texts
	byText  map[string]string // a kernel's text without its name → its name
	slots   map[string]bool
	weights map[string]*store
	states  map[string]*store
	panels  map[string]bool // weights that products read as right operands
	alike   map[string]bool // states in panels: see chooseAlike
	tables  map[string]int
	loops   map[string]int
	buffers map[string]bool   // names in use
	near    map[*ir.Node]bool // scans: see scope.stays
	rounds  bool              // some product has operands of Products
}

// operands is what the operands of a product with y, which is no sum over rows,
// are rounded to: codes are multiplied as they are.
func (lw *lowerer) operands(y *ir.Node) elem.Type {
	if y.Type.Elem.Quantised() {
		return elem.F32
	}
	lw.rounds = true
	return lw.Products
}

func (lw *lowerer) slot(name string, e *ints.Expr) {
	if !lw.slots[name] {
		lw.slots[name] = true
		lw.plan.Slots = append(lw.plan.Slots, plan.Slot{Name: name, Expr: e})
	}
}

// buffer adds a buffer to the plan. Its name, which inputs, outputs and what is
// between them choose without knowing of each other, is made unique.
func (lw *lowerer) buffer(b plan.Buffer) int {
	for lw.buffers[b.Name] {
		b.Name += "'"
	}
	lw.buffers[b.Name] = true
	b.Bytes = bytesOf(b)
	lw.plan.Buffers = append(lw.plan.Buffers, b)
	return len(lw.plan.Buffers) - 1
}

func bytesOf(b plan.Buffer) int64 {
	k := kernel.Buf{Elem: b.Elem, Dims: b.Dims, Panel: b.Panel}
	return k.Bytes(0)
}

// everyNode calls f for all nodes of a graph, bodies included.
func everyNode(g *ir.Graph, f func(n *ir.Node)) {
	seen := map[*ir.Node]bool{}
	var region func(r *ir.Region)
	visit := func(roots []*ir.Node) {
		for _, n := range ir.Postorder(roots...) {
			if seen[n] {
				continue
			}
			seen[n] = true
			f(n)
			if n.Body != nil {
				region(n.Body)
			}
		}
	}
	region = func(r *ir.Region) {
		if r == nil {
			return
		}
		visit(append(append(r.Roots(), r.Kept...), r.Init...))
		region(r.Write)
	}
	visit(g.Roots())
}

// choosePanels finds the weights and states to pack: those that a product sums
// over the last dimension of, so that its columns must become adjacent. A state
// and the weight that it starts as lie alike.
func (lw *lowerer) choosePanels(g *ir.Graph) {
	plain := map[string]bool{}
	var starts [][2]string
	everyNode(g, func(n *ir.Node) {
		for i, a := range n.Args {
			if a.Op.Name != "weight" && a.Op.Name != "state" || len(a.Type.Dims) < 2 {
				continue
			}
			dims := a.Type.Dims
			other := n.Args[(i+1)%len(n.Args)]
			switch {
			case n.Op.Name == "dot" && slices.Equal(n.Attr.Over, []string{dims[len(dims)-1].Name}) && (other.Type.Clock() != nil || a.Type.Elem.Quantised()) && static(a.Type):
				lw.panels[a.Attr.Name] = true
			case n.Op.Name == "view" || n.Op.Name == "tail" || n.Op.Name == "concat" || n.Op.Name == "prefix":
				plain[a.Attr.Name] = true
			}
		}
		if n.Body != nil {
			for i, w := range n.Body.Init {
				if w.Op.Name == "weight" {
					starts = append(starts, [2]string{n.Body.States[i].Attr.Name, w.Attr.Name})
				}
			}
		}
	})
	for name := range plain {
		delete(lw.panels, name)
	}
	everyNode(g, func(n *ir.Node) {
		if n.Body != nil && n.Body.Write != nil && inPlace(n.Body) {
			lw.chooseAlike(n.Body, plain)
		}
	})
	for _, s := range starts { // a state is packed where it wants to be and its weight may be
		if plain[s[1]] {
			delete(lw.panels, s[0])
		}
		if lw.panels[s[0]] {
			lw.panels[s[1]] = true
		} else {
			delete(lw.panels, s[1])
		}
	}
}

// chooseAlike has states lie in panels that one group of a write combines element by
// element with what a state in panels becomes: the group turns none of them, nor what it
// stores to them.
func (lw *lowerer) chooseAlike(body *ir.Region, plain map[string]bool) {
	seen := map[*ir.Node]bool{}
	var visit func(n *ir.Node, like ir.Type)
	next := func(st *ir.Node) {
		lw.alike[st.Attr.Name] = true
		if i := slices.Index(body.States, st); body.Write.Next[i] != nil {
			visit(body.Write.Next[i], st.Type)
		}
	}
	visit = func(n *ir.Node, like ir.Type) {
		if seen[n] || !slices.EqualFunc(n.Type.Dims, like.Dims, ir.Dim.Same) {
			return
		}
		seen[n] = true
		switch {
		case n.Op.Name == "state":
			if slices.Contains(body.States, n) && !plain[n.Attr.Name] && !lw.panels[n.Attr.Name] {
				lw.panels[n.Attr.Name] = true
				next(n)
			}
		case n.Op.Name == "accumulate": // onto a state
			visit(n.Args[0], like)
		case pointwise(n):
			for _, a := range n.Args {
				visit(a, like)
			}
		}
	}
	for _, st := range body.States {
		if lw.panels[st.Attr.Name] {
			next(st)
		}
	}
}

func static(t ir.Type) bool {
	return !slices.ContainsFunc(t.Dims, func(d ir.Dim) bool { return !d.Static() })
}

// store is where a value lies.
type store struct {
	buf     int
	dims    []int // as kernels see the buffer
	panel   int
	pairs   bool
	alike   bool // what is stored runs along the panels' columns: see chooseAlike
	kind    storeKind
	history *history
	shift   *ints.Expr // added to the row (to the element, where flat)
	limit   *ints.Expr // copies into it take only that many rows
	rows    bool       // row i lies at shift + i, whatever clock it follows
	runs    bool       // of storeDims: the first index is the number of a run's chunk
	ring    int        // above 0: at the rest of that by ring
}

type storeKind uint8

const (
	storeFlat    storeKind = iota // [elements], row-major over the static dimensions
	storeRows                     // [rows, elements of a row]
	storeDims                     // one index a dimension
	storeHistory                  // rows kept from call to call
)

// history is how kept rows lie. Blocks of 64 rows are the unit in which attends
// read them: [block, head, 64, size], so that one block of one head is a matrix;
// integers that masks ask for lie as [block, 1, 64].
type history struct {
	keep    ir.Keep
	blocks  bool
	pinned  int // blocks that are never overwritten
	ring    int // blocks behind them that are reused in turn; 0: none are reused
	rows    int // capacity of a history that is not in blocks
	clock   *ir.Clock
	written map[*scope]bool
}

const historyBlock = 64

// scope is where steps go: an entry's own, or a scan's loop.
type scope struct {
	lw    *lowerer
	outer *scope
	loop  int // index of the plan's loop, or -1
	scan  *ir.Node
	// values that are stored, and those on their way
	stored map[*ir.Node]*store
	steps  []plan.Step
	next   map[*ir.Node]*store // where nodes must be stored, decided before they are computed
	users  map[*ir.Node][]*ir.Node
	root   map[*ir.Node]bool
	many   string                // in a loop: the slot that counts its rows, empty: "count"
	ending bool                  // in a loop: of its rows, or those of a run's last chunk, only the last ones are walked through
	piece  *ir.Clock             // in a loop: rows of this outer clock are those of the piece
	blocks bool                  // in a write: a chunk's rows are those of its blocks that have become complete
	run    bool                  // a chunk is whole, and number runVar of those that begin with the turn (resident.go)
	probes []*store              // in a loop: where its probes lie
	same   map[*ir.Node]*ir.Node // in a run's write: what its rows are where they are read
}

func (lw *lowerer) entry(g *ir.Graph) {
	for _, c := range g.Clocks {
		lw.clockSlots(c)
	}
	lw.name = g.Name + "."
	sc := &scope{lw: lw, loop: -1, stored: map[*ir.Node]*store{}, next: map[*ir.Node]*store{}}
	e := plan.Entry{Name: g.Name, Doc: g.Doc}
	first := len(lw.plan.Buffers)
	sc.watch(g.Roots())
	for _, in := range g.Inputs {
		s, dims := lw.place(in.Type)
		s.buf = lw.buffer(plan.Buffer{Name: g.Name + "." + in.Attr.Name, Class: plan.Input, Elem: in.Type.Elem, Dims: dims})
		sc.stored[in] = s
		e.Inputs = append(e.Inputs, lw.port(in.Attr.Name, in.Type, s, below(in, g)))
	}
	for _, o := range g.Outputs {
		s, dims := lw.place(o.Node.Type)
		s.buf = lw.buffer(plan.Buffer{Name: g.Name + "." + o.Name, Class: plan.Output, Elem: storeElem(o.Node.Type.Elem), Dims: dims})
		if _, twice := sc.next[o.Node]; !twice && !leaf(o.Node) {
			sc.next[o.Node] = s
		}
		e.Outputs = append(e.Outputs, lw.port(o.Name, o.Node.Type, s, 0))
	}
	sc.groups(g.Groups)
	for i, o := range g.Outputs {
		s := &store{buf: e.Outputs[i].Buffer}
		if have := sc.stored[o.Node]; have == nil || have.buf != s.buf {
			d, _ := lw.place(o.Node.Type)
			d.buf = s.buf
			sc.copyTo(o.Node, d)
		}
	}
	e.Steps = sc.steps
	lw.arena(&e, first)
	lw.plan.Entries = append(lw.plan.Entries, e)
}

func storeElem(e elem.Type) elem.Type {
	if e == elem.Bool || e.Quantised() { // groups are made where a history is stored
		return elem.F32
	}
	return e
}

// below gives the bound of an integer input that numbers rows of tables, as it
// is: what is computed from an input does not bound it.
func below(in *ir.Node, g *ir.Graph) int64 {
	if in.Type.Elem != elem.I32 && in.Type.Elem != elem.I64 {
		return 0
	}
	bound := int64(0)
	everyNode(g, func(n *ir.Node) {
		if n.Op.Name == "gather" && numbersRows(in, n.Args[1]) {
			if size := int64(n.Args[0].Type.Dims[0].Size); bound == 0 || size < bound {
				bound = size
			}
		}
	})
	return bound
}

func (lw *lowerer) port(name string, t ir.Type, s *store, bound int64) plan.Port {
	p := plan.Port{Name: name, Buffer: s.buf, Elem: storeElem(t.Elem), Below: bound}
	for _, d := range t.Dims {
		p.Names = append(p.Names, d.Name)
		p.Dims = append(p.Dims, lw.capacity(d))
		if d.Clock != nil {
			p.Clock = true
			p.Rows = ints.V(rowsName(d.Clock))
		}
	}
	return p
}

// rowsName is the slot that counts a stream clock's rows in a call.
func rowsName(c *ir.Clock) string {
	if c.Kind == ir.Base {
		return "n"
	}
	return c.Name + ".n"
}

func posName(c *ir.Clock) string {
	if c.Kind == ir.Base {
		return "pos"
	}
	return c.Name + ".pos"
}

func (lw *lowerer) clockSlots(c *ir.Clock) {
	if c.Kind != ir.Woven {
		return
	}
	lw.clockSlots(c.Of)
	rows := func(p *ints.Expr) *ints.Expr {
		every := ints.C(int64(c.Pattern.Every))
		return ints.Plus(ints.Times(ints.Quo(p, every), ints.C(int64(c.Size))), ints.Lookup(c.Pattern.Rows, ints.Rem(p, every)))
	}
	pos, n := ints.V(posName(c.Of)), ints.V(rowsName(c.Of))
	lw.slot(posName(c), rows(pos))
	lw.slot(rowsName(c), ints.Minus(rows(ints.Plus(pos, n)), ints.V(posName(c))))
}

// capacity is the most rows or elements that a dimension has in one call.
func (lw *lowerer) capacity(d ir.Dim) int {
	if d.Clock == nil {
		return d.Size
	}
	return lw.clockCap(d.Clock)
}

func (lw *lowerer) clockCap(c *ir.Clock) int {
	switch c.Kind {
	case ir.Woven:
		return c.Size * (lw.clockCap(c.Of)/c.Pattern.Every + 2)
	case ir.Chunk:
		return lw.clockCap(c.Of)
	case ir.Prefixed:
		return c.Most + min(c.Of.Size, lw.clockCap(c.Of))
	}
	return lw.Slab
}

// place gives a plain store for a type and its buffer's dimensions.
func (lw *lowerer) place(t ir.Type) (*store, []int) {
	if c := t.Clock(); c != nil {
		elems := 1
		for _, d := range t.Dims[1:] {
			elems *= d.Size
		}
		dims := []int{lw.clockCap(c), elems}
		return &store{kind: storeRows, dims: dims}, dims
	}
	dims := []int{max(t.Count(), 1)}
	return &store{kind: storeFlat, dims: dims}, dims
}

// weight gives the buffer of a weight.
func (lw *lowerer) weight(n *ir.Node) *store {
	if s, ok := lw.weights[n.Attr.Name]; ok {
		return s
	}
	var shape []int
	for _, d := range n.Type.Dims {
		shape = append(shape, d.Size)
	}
	b := plan.Buffer{Name: n.Attr.Name, Class: plan.Weight, Elem: n.Type.Elem, Tensor: n.Attr.Name, Shape: shape, Init: plan.Init(n.Attr.Init)}
	s := &store{}
	if lw.panels[n.Attr.Name] {
		b.Dims, b.Panel = shape, lw.Tiling.Panel
		if lw.Tiling.Codes > 0 && b.Elem.Quantised() && shape[len(shape)-1]%b.Elem.Group() == 0 {
			b.Panel = lw.Tiling.Codes
		}
		b.Pairs = lw.Tiling.Pairs && b.Elem == elem.BF16 && shape[len(shape)-1]%2 == 0
		s.kind, s.panel, s.pairs = storeDims, b.Panel, b.Pairs
	} else if b.Elem.Quantised() {
		b.Dims, s.kind = shape, storeDims
	} else {
		b.Dims = []int{max(n.Type.Count(), 1)}
	}
	s.dims = b.Dims
	s.buf = lw.buffer(b)
	lw.weights[n.Attr.Name] = s
	return s
}

// table gives the buffer of constant data.
func (lw *lowerer) table(n *ir.Node) *store {
	s, dims := lw.place(n.Type)
	data := tableBytes(n.Type.Elem, n.Attr)
	key := n.Type.Elem.String() + string(data)
	if b, ok := lw.tables[key]; ok {
		s.buf = b
		return s
	}
	s.buf = lw.buffer(plan.Buffer{Name: fmt.Sprintf("table%d", len(lw.tables)), Class: plan.Table, Elem: n.Type.Elem, Dims: dims, Data: data})
	lw.tables[key] = s.buf
	return s
}

// state gives the buffer of a scan's state.
func (lw *lowerer) state(n, init *ir.Node) *store {
	if s, ok := lw.states[n.Attr.Name]; ok {
		return s
	}
	s, dims := lw.place(n.Type)
	if lw.panels[n.Attr.Name] {
		dims = nil
		for _, d := range n.Type.Dims {
			dims = append(dims, d.Size)
		}
		s.kind, s.dims, s.panel, s.alike = storeDims, dims, lw.Tiling.Panel, lw.alike[n.Attr.Name]
	}
	b := plan.Buffer{Name: n.Attr.Name, Class: plan.State, Panel: s.panel, Elem: n.Type.Elem, Dims: dims, From: -1}
	reordered := false
	for init != nil && (init.Op.Name == "expand" || init.Op.Name == "view" || init.Op.Name == "cast" && init.Type.Elem == n.Type.Elem) {
		reordered = reordered || init.Op.Name == "expand" && !slices.IsSortedFunc(init.Args[0].Type.Dims, func(x, y ir.Dim) int {
			return init.Type.Find(x.Name) - init.Type.Find(y.Name)
		})
		init = init.Args[0]
	}
	switch {
	case init == nil:
	case init.Op.Name == "const":
		b.Fill = init.Attr.Value
	case init.Op.Name == "cast" && init.Args[0].Op.Name == "const" && init.Type.Elem.Float() && !init.Type.Elem.Quantised():
		rounded := make(kernel.Memory, 4)
		rounded.SetFloat(init.Type.Elem, 0, init.Args[0].Attr.Value)
		b.Fill = rounded.Float(init.Type.Elem, 0)
	case init.Op.Name == "weight":
		w := lw.weight(init)
		if init.Type.Elem.Quantised() {
			fail(n, "the state %s changes, and cannot start as the %s weight %s", n.Attr.Name, init.Type.Elem, init.Attr.Name)
		}
		if init.Type.Count() != n.Type.Count() || reordered {
			fail(n, "the state %s must start as a weight of its own shape", n.Attr.Name)
		}
		b.From = w.buf
	default:
		fail(n, "the state %s must start as a weight or a constant, not as %s", n.Attr.Name, init.Op.Name)
	}
	s.buf = lw.buffer(b)
	lw.states[n.Attr.Name] = s
	return s
}

// keep gives the buffer of a history.
func (lw *lowerer) keep(n *ir.Node, asKeys, blocks bool) *store {
	if s, ok := lw.states[n.Attr.Name]; ok {
		return s
	}
	t := n.Args[0].Type
	k := n.Attr.Keep
	h := &history{keep: k, blocks: blocks, clock: t.Clock(), written: map[*scope]bool{}}
	s := &store{kind: storeHistory, history: h}
	b := plan.Buffer{Name: n.Attr.Name, Class: plan.State, Elem: storeElem(t.Elem), From: -1}
	if t.Elem.Quantised() {
		if !blocks || t.Elem != elem.Q8 {
			fail(n, "%s is no way to keep these rows: the keys and values of attention may be bf16, f16 or q8", t.Elem)
		}
		b.Elem = t.Elem
	}
	slab := lw.clockCap(t.Clock())
	if blocks {
		switch {
		case k.All:
			h.pinned = 1 // rows stand at their own number
			b.Grow = ints.CeilQuo(ints.Plus(ints.V(posName(t.Clock())), ints.V(rowsName(t.Clock()))), historyBlock)
		case k.Chunk:
			h.pinned = (k.Ring + historyBlock - 1) / historyBlock
		default:
			h.pinned = (k.Pin + historyBlock - 1) / historyBlock
			h.ring = (k.Ring+slab+historyBlock-1)/historyBlock + 1
		}
		b.Dims = []int{h.pinned + h.ring, 1, historyBlock}
		if len(t.Dims) == 3 {
			b.Dims = []int{h.pinned + h.ring, t.Dims[1].Size, historyBlock, t.Dims[2].Size}
		}
		if asKeys {
			b.Panel, s.panel = lw.Tiling.Panel, lw.Tiling.Panel
		}
	} else {
		h.rows = k.Ring
		if !k.Chunk {
			h.rows += slab
		}
		elems := 1
		for _, d := range t.Dims[1:] {
			elems *= d.Size
		}
		b.Dims = []int{h.rows, elems}
	}
	s.dims = slices.Clone(b.Dims)
	if b.Grow != nil {
		s.dims[0] = 0
	}
	s.buf = lw.buffer(b)
	lw.states[n.Attr.Name] = s
	return s
}

// finish numbers the slots, the call's first, then each loop's, and resolves the
// names that steps were built with.
func (lw *lowerer) finish() {
	p := lw.plan
	for _, l := range p.Loops {
		lw.slot(l.Name+".first", nil)
		lw.slot(l.Name+".turns", nil)
	}
	calls := map[string]int{}
	for i, s := range p.Slots {
		calls[s.Name] = i
	}
	p.Record = len(p.Slots)
	inLoop := make([]map[string]int, len(p.Loops))
	for i, l := range p.Loops {
		m := map[string]int{}
		for j, s := range l.Slots {
			m[s.Name] = len(p.Slots) + j
		}
		p.Record = max(p.Record, len(p.Slots)+len(l.Slots))
		inLoop[i] = m
	}
	var fix func(steps []plan.Step, loop int)
	fix = func(steps []plan.Step, loop int) {
		for i := range steps {
			st := &steps[i]
			find := func(name string) int {
				if loop >= 0 {
					if at, ok := inLoop[loop][name]; ok {
						return at
					}
				}
				at, ok := calls[name]
				if !ok {
					fail(nil, "no slot %s", name)
				}
				return at
			}
			switch st.Kind {
			case plan.Launch:
				names := strings.Split(st.Note, "\x00")
				st.Note = names[0]
				for _, n := range names[1:] {
					st.Slots = append(st.Slots, find(n))
				}
			case plan.If:
				st.Cond = find(st.Note)
				st.Note = ""
				fix(st.Steps, loop)
			case plan.Repeat:
				fix(st.Steps, st.Loop)
			case plan.Beside:
				fix(st.Steps, loop)
			}
		}
	}
	for i := range p.Entries {
		fix(p.Entries[i].Steps, -1)
	}
	for _, k := range lw.kernels {
		p.Kernels = append(p.Kernels, k.Name)
		p.Signatures = append(p.Signatures, plan.SignatureOf(k))
	}
}
