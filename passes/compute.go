package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// valOps are the element-wise ops that a map computes in one step.
var valOps = map[string]kernel.ValOp{
	"neg": kernel.Neg, "abs": kernel.Abs, "exp": kernel.Exp, "log": kernel.Log, "sqrt": kernel.Sqrt, "rsqrt": kernel.Rsqrt,
	"sigmoid": kernel.Sigmoid, "silu": kernel.Silu, "softplus": kernel.Softplus, "tanh": kernel.Tanh, "costurn": kernel.CosTurn,
	"sinturn": kernel.SinTurn, "floor": kernel.Floor, "add": kernel.Add, "sub": kernel.Sub, "mul": kernel.Mul, "div": kernel.Div,
	"mod": kernel.Mod, "max": kernel.Max, "min": kernel.Min, "lt": kernel.Less, "le": kernel.AtMost, "eq": kernel.Same,
	"and": kernel.Both, "or": kernel.Either, "not": kernel.Not, "select": kernel.Choose,
}

// pointwise reports whether n can stand inside a map's expression.
func pointwise(n *ir.Node) bool {
	if _, ok := valOps[n.Op.Name]; ok {
		return true
	}
	switch n.Op.Name {
	case "cast", "turns", "expand", "stop":
		return true
	}
	return false
}

// compute emits what gives the tile of a node of this block's group.
func (b *block) compute(n *ir.Node, rd, cd string) *kernel.Tile {
	switch n.Op.Name {
	case "dot":
		return b.dot(n, rd, cd)
	case "accumulate":
		if len(n.Args) == 2 {
			return b.rowSum(n, rd, cd)
		}
		return b.dot(n, rd, cd)
	case "sum", "maximum":
		return b.reduce(n, rd, cd)
	case "slice":
		return b.cut(n, rd, cd)
	case "concat":
		return b.paste(n, n.Args, rd, cd)
	case "pad":
		return b.paste(n, nil, rd, cd)
	case "gather", "take":
		return b.gather(n, rd, cd)
	case "shift":
		return b.shift(n, rd, cd)
	}
	if !pointwise(n) {
		fail(n, "internal: %s has no schedule inside a group", n.Op.Name)
	}
	t := b.fresh(n, rd, cd)
	v := b.expr(n, rd, cd)
	if n.Type.Elem == elem.Bool {
		v = kernel.F(kernel.ToF32, v)
	}
	b.emit(b.phaseOf(n), &kernel.Map{Dst: t, Expr: v, Note: note(n)})
	return t
}

func (b *block) part(n *ir.Node, rd, cd string) (string, string) {
	if !b.has(n, rd) {
		rd = ""
	}
	if !b.has(n, cd) {
		cd = ""
	}
	return rd, cd
}

// value gives n as it occurs in a map over (rd, cd).
func (b *block) value(n *ir.Node, rd, cd string) *kernel.Val {
	// A repeat that another group has stored is read as such: what it repeats may
	// lie nowhere.
	for (n.Op.Name == "expand" || n.Op.Name == "stop") && (b.in[n] || b.sc.find(n) == nil) {
		n = n.Args[0]
	}
	rd, cd = b.part(n, rd, cd)
	switch n.Op.Name {
	case "const":
		if n.Type.Elem.Float() {
			return kernel.N(float32(n.Attr.Value))
		}
		return kernel.IndexOf(ints.C(int64(n.Attr.Value)))
	case "index":
		d := n.Type.Dims[0]
		return kernel.IndexOf(ints.Plus(b.sc.rowNumber(b.k, d.Clock), b.indices(n, rd, cd)[d.Name]))
	case "iota":
		return kernel.IndexOf(b.indices(n, rd, cd)[n.Type.Dims[0].Name])
	case "chunk.index":
		chunk := b.k.slot("chunk")
		if b.sc.run {
			chunk = ints.Plus(chunk, ints.V(runVar))
		}
		return kernel.IndexOf(chunk)
	}
	if b.in[n] && pointwise(n) && (n.Type.Elem == elem.Bool || b.inline(n)) {
		return b.expr(n, rd, cd)
	}
	v := kernel.R(b.tile(n, rd, cd))
	if n.Type.Elem == elem.Bool {
		return kernel.F(kernel.Not, kernel.F(kernel.Same, v, kernel.N(0)))
	}
	return v
}

// inline reports whether a node may be computed where it is used, because it is
// used once and takes as many elements there as here.
func (b *block) inline(n *ir.Node) bool {
	if b.uses[n] != 1 || b.sc.root[n] || b.sc.next[n] != nil {
		return false
	}
	users := b.sc.users[n]
	return len(users) == 1 && b.in[users[0]] && len(b.wide(users[0])) == len(b.wide(n)) && b.phaseOf(users[0]) == b.phaseOf(n)
}

// expr gives a pointwise node over its operands.
func (b *block) expr(n *ir.Node, rd, cd string) *kernel.Val {
	switch n.Op.Name {
	case "expand", "stop":
		return b.value(n.Args[0], rd, cd)
	case "cast":
		v := b.value(n.Args[0], rd, cd)
		from, to := n.Args[0].Type.Elem, n.Type.Elem
		switch {
		case to.Float() && to != elem.F32 && from != to && !b.keptOnly(n):
			more := ""
			if to == elem.Q8 {
				more = ", or behind rows that nothing but products reads"
			}
			fail(n, "a cast of %s to %s is not compiled: it is a way to store weights, states, and the keys and values of attention; say `as %s` behind these%s", from, to, to, more)
		case to.Float() && v.Elem != elem.F32:
			return kernel.F(kernel.ToF32, v)
		case to == elem.I64 && v.Elem != elem.I64:
			return kernel.F(kernel.ToI64, v)
		case to == elem.I32 && v.Elem != elem.I32:
			return kernel.F(kernel.ToI32, v)
		}
		return v
	case "turns":
		// position × fraction wraps around 2^64, which is a whole turn.
		d := n.Type.Dims[len(n.Type.Dims)-1]
		table := b.sc.lw.fractions(b.k, n)
		t := b.fractionTile(n, table, d, rd, cd)
		x := b.value(n.Args[0], rd, cd)
		if x.Elem != elem.I64 {
			x = kernel.F(kernel.ToI64, x)
		}
		return kernel.F(kernel.Turns, kernel.F(kernel.Mul, x, t))
	}
	args := make([]*kernel.Val, len(n.Args))
	wide := false
	for i, a := range n.Args {
		args[i] = b.value(a, rd, cd)
		wide = wide || args[i].Elem == elem.I64
	}
	for i := range args { // integers of two widths meet in 64 bits
		if wide && args[i].Elem == elem.I32 {
			args[i] = kernel.F(kernel.ToI64, args[i])
		}
	}
	return kernel.F(valOps[n.Op.Name], args...)
}

// keptOnly reports whether a rounded value goes to histories alone: storing it
// there rounds it.
func (b *block) keptOnly(n *ir.Node) bool {
	users := b.sc.users[n]
	return n.Type.Elem.Float() && len(users) > 0 && !b.sc.root[n] && !slices.ContainsFunc(users, func(u *ir.Node) bool { return u.Op.Name != "keep" })
}

// fractions is a node that stands for the table of a turns op.
func (lw *lowerer) fractions(k *kernelBuilder, n *ir.Node) *ir.Node {
	d := n.Type.Dims[len(n.Type.Dims)-1]
	return &ir.Node{Op: ir.Ops["table"], Type: ir.Type{Elem: elem.I64, Dims: []ir.Dim{d}}, Attr: ir.Attr{Elem: elem.I64, Dims: []ir.Dim{d}, Ints: n.Attr.Ints}}
}

func (b *block) fractionTile(n, table *ir.Node, d ir.Dim, rd, cd string) *kernel.Val {
	rd, cd = b.part(table, rd, cd)
	key := tileKey{n, "fractions" + rd, cd}
	t, ok := b.tiles[key]
	if !ok {
		t = b.load(table, rd, cd)
		b.tiles[key] = t
	}
	return kernel.R(t)
}

// operand asks for a product's operand with rd down and cd along it, or the
// other way round (swapped) where it lies so.
func (b *block) operand(n *ir.Node, rd, cd string, right bool) (t *kernel.Tile, swapped bool) {
	for n.Op.Name == "expand" && b.in[n] {
		n = n.Args[0]
	}
	rd, cd = b.part(n, rd, cd)
	switch {
	case b.tiles[tileKey{n, rd, cd}] != nil:
		return b.tile(n, rd, cd), false
	case b.sc.stays() && n.Type.Clock() == nil && b.phaseOf(n) == before && rd != "" && cd != "":
		r, c := b.orient(n) // as it lies, in a run and outside: the order of sums depends on it
		return b.tile(n, r, c), r != rd
	case b.seq != "" && right && b.phaseOf(n) == before:
		return b.tile(n, rd, cd), false // turned once, before the walk
	case b.tiles[tileKey{n, cd, rd}] != nil:
		return b.tile(n, cd, rd), true
	}
	r, c := b.orient(n)
	across := r == cd && c == rd
	if !b.in[n] && !(b.seq != "" && cd == b.seq && b.uses[n] > 1) { // else others read these rows as they lie
		across = !b.loads(n, rd, cd)
	}
	if across {
		return b.tile(n, cd, rd), true
	}
	return b.tile(n, rd, cd), false
}

// dot: a product of tiles; row by row where both operands have the rows; element
// by element where the summed dimension has one element.
func (b *block) dot(n *ir.Node, rd, cd string) *kernel.Tile {
	over := n.Attr.Over[0]
	x, y := terms(n)[0], terms(n)[1]
	if !b.has(x, over) {
		t := b.fresh(n, rd, cd)
		b.emit(b.phaseOf(n), &kernel.Map{Dst: t, Expr: kernel.F(kernel.Mul, b.value(x, rd, cd), b.value(y, rd, cd)), Note: note(n)})
		return t
	}
	for _, d := range []string{rd, cd} {
		if b.has(x, d) && b.has(y, d) {
			return b.rowwise(n, rd, cd)
		}
	}
	if b.has(x, cd) || b.has(y, rd) {
		x, y = y, x
	}
	p := b.phaseOf(n)
	dst := b.fresh(n, rd, cd)
	acc := over == b.seq && b.seq != ""
	if acc {
		b.begin(n, dst, rd, cd)
		p = during
	}
	// The right operand wants its columns adjacent: [k, n] rather than [n, k].
	left, swappedA := b.operand(x, rd, over, false)
	right, swappedB := b.operand(y, over, cd, true)
	s := &kernel.Dot{Dst: dst, A: left, B: right, TransA: swappedA, TransB: swappedB, Acc: acc, Group: b.group(n), Note: note(n)}
	if dimOf(y, over).Static() { // sums over rows are not rounded
		s.Operands = b.sc.lw.operands(y)
	}
	b.emit(p, s)
	return dst
}

// group is how many of a product's terms may be summed in another order. A
// dimension of the spec's is in one tile as a whole, or walked in tiles of one
// size. Of rows, a walk sees whole blocks of its chunk, however a stream is cut.
func (b *block) group(n *ir.Node) int {
	over := n.Attr.Over[0]
	x := terms(n)[0]
	if x.Type.Find(over) < 0 {
		x = terms(n)[1]
	}
	d := dimOf(x, over)
	walked := b.seq != "" && over == b.seq
	switch {
	case d.Static() && walked:
		return b.lay.find(over).step
	case d.Static():
		return d.Size
	case walked && (b.sc.blocks || b.sc.run):
		return blockRows
	}
	return 0
}

// begin gives a sum over the walked rows its first value: 0, or what earlier
// blocks of the chunk have summed.
func (b *block) begin(n *ir.Node, dst *kernel.Tile, rd, cd string) {
	b.emit(before, &kernel.Map{Dst: dst, Expr: kernel.N(0), Note: note(n)})
	if n.Op.Name != "accumulate" {
		return
	}
	st := n.Args[0]
	later := ints.Bin(ints.Lt, ints.C(0), b.sc.rowNumber(b.k, n.Args[1].Type.Clock()))
	if never, ok := later.IsConst(); ok && never == 0 {
		return
	}
	load := func(t *kernel.Tile, rd, cd string) kernel.Stmt {
		s, idx := b.sc.address(b.k, st, b.indices(st, rd, cd))
		return &kernel.Load{Dst: t, Buf: b.k.buf(s, false), Idx: idx, Note: note(n)}
	}
	if b.loads(st, rd, cd) {
		b.emit(before, &kernel.When{Cond: later, Body: []kernel.Stmt{load(dst, rd, cd)}})
		return
	}
	t := b.fresh(n, cd, rd)
	b.emit(before, &kernel.When{Cond: later, Body: []kernel.Stmt{load(t, cd, rd), &kernel.Transpose{Dst: dst, Src: t, Note: note(n)}}})
}

// rowSum is a sum over the walked rows in their order, as the product with ones.
func (b *block) rowSum(n *ir.Node, rd, cd string) *kernel.Tile {
	x, c := n.Args[1], rd+cd
	if rd != "" && cd != "" {
		fail(n, "internal: a sum over rows of a tile of two more dimensions")
	}
	src := b.operandTile(x, b.seq, c)
	ones := b.k.tile(elem.F32, 1, src.Rows, nil, src.ValidRows)
	b.emit(during, &kernel.Map{Dst: ones, Expr: kernel.N(1), Note: note(n)})
	sum := b.fresh(n, "", c)
	b.begin(n, sum, "", c)
	b.emit(during, &kernel.Dot{Dst: sum, A: ones, B: src, Acc: true, Note: note(n)})
	if rd == "" {
		return sum
	}
	t := b.fresh(n, rd, cd)
	b.emit(after, &kernel.Transpose{Dst: t, Src: sum, Note: note(n)})
	return t
}

// rowwise computes a product whose operands share their rows: element by
// element, then a sum.
func (b *block) rowwise(n *ir.Node, rd, cd string) *kernel.Tile {
	over := n.Attr.Over[0]
	if over == b.seq && b.seq != "" {
		fail(n, "internal: a row-wise product over the walked dimension")
	}
	row := rd
	if row == "" {
		row = cd
	}
	size, valid := b.span(dimOf(n.Args[0], over))
	rows, vr := b.span(dimOf(n, row))
	prod := b.k.tile(elem.F32, rows, size, vr, valid)
	p := b.phaseOf(n)
	b.emit(p, &kernel.Map{Dst: prod, Expr: kernel.F(kernel.Mul, b.value(n.Args[0], row, over), b.value(n.Args[1], row, over)), Note: note(n)})
	col := b.k.tile(elem.F32, rows, 1, vr, nil)
	b.emit(p, &kernel.Reduce{Dst: col, Src: prod, Op: kernel.Sum, Alike: b.sc.stays(), Note: note(n)})
	if cd == "" {
		return col
	}
	t := b.fresh(n, rd, cd)
	b.emit(p, &kernel.Transpose{Dst: t, Src: col, Note: note(n)})
	return t
}

// reduce sums, or takes the largest, over whole dimensions of a tile and over
// the walked one.
func (b *block) reduce(n *ir.Node, rd, cd string) *kernel.Tile {
	x := n.Args[0]
	op := kernel.Sum
	if n.Op.Name == "maximum" {
		op = kernel.Largest
	}
	var over []string
	walked := false
	for _, o := range n.Attr.Over {
		switch {
		case o == b.seq && b.seq != "":
			walked = true
		case b.has(x, o):
			over = append(over, o)
		}
	}
	// What is left of x's tile once the inner sums are taken: rows r, columns c.
	r, c := rd, cd
	if walked {
		if rd != "" && cd != "" {
			fail(n, "internal: a sum over rows of a tile of two more dimensions")
		}
		r = b.seq
		c = rd + cd
	}
	p := b.phaseOf(n)
	if walked {
		p = during
	}
	var t *kernel.Tile
	switch len(over) {
	case 0:
		t = b.operandTile(x, r, c)
	case 1:
		switch {
		case c == "": // along the columns
			src := b.operandTile(x, r, over[0])
			t = b.k.tile(elem.F32, src.Rows, 1, src.ValidRows, nil)
			b.emit(p, &kernel.Reduce{Dst: t, Src: src, Op: op, Alike: b.sc.stays(), Note: note(n)})
		case r == "": // down the rows
			src := b.operandTile(x, over[0], c)
			t = b.k.tile(elem.F32, 1, src.Cols, nil, src.ValidCols)
			b.emit(p, &kernel.Reduce{Dst: t, Src: src, Op: op, OverRows: true, Alike: b.sc.stays(), Note: note(n)})
		default:
			fail(n, "internal: a sum inside a tile of two more dimensions")
		}
	case 2:
		src := b.operandTile(x, over[0], over[1])
		col := b.k.tile(elem.F32, src.Rows, 1, src.ValidRows, nil)
		b.emit(p, &kernel.Reduce{Dst: col, Src: src, Op: op, Alike: b.sc.stays(), Note: note(n)})
		t = b.k.tile(elem.F32, 1, 1, nil, nil)
		b.emit(p, &kernel.Reduce{Dst: t, Src: col, Op: op, OverRows: true, Alike: b.sc.stays(), Note: note(n)})
	default:
		fail(n, "internal: a sum over %d dimensions of a tile", len(over))
	}
	if !walked {
		return t
	}
	sum := b.k.tile(elem.F32, 1, t.Cols, nil, t.ValidCols)
	b.emit(p, &kernel.Reduce{Dst: sum, Src: t, Op: op, OverRows: true, Alike: b.sc.stays(), Note: note(n)})
	acc := b.k.tile(elem.F32, 1, t.Cols, nil, t.ValidCols)
	b.emit(before, &kernel.Map{Dst: acc, Expr: kernel.N(0), Note: note(n)})
	b.emit(p, &kernel.Map{Dst: acc, Expr: kernel.F(kernel.Add, kernel.R(acc), kernel.R(sum)), Note: note(n)})
	if rd != "" && t.Cols > 1 {
		col := b.fresh(n, rd, cd)
		b.emit(after, &kernel.Transpose{Dst: col, Src: acc, Note: note(n)})
		return col
	}
	return acc
}

// operandTile gives x as an f32 tile of exactly those dimensions, computing a
// map where x is repeated along one of them.
func (b *block) operandTile(x *ir.Node, rd, cd string) *kernel.Tile {
	y := x
	for y.Op.Name == "expand" || y.Op.Name == "stop" {
		y = y.Args[0]
	}
	full := (rd == "" || b.has(y, rd)) && (cd == "" || b.has(y, cd)) && y.Op.Name != "const"
	if full && y.Type.Elem.Float() {
		return b.tile(y, rd, cd)
	}
	t := b.fresh(x, rd, cd)
	b.emit(b.phaseOf(x), &kernel.Map{Dst: t, Expr: b.value(x, rd, cd), Note: note(x)})
	return t
}

// cut takes a window of a tile.
func (b *block) cut(n *ir.Node, rd, cd string) *kernel.Tile {
	x := n.Args[0]
	if !b.in[x] {
		return b.loadFrom(n, x, n.Attr.Dim, ints.C(int64(n.Attr.Start)), rd, cd)
	}
	src := b.tile(x, rd, cd)
	t := b.fresh(n, rd, cd)
	s := &kernel.Slice{Dst: t, Src: src, Note: note(n)}
	switch n.Attr.Dim {
	case rd:
		s.Row = n.Attr.Start
	case cd:
		s.Col = n.Attr.Start
	default:
		// A slice of one element leaves the tile: the source has the dimension still.
		if b.has(x, n.Attr.Dim) {
			if rd == "" {
				src = b.tile(x, n.Attr.Dim, cd)
				s.Row = n.Attr.Start
			} else {
				src = b.tile(x, rd, n.Attr.Dim)
				s.Col = n.Attr.Start
			}
			s.Src = src
		}
	}
	b.emit(b.phaseOf(n), s)
	return t
}

// paste puts tiles side by side; pad is one of them on zeros.
func (b *block) paste(n *ir.Node, parts []*ir.Node, rd, cd string) *kernel.Tile {
	p := b.phaseOf(n)
	t := b.fresh(n, rd, cd)
	at := 0
	if parts == nil {
		parts = n.Args
		at = n.Attr.Start
		b.emit(p, &kernel.Map{Dst: t, Expr: kernel.N(0), Note: note(n)})
	}
	for _, a := range parts {
		s := &kernel.Paste{Dst: t, Note: note(n)}
		switch n.Attr.Dim {
		case rd:
			s.Row = at
		case cd:
			s.Col = at
		}
		ar, ac := rd, cd
		if dimOf(a, n.Attr.Dim).Size == 1 {
			ar, ac = b.part(a, rd, cd)
		}
		s.Src = b.operandTile(a, ar, ac)
		b.emit(p, s)
		at += dimOf(a, n.Attr.Dim).Size
	}
	return t
}

// gather reads rows of a stored value by number.
func (b *block) gather(n *ir.Node, rd, cd string) *kernel.Tile {
	table, idx := n.Args[0], n.Args[1]
	if b.in[table] {
		fail(n, "internal: rows of a value computed in the same group")
	}
	numbers := b.wide(idx)
	row, col := rd, cd
	swap := len(numbers) == 1 && numbers[0].Name == cd
	if swap {
		row, col = cd, rd
	}
	if len(numbers) > 1 {
		fail(n, "row numbers of two dimensions are not compiled; found %s", idx.Type)
	}
	pick := b.indexTile(idx, row)
	if row != "" && !b.has(idx, row) { // one number for all rows of the tile
		one := pick
		pick = b.k.tile(one.Elem, 1, 1, nil, nil)
		pick.Rows, pick.ValidRows = b.span(dimOf(n, row))
		b.emit(b.phaseOf(n), &kernel.Map{Dst: pick, Expr: kernel.R(one), Note: note(n)})
	}
	at := b.indices(n, row, col)
	first := table.Type.Dims[0]
	x := ints.V(kernel.Pick)
	if n.Op.Name == "take" { // numbered from the start of the clock; the buffer begins with this call's rows
		x = ints.Minus(x, b.sc.rowNumber(b.k, first.Clock))
	} else {
		x = inTable(n, x)
	}
	from := map[string]*ints.Expr{first.Name: x}
	for _, d := range table.Type.Dims[1:] {
		from[d.Name] = at[d.Name]
	}
	s, index := b.sc.address(b.k, table, from)
	t := b.k.tile(tileElem(n.Type.Elem), 1, 1, nil, nil)
	if row != "" {
		t.Rows, t.ValidRows = b.span(dimOf(n, row))
	}
	if col != "" {
		t.Cols, t.ValidCols = b.span(dimOf(n, col))
	}
	b.emit(b.phaseOf(n), &kernel.Load{Dst: t, Buf: b.k.buf(s, false), Idx: index, Gather: pick, Note: note(n)})
	if !swap {
		return t
	}
	u := b.fresh(n, rd, cd)
	b.emit(b.phaseOf(n), &kernel.Transpose{Dst: u, Src: t, Note: note(n)})
	return u
}

// indexTile gives row numbers as a column of integers.
func (b *block) indexTile(idx *ir.Node, row string) *kernel.Tile {
	if !b.has(idx, row) {
		row = ""
	}
	if b.in[idx] && pointwise(idx) || leaf(idx) && !slices.Contains([]string{"input", "table", "param", "kept", "state"}, idx.Op.Name) {
		key := tileKey{idx, row, ""}
		if t, ok := b.tiles[key]; ok {
			return t
		}
		v := b.value(idx, row, "")
		t := b.k.tile(v.Elem, 1, 1, nil, nil)
		if row != "" {
			t.Rows, t.ValidRows = b.span(dimOf(idx, row))
		}
		b.emit(b.phaseOf(idx), &kernel.Map{Dst: t, Expr: v, Note: note(idx)})
		b.tiles[key] = t
		return t
	}
	return b.tile(idx, row, "")
}

// shift reads a history some rows back, and zero before the stream's first row.
func (b *block) shift(n *ir.Node, rd, cd string) *kernel.Tile {
	rows := n.Type.Dims[0]
	back := ints.C(int64(n.Attr.Start))
	var number *ints.Expr
	from := func(rd, cd string) (*store, []*ints.Expr) {
		at := b.indices(n, rd, cd)
		number = ints.Minus(ints.Plus(b.sc.rowNumber(b.k, rows.Clock), at[rows.Name]), back)
		// The address stays inside the buffer where the row does not exist.
		at[rows.Name] = ints.Minus(at[rows.Name], back)
		return b.sc.address(b.k, n.Args[0], at)
	}
	s, idx := from(rd, cd)
	turned := cd != "" && !columns(idx, true)
	if turned {
		rd, cd = cd, rd
		s, idx = from(rd, cd)
	}
	t := b.fresh(n, rd, cd)
	b.emit(b.phaseOf(n), &kernel.Load{Dst: t, Buf: b.k.buf(s, false), Idx: idx, Note: note(n)})
	u := b.fresh(n, rd, cd)
	test, zero := kernel.TestOf(ints.Bin(ints.Le, ints.C(0), number)), kernel.N(0)
	if !n.Type.Elem.Float() {
		zero = kernel.F(kernel.Sub, kernel.R(t), kernel.R(t)) // kernels have no constant of 32 bits
	}
	b.emit(b.phaseOf(n), &kernel.Map{Dst: u, Expr: kernel.F(kernel.Choose, test, kernel.R(t), zero), Note: note(n)})
	if turned {
		return b.transposed(tileKey{n, cd, rd}, u)
	}
	return u
}
