package frontend

import (
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Row templates: a clock woven from another by a static pattern, values over
// it, and the way back.

// maxRows bounds the rows of one chunk of a woven clock.
const maxRows = 1 << 20

// woven makes the clock of a rows declaration.
func (e *elab) woven(x *rowsDecl) value {
	from, ok := e.find(x.From.Pos, x.From.Text, e.global).(clockV)
	if !ok {
		return e.errorf(x.From.Pos, "rows are made from a clock, and %s is none", x.From.Text)
	}
	if from.Kind != ir.Base {
		return e.errorf(x.From.Pos, "rows are made from the tokens' clock, and %s is made from another", x.From.Text)
	}
	every, ok := e.sized(x.Every.Pos, "a chunk", e.expr(x.Every, e.global))
	if !ok {
		return badV{}
	}
	group, ok := e.sized(x.Group.Pos, "a group", e.expr(x.Group, e.global))
	if !ok {
		return badV{}
	}
	if every.Size > maxRows {
		return e.errorf(x.Every.Pos, "a chunk has at most %d rows, found %d", maxRows, every.Size)
	}
	p := &ir.Pattern{Every: every.Size}
	literals := int64(0)
	type lit struct {
		kind  int64
		first int64
		count int
	}
	read := func(refs []*rowRef) (out []lit, ok bool) {
		for _, r := range refs {
			n := ir.Dim{Size: 1}
			if r.Count != nil {
				if n, ok = e.sized(r.Count.Pos, r.Name.Text, e.expr(r.Count, e.global)); !ok {
					return nil, false
				}
			}
			if n.Size > maxRows {
				e.errorf(r.Pos, "at most %d rows of one kind, found %d", maxRows, n.Size)
				return nil, false
			}
			if slices.Contains(p.Kinds, r.Name.Text) || r.Name.Text == "text" {
				e.errorf(r.Pos, "the kind %s is named twice", r.Name.Text)
				return nil, false
			}
			p.Kinds = append(p.Kinds, r.Name.Text)
			out = append(out, lit{int64(len(p.Kinds)), literals, n.Size})
			literals += int64(n.Size)
		}
		return out, true
	}
	if x.In[0].Name.Text != "text" || x.In[0].Count != nil {
		return e.errorf(x.In[0].Pos, "a group begins with its text: group N { text; … }")
	}
	in, ok := read(x.In[1:])
	if !ok {
		return badV{}
	}
	end, ok := read(x.End)
	if !ok {
		return badV{}
	}
	put := func(list []lit) bool {
		for _, l := range list {
			for k := range l.count {
				p.From = append(p.From, -1-l.first-int64(k))
				p.Kind = append(p.Kind, l.kind)
			}
		}
		return len(p.From) <= maxRows
	}
	p.Rows = append(p.Rows, 0)
	for t := range every.Size {
		p.Row = append(p.Row, int64(len(p.From)))
		p.From = append(p.From, int64(t))
		p.Kind = append(p.Kind, 0)
		full := t+1 == every.Size
		good := true
		if full || (t+1)%group.Size == 0 {
			good = put(in)
		}
		if full {
			good = good && put(end)
		}
		if !good {
			return e.errorf(x.Pos, "a chunk of %s has more than %d rows", x.Name.Text, maxRows)
		}
		p.Rows = append(p.Rows, int64(len(p.From)))
	}
	c := &ir.Clock{Name: x.Name.Text, Kind: ir.Woven, Of: from.Clock, Size: len(p.From), Pattern: p}
	e.clocks = append(e.clocks, c)
	return clockV{c}
}

// weave is weave(r, text: x, kind: rows, …): x at the text rows of r, and at the
// rows of each kind what it is given: an integer or a list for token numbers.
func (e *elab) weave(c *ruleCall) value {
	if len(c.call.args.List) == 0 || c.call.args.List[0].Name != nil {
		return e.errorf(c.pos, "weave takes the rows first: weave(r, text: x, …)")
	}
	r, ok := e.expr(c.call.args.List[0].Value, c.s).(clockV)
	if !ok || r.Kind != ir.Woven {
		return e.errorf(c.call.args.List[0].Pos, "weave takes rows declared with `rows` first")
	}
	p := r.Pattern
	if !e.charge(c.pos, 4*len(p.From)) {
		return badV{}
	}
	names := append([]string{"text"}, p.Kinds...)
	rest := *c.call
	rest.args = &args{Pos: c.call.args.Pos, List: c.call.args.List[1:]}
	for _, a := range rest.args.List {
		if a.Name == nil {
			return e.errorf(a.Pos, "weave names each kind of row: text: x, %s: …", names[len(names)-1])
		}
	}
	vals, ok := e.bound(&rest, "weave", names)
	if !ok {
		return badV{}
	}
	for i, v := range vals {
		if v == nil {
			return e.errorf(c.pos, "weave needs the rows of %s", names[i])
		}
	}
	x, ok := e.tensor(c.pos, vals[0], "text")
	if !ok {
		return badV{}
	}
	if x.Type.Clock() != r.Of || len(x.Type.Dims) != 1 || x.Type.Elem != elem.I32 && x.Type.Elem != elem.I64 {
		return e.errorf(c.pos, "weave takes token numbers over %s, found %s", r.Of.Name, x.Type)
	}
	counts := make([]int, len(p.Kinds))
	seen := map[int64]bool{}
	for k, f := range p.From {
		if f < 0 && !seen[f] {
			seen[f] = true
			counts[p.Kind[k]-1]++
		}
	}
	var data []int64
	for k, v := range vals[1:] {
		list, isList := v.(listV)
		if !isList {
			list = listV{v}
		}
		if len(list) != counts[k] {
			return e.errorf(c.pos, "%s has %d rows, found %d numbers", p.Kinds[k], counts[k], len(list))
		}
		for _, i := range list {
			n, ok := intOf(i)
			if !ok || n < 0 || n > maxSize {
				return e.errorf(c.pos, "%s is given by token numbers, found %s", p.Kinds[k], i.what())
			}
			data = append(data, n)
		}
	}
	e.b.At = []ir.Pos{place(c.pos)}
	b := e.b
	size, every := b.I(int64(len(p.From))), b.I(int64(p.Every))
	row := b.Must("index", ir.Attr{Clock: r.Clock})
	at := b.Must("mod", ir.Attr{}, row, size)
	chunk := b.Must("div", ir.Attr{}, row, size)
	// A literal row takes the number of the text row before it, which arrives
	// in the same call as it does.
	text := slices.Clone(p.From)
	lits := make([]int64, len(text))
	for k := range text {
		if text[k] < 0 {
			lits[k] = data[-1-text[k]]
			text[k] = text[k-1]
		}
	}
	isText := make([]int64, len(text))
	for k, kind := range p.Kind {
		if kind == 0 {
			isText[k] = 1
		}
	}
	pick := func(et elem.Type, data []int64) *ir.Node {
		return b.Must("gather", ir.Attr{}, e.intTable("row", et, data), at)
	}
	src := b.Add(b.Mul(chunk, every), pick(elem.I64, text))
	taken := b.Must("take", ir.Attr{}, x, src)
	if len(data) == 0 {
		return tensorV{taken}
	}
	test := b.Must("eq", ir.Attr{}, pick(elem.I64, isText), b.I(1))
	return e.make(c.pos, "select", ir.Attr{}, test, taken, pick(x.Type.Elem, lits))
}

// textRows is text(y): for each token its own row.
func (e *elab) textRows(c *ruleCall) value {
	y, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	r := y.Type.Clock()
	if r == nil || r.Kind != ir.Woven {
		return e.errorf(c.pos, "text takes rows declared with `rows`, found %s", y.Type)
	}
	p := r.Pattern
	if !e.charge(c.pos, len(p.Row)) {
		return badV{}
	}
	b := e.b
	b.At = []ir.Pos{place(c.pos)}
	every := b.I(int64(p.Every))
	t := b.Must("index", ir.Attr{Clock: r.Of})
	in := b.Must("gather", ir.Attr{}, e.intTable("row", elem.I64, p.Row), b.Must("mod", ir.Attr{}, t, every))
	idx := b.Add(b.Mul(b.Must("div", ir.Attr{}, t, every), b.I(int64(len(p.From)))), in)
	return e.make(c.pos, "take", ir.Attr{}, y, idx)
}

// kindTest recognises kind == name.
func kindTest(x *expr) (*name, bool) {
	if len(x.Rest) != 1 || x.Rest[0].Op != "==" || x.First.Post.Base.Name != "kind" || len(x.First.Post.Suffix) > 0 || len(x.First.Ops) > 0 {
		return nil, false
	}
	r := x.Rest[0].Right
	if r.Post.Base.Name == "" || len(r.Post.Suffix) > 0 || len(r.Ops) > 0 {
		return nil, false
	}
	return &name{Pos: r.Pos, Text: r.Post.Base.Name}, true
}

// rowsOfKind is y[m: kind == name] in a write: the chunk's rows of that kind,
// along the new dimension m.
func (e *elab) rowsOfKind(it *dimItem, n *ir.Node, kind *name, _ *scope) value {
	c := n.Type.Clock()
	if c == nil || c.Kind != ir.Chunk || c.Of.Kind != ir.Woven {
		return e.errorf(it.Pos, "rows are picked by kind from a chunk of rows declared with `rows`, found %s", n.Type)
	}
	if e.phase != writing {
		return e.errorf(it.Pos, "the chunk's rows are complete in its `write` only")
	}
	p := c.Of.Pattern
	if !e.charge(it.Pos, len(p.Kind)) {
		return badV{}
	}
	want := int64(slices.Index(p.Kinds, kind.Text) + 1)
	if want == 0 && kind.Text != "text" {
		return e.errorf(kind.Pos, "the rows %s have no kind %s%s", c.Of.Name, kind.Text, near(kind.Text, append([]string{"text"}, p.Kinds...)))
	}
	var rows []int64
	for k, v := range p.Kind {
		if v == want {
			rows = append(rows, int64(k))
		}
	}
	return e.make(it.Pos, "rows", ir.Attr{Dim: it.Name.Text, Ints: rows}, n)
}

// prefixed is concat(m, x) of a state's rows and a chunk's.
func (e *elab) prefixed(c *ruleCall, m, x *ir.Node) value {
	clock := x.Type.Clock()
	if clock.Kind != ir.Chunk || e.scan == nil {
		return e.errorf(c.pos, "rows are put before those of a chunk, inside a memory; found %s and %s", m.Type, x.Type)
	}
	before := ir.LenOf(m.Type.Dims[0])
	key := before.String()
	z := e.scan.mixed[key]
	if z == nil {
		z = &ir.Clock{Name: clock.Name + ".after", Kind: ir.Prefixed, Of: clock, Prefix: before, Most: m.Type.Dims[0].Size}
		if n := len(e.scan.mixed); n > 0 {
			z.Name += ints.C(int64(n + 1)).String()
		}
		e.scan.mixed[key] = z
	}
	return e.make(c.pos, "prefix", ir.Attr{Clock: z}, m, x)
}
