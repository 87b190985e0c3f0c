package passes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// kernelBuilder collects one launch. Kernels of different layers that do the
// same must be the same text, so everything in it is named by order of use.
type kernelBuilder struct {
	sc    *scope
	k     *kernel.Kernel
	bufs  []int             // plan buffers, in the order of k.Bufs
	slots []string          // plan slots, in the order of k.Ints
	names map[string]string // slot → name in the kernel
	note  string

	inRun  bool   // its body is inside a loop over a run's chunks
	number int    // among the kernels built, in order
	tiling Tiling // its tile sizes
	origin string // see Program.Texts; empty: the text itself
}

func (sc *scope) kernel(kind string) *kernelBuilder {
	lw := sc.lw
	k := &kernelBuilder{sc: sc, k: &kernel.Kernel{Name: kind}, names: map[string]string{}, number: len(lw.built), tiling: sc.tiling()}
	if k.number < len(lw.texts) && lw.texts[k.number] != "" {
		k.origin = lw.texts[k.number]
		k.tiling = lw.Choose(k.origin)
		lw.chosen = k.origin
		own := sc.tiling()
		k.tiling.Panel, k.tiling.MaxNear, k.tiling.MaxSums, k.tiling.Resident = own.Panel, own.MaxNear, own.MaxSums, own.Resident
	}
	lw.built = append(lw.built, "")
	return k
}

// slot gives the variable of a slot inside the kernel.
func (k *kernelBuilder) slot(name string) *ints.Expr {
	if have, ok := k.names[name]; ok {
		return ints.V(have)
	}
	if name == runVar {
		return ints.V(runVar)
	}
	local := fmt.Sprintf("p%d", len(k.slots))
	switch name {
	case "pos", "n", "turn", "chunk", "row", "at", "count", "start", "border", "added", "first":
		local = name
	}
	k.names[name] = local
	k.slots = append(k.slots, name)
	k.k.Ints = append(k.k.Ints, local)
	return ints.V(local)
}

// expr puts the kernel's own names into an expression over slots.
func (k *kernelBuilder) expr(e *ints.Expr) *ints.Expr {
	vars := map[string]bool{}
	e.Vars(vars)
	var order []string
	for v := range vars {
		order = append(order, v)
	}
	slices.Sort(order)
	with := map[string]*ints.Expr{}
	for _, v := range order {
		with[v] = k.slot(v)
	}
	return e.Subst(with)
}

// buf gives the kernel's parameter for a plan buffer seen in that shape. What a
// kernel writes under one of its shapes is not said to be only read under another.
func (k *kernelBuilder) buf(s *store, write bool) *kernel.Buf {
	var found *kernel.Buf
	for i, b := range k.bufs {
		if kb := k.k.Bufs[i]; b == s.buf {
			write = write || kb.Write
			if slices.Equal(kb.Dims, s.dims) && kb.Panel == s.panel && kb.Pairs == s.pairs {
				found = kb
			}
		}
	}
	for i, b := range k.bufs {
		if b == s.buf {
			k.k.Bufs[i].Write = write
		}
	}
	if found != nil {
		return found
	}
	pb := k.sc.lw.plan.Buffers[s.buf]
	kb := &kernel.Buf{Name: fmt.Sprintf("b%d", len(k.bufs)), Elem: pb.Elem, Dims: s.dims, Panel: s.panel, Pairs: s.pairs, Write: write}
	k.bufs = append(k.bufs, s.buf)
	k.k.Bufs = append(k.k.Bufs, kb)
	return kb
}

// mostTile bounds one tile; a kernel's verifier has the same bound.
const mostTile = 1 << 22

// tile declares a tile.
func (k *kernelBuilder) tile(e kernel.Elem, rows, cols int, vr, vc *ints.Expr) *kernel.Tile {
	if cols > mostTile/max(rows, 1) {
		where := ""
		if k.note != "" {
			where = k.note + ": error: "
		}
		panic(lowerError{fmt.Errorf("%sa value of %d by %d elements is needed at once, and a tile has at most %d: give it more and shorter dimensions", where, rows, cols, mostTile)})
	}
	t := k.k.NewTile(fmt.Sprintf("t%d", len(k.k.Tiles)), e, rows, cols)
	t.ValidRows, t.ValidCols = vr, vc
	return t
}

// launch ends the kernel: one of equal text stands for all.
func (k *kernelBuilder) launch() {
	if len(k.k.Parts) == 0 {
		return
	}
	lw := k.sc.lw
	lw.chosen = ""
	kind := k.k.Name
	k.k.Name = ""
	text := kind + "\n" + k.k.String()
	lw.built[k.number] = text
	origin := cmp.Or(k.origin, text)
	id := origin + text // each has a time of its own
	name, ok := lw.byText[id]
	if !ok {
		name = fmt.Sprintf("%s%d", kind, len(lw.kernels))
		lw.byText[id] = name
		lw.origins = append(lw.origins, origin)
		k.k.Name = name
		if errs := k.k.Verify(); len(errs) > 0 {
			panic(fmt.Errorf("kernel %s: %w\n%s", name, errs[0], k.k))
		}
		lw.kernels = append(lw.kernels, k.k)
	}
	k.sc.steps = append(k.sc.steps, plan.Step{Kind: plan.Launch, Kernel: name, Bufs: k.bufs, Note: strings.Join(append([]string{k.note}, k.slots...), "\x00")})
}

// How a scope sees a clock's rows: where the first one at hand lies in buffers
// over that clock, how many there are, and the number of the first.

func (sc *scope) rowBase(k *kernelBuilder, c *ir.Clock) *ints.Expr {
	if sc.blocks {
		return ints.C(0)
	}
	if c.Kind == ir.Chunk || sc.piece == c {
		return sc.turnRow(k)
	}
	return ints.C(0)
}

// turnRow is the first row of a turn, or of a run's chunk, in the call.
func (sc *scope) turnRow(k *kernelBuilder) *ints.Expr {
	row := k.slot("row")
	if sc.run {
		chunk := ints.V(runVar)
		if sc.ending {
			chunk = ints.Minus(k.slot("runs"), ints.C(1))
		}
		row = ints.Plus(row, ints.Times(chunk, ints.C(int64(sc.scan.Body.Clock.Size))))
	}
	return row
}

// lastRows is how many of a turn's rows, or of those of a run's last chunk, a state
// keeps, and how many are before them.
func (sc *scope) lastRows(k *kernelBuilder) (last, skip *ints.Expr) {
	if body := sc.scan.Body; sc.run {
		return ints.C(int64(body.Block)), ints.C(int64(body.Clock.Size - body.Block))
	}
	return k.slot("last"), k.slot("skip")
}

func (sc *scope) rowCount(k *kernelBuilder, c *ir.Clock) *ints.Expr {
	switch {
	case sc.run:
		return ints.C(int64(sc.scan.Body.Clock.Size))
	case sc.blocks:
		return k.slot("added")
	case c.Kind == ir.Chunk || sc.piece == c:
		return k.slot(cmp.Or(sc.many, "count"))
	case c.Kind == ir.Prefixed:
		return k.slot(c.Name + ".count")
	}
	return k.slot(rowsName(c))
}

func (sc *scope) rowNumber(k *kernelBuilder, c *ir.Clock) *ints.Expr {
	switch {
	case sc.run:
		return ints.C(0)
	case sc.blocks:
		return k.slot("border")
	case c.Kind == ir.Chunk:
		return k.slot("at")
	case sc.piece == c:
		return k.slot("start")
	case c.Kind == ir.Prefixed:
		return k.slot(c.Name + ".at")
	}
	return k.slot(posName(c))
}

// address gives the place of element idx of a value: the store and an index for
// each dimension of its buffer. idx counts rows over a clock from the first one
// at hand.
func (sc *scope) address(k *kernelBuilder, n *ir.Node, idx map[string]*ints.Expr) (*store, []*ints.Expr) {
	if s := sc.find(n); s != nil {
		return s, sc.index(k, s, n.Type, idx)
	}
	if x := sc.same[n]; x != nil {
		return sc.outer.address(k, x, idx)
	}
	with := func(name string, e *ints.Expr) map[string]*ints.Expr {
		m := map[string]*ints.Expr{}
		for k, v := range idx {
			m[k] = v
		}
		m[name] = e
		return m
	}
	if len(n.Args) > 0 && n.Op.Name != "keep" {
		x := n.Args[0]
		switch n.Op.Name {
		case "slice":
			return sc.address(k, x, with(n.Attr.Dim, ints.Plus(idx[n.Attr.Dim], ints.C(int64(n.Attr.Start)))))
		case "expand", "stop":
			return sc.address(k, x, idx)
		case "last":
			d := x.Type.Dims[0]
			return sc.address(k, x, with(d.Name, ints.Minus(sc.rowCount(k, d.Clock), ints.C(1))))
		case "suffix":
			from := x.Type.Dims[0]
			return sc.address(k, x, with(from.Name, ints.Plus(k.slot(from.Clock.Name+".new"), idx[n.Type.Dims[0].Name])))
		case "tail":
			d := n.Type.Dims[0].Name
			skip := k.expr(ints.Most(ints.Minus(ir.LenOf(x.Type.Dims[0]), ints.C(int64(n.Attr.Size))), ints.C(0)))
			return sc.address(k, x, with(d, ints.Plus(idx[d], skip)))
		case "view":
			if m, ok := sameShape(n, idx); ok {
				return sc.address(k, x, m)
			}
			if s := sc.keptBelow(n); s != nil {
				return s, sc.historyIndex(k, s, n.Type, idx)
			}
			row, flat := flatten(n.Type, idx)
			return sc.addressFlat(k, x, row, flat)
		}
	}
	lw := sc.lw
	switch n.Op.Name {
	case "weight":
		s := lw.weight(n)
		return s, sc.index(k, s, n.Type, idx)
	case "table":
		s := lw.table(n)
		return s, sc.index(k, s, n.Type, idx)
	case "state":
		s := lw.states[n.Attr.Name]
		return s, sc.index(k, s, n.Type, idx)
	case "kept", "keep":
		s := lw.states[n.Attr.Name]
		if s == nil {
			panic(fmt.Errorf("the history %s is read before it is written", n.Attr.Name))
		}
		return s, sc.index(k, s, n.Type, idx)
	case "param":
		for i, p := range sc.scan.Body.Params {
			if p == n {
				outer := sc
				for outer.outer != nil {
					outer = outer.outer
				}
				d := n.Type.Dims[0].Name
				return outer.address(k, sc.scan.Args[i], with(d, ints.Plus(sc.turnRow(k), idx[d])))
			}
		}
	}
	panic(fmt.Errorf("%s of type %s has no address", n.Op.Name, n.Type))
}

// keptBelow gives the history of a completed chunk's rows that n, row by row, is
// a view of: its rows lie flat, whatever their dimensions.
func (sc *scope) keptBelow(n *ir.Node) *store {
	for n.Op.Name == "view" && len(n.Type.Dims) > 0 && len(n.Args[0].Type.Dims) > 0 && n.Type.Dims[0].Same(n.Args[0].Type.Dims[0]) {
		n = n.Args[0]
	}
	if s := sc.lw.states[n.Attr.Name]; n.Op.Name == "kept" && s != nil && s.history != nil && !s.history.blocks {
		return s
	}
	return nil
}

// addressFlat is address for an element given by its place in the row-major
// order of the static dimensions.
func (sc *scope) addressFlat(k *kernelBuilder, n *ir.Node, row, flat *ints.Expr) (*store, []*ints.Expr) {
	s := sc.find(n)
	switch n.Op.Name {
	case "weight":
		s = sc.lw.weight(n)
	case "table":
		s = sc.lw.table(n)
	case "state":
		s = sc.lw.states[n.Attr.Name]
	}
	if s != nil && (s.kind == storeRows || s.kind == storeFlat) {
		return s, sc.indexFlat(k, s, n.Type, row, flat)
	}
	if n.Op.Name == "view" {
		return sc.addressFlat(k, n.Args[0], row, flat)
	}
	idx := map[string]*ints.Expr{}
	rest := flat
	for i := len(n.Type.Dims) - 1; i >= 0; i-- {
		d := n.Type.Dims[i]
		switch {
		case d.Clock != nil:
			idx[d.Name] = row
		case i == 0:
			idx[d.Name] = rest
		default:
			size := ints.C(int64(d.Size))
			idx[d.Name] = ints.Rem(rest, size)
			rest = ints.Quo(rest, size)
		}
	}
	return sc.address(k, n, idx)
}

// sameShape maps indices of a view to those of its operand where only names and
// dimensions of one element differ.
func sameShape(n *ir.Node, idx map[string]*ints.Expr) (map[string]*ints.Expr, bool) {
	big := func(t ir.Type) []ir.Dim {
		var out []ir.Dim
		for _, d := range t.Dims {
			if !d.Static() || d.Size > 1 {
				out = append(out, d)
			}
		}
		return out
	}
	x := n.Args[0]
	a, b := big(n.Type), big(x.Type)
	if len(a) != len(b) {
		return nil, false
	}
	m := map[string]*ints.Expr{}
	for i := range a {
		if a[i].Size != b[i].Size || a[i].Clock != b[i].Clock {
			return nil, false
		}
		m[b[i].Name] = idx[a[i].Name]
	}
	for _, d := range x.Type.Dims {
		if m[d.Name] == nil {
			m[d.Name] = ints.C(0)
		}
	}
	return m, true
}

// flatten gives the row and the place among the static dimensions.
func flatten(t ir.Type, idx map[string]*ints.Expr) (row, flat *ints.Expr) {
	flat = ints.C(0)
	stride := int64(1)
	for _, d := range slices.Backward(t.Dims) {
		if d.Clock != nil {
			row = idx[d.Name]
			continue
		}
		flat = ints.Plus(flat, ints.Times(idx[d.Name], ints.C(stride)))
		stride *= int64(d.Size)
	}
	return row, flat
}

func (sc *scope) index(k *kernelBuilder, s *store, t ir.Type, idx map[string]*ints.Expr) []*ints.Expr {
	switch s.kind {
	case storeDims:
		var e []*ints.Expr
		if s.runs {
			e = append(e, k.expr(ints.V(runVar)))
		}
		for _, d := range t.Dims {
			e = append(e, idx[d.Name])
		}
		return e
	case storeHistory:
		return sc.historyIndex(k, s, t, idx)
	}
	if s.rows { // whatever has rows, its first dimension counts them
		_, flat := flatten(ir.Type{Dims: t.Dims[1:]}, idx)
		row := ints.Plus(idx[t.Dims[0].Name], k.expr(s.shift))
		if s.ring > 0 {
			row = ints.Rem(row, ints.C(int64(s.ring)))
		}
		return []*ints.Expr{row, flat}
	}
	row, flat := flatten(t, idx)
	return sc.indexFlat(k, s, t, row, flat)
}

func (sc *scope) indexFlat(k *kernelBuilder, s *store, t ir.Type, row, flat *ints.Expr) []*ints.Expr {
	shift := ints.C(0)
	if s.shift != nil {
		shift = k.expr(s.shift)
	}
	if s.kind == storeFlat {
		return []*ints.Expr{ints.Plus(flat, shift)}
	}
	return []*ints.Expr{ints.Plus(ints.Plus(sc.rowBase(k, t.Clock()), shift), row), flat}
}

// historyIndex places a row of a history: t is the type of the values kept, of
// the history itself (both count rows at hand), or of a completed chunk.
func (sc *scope) historyIndex(k *kernelBuilder, s *store, t ir.Type, idx map[string]*ints.Expr) []*ints.Expr {
	h := s.history
	number := idx[t.Dims[0].Name]
	if c := t.Clock(); c != nil {
		number = ints.Plus(sc.rowNumber(k, c), number)
	}
	if !h.blocks {
		if !h.keep.Chunk {
			number = ints.Rem(number, ints.C(int64(h.rows)))
		}
		_, flat := flatten(t, idx)
		if t.Clock() == nil { // a completed chunk: its rows are a static dimension
			_, flat = flatten(ir.Type{Dims: t.Dims[1:]}, idx)
		}
		return []*ints.Expr{number, flat}
	}
	size := ints.C(historyBlock)
	if len(t.Dims) == 1 {
		return []*ints.Expr{h.slot(ints.Quo(number, size)), ints.C(0), ints.Rem(number, size)}
	}
	return []*ints.Expr{h.slot(ints.Quo(number, size)), idx[t.Dims[1].Name], ints.Rem(number, size), idx[t.Dims[2].Name]}
}

// slot says where block b of a history lies.
func (h *history) slot(b *ints.Expr) *ints.Expr {
	if h.ring == 0 {
		return b
	}
	ring := ints.Plus(ints.C(int64(h.pinned)), ints.Rem(b, ints.C(int64(h.ring))))
	if h.pinned == 0 {
		return ring
	}
	return ints.If(ints.Bin(ints.Lt, b, ints.C(int64(h.pinned))), b, ring)
}
