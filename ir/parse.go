package ir

import (
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/elem"
)

// Limits of a text, so that a hostile one cannot ask for much.
const (
	maxSource   = 1 << 28 // bytes
	maxNesting  = 16      // scans inside scans
	maxNodes    = 1 << 18 // of one entry: walks over a graph go as deep as it is
	maxPlaces   = 1 << 12 // of one value
	maxElements = 1 << 50 // of one type, so that counts of two stay in range
)

// Parse reads what Module.String prints. Its error is a *SyntaxError. Every node
// is made anew, checked and typed as in a spec; a type in the text that is not
// the one inferred is an error. Verify checks the rest.
func Parse(src string) (m *Module, err error) {
	p := &parser{lexer: lexer{src: src}, clocks: map[string]*Clock{}}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				panic(r)
			}
			m, err = nil, e
		}
	}()
	if len(src) > maxSource {
		p.fail("a text of %d bytes; at most %d are read", len(src), maxSource)
	}
	p.next()
	return p.module(), nil
}

type parser struct {
	lexer
	clocks map[string]*Clock
	// of the entry being read
	b      *Builder
	values map[string]*Node
	depth  int
}

func (p *parser) module() *Module {
	m := &Module{}
	for p.kind != end {
		switch {
		case p.is("spec"):
			m.Spec = p.quoted("the spec's name")
		case p.is("doc"):
			m.Doc = p.quoted("the doc")
		case p.is("param"):
			a := Param{Name: p.name("a parameter's name"), Type: p.name("a type")}
			p.expect("=")
			a.Value = p.quoted("a value")
			if p.kind == quoted {
				a.Doc = p.quoted("the doc")
			}
			m.Params = append(m.Params, a)
		case p.is("clock"):
			p.clock()
		case p.is("entry"):
			m.Entries = append(m.Entries, p.entry())
		default:
			p.fail("expected spec, doc, param, clock or entry, found %s", p.found())
		}
	}
	return m
}

func (p *parser) clock() {
	at := p.at
	full := p.name("a clock's name")
	if p.clocks[full] != nil {
		p.failAt(at, "the clock %s is declared twice", full)
	}
	c := &Clock{Name: full}
	if i := strings.LastIndexByte(full, '#'); i >= 0 {
		if _, err := strconv.ParseUint(full[i+1:], 10, 31); err == nil {
			c.Name = full[:i]
		}
	}
	of := func(parent string, ok func(k ClockKind) bool) {
		p.expect("of")
		at := p.at
		if c.Of = p.clockRef(); !ok(c.Of.Kind) {
			p.failAt(at, "%s is no clock %s", c.Of.Name, parent)
		}
	}
	switch {
	case p.is("base"):
	case p.is("chunk"):
		c.Kind = Chunk
		of("to cut", func(ClockKind) bool { return true })
		p.expect("size")
		c.Size = p.size(1)
	case p.is("prefixed"):
		c.Kind = Prefixed
		of("of a chunk", func(k ClockKind) bool { return k == Chunk })
		p.expect("by")
		c.Prefix = p.paren()
		p.expect("<")
		p.expect("=")
		c.Most = p.size(0)
	case p.is("woven"):
		c.Kind = Woven
		of("of the stream", func(k ClockKind) bool { return k == Base || k == Woven })
		p.expect("size")
		c.Size = p.size(1)
		p.pattern(c)
	default:
		p.fail("expected base, chunk, prefixed or woven, found %s", p.found())
	}
	p.clocks[full] = c
}

func (p *parser) pattern(c *Clock) {
	w := &Pattern{}
	c.Pattern = w
	at := p.at
	p.expect("every")
	w.Every = p.size(1)
	p.expect("kinds")
	p.expect("[")
	w.Kinds = p.names()
	p.expect("from")
	w.From = p.ints()
	p.expect("kind")
	w.Kind = p.ints()
	p.expect("rows")
	w.Rows = p.ints()
	p.expect("row")
	w.Row = p.ints()
	if msg := c.wrong(); msg != "" {
		p.failAt(at, "%s", msg)
	}
}

// names takes a, b] with its closing mark.
func (p *parser) names() []string {
	var out []string
	for !p.is("]") {
		if len(out) > 0 {
			p.expect(",")
		}
		out = append(out, p.name("a name"))
	}
	return out
}

func (p *parser) clockRef() *Clock {
	at := p.at
	full := p.name("a clock")
	c := p.clocks[full]
	if c == nil {
		p.failAt(at, "there is no clock %s above", shorten(full))
	}
	return c
}

func (p *parser) entry() *Graph {
	g := &Graph{Name: p.name("an entry's name"), B: NewBuilder()}
	p.b, p.values = g.B, map[string]*Node{}
	if p.is("base") {
		g.Base = p.clockRef()
	}
	if p.is("clocks") {
		g.Clocks = append(g.Clocks, p.clockRef())
		for p.is(",") {
			g.Clocks = append(g.Clocks, p.clockRef())
		}
	}
	p.expect("{")
	for !p.is("}") {
		switch {
		case p.kind == value:
			p.define()
		case p.is("doc"):
			g.Doc = p.quoted("the doc")
		case p.is("inputs"):
			at := p.at
			g.Inputs = p.refs(false)
			for _, n := range g.Inputs {
				if n.Op.Name != "input" {
					p.failAt(at, "%s is no input", n.Op.Name)
				}
			}
		case p.is("output"):
			g.Outputs = append(g.Outputs, Output{p.name("an output's name"), p.ref()})
		case p.is("group"):
			gr := Group{Kind: p.name("a schedule")}
			if p.is("from") {
				gr.From = p.size(1)
			}
			if p.kind == quoted {
				gr.Why = p.quoted("a reason")
			}
			gr.Nodes = p.refs(false)
			g.Groups = append(g.Groups, gr)
		default:
			p.fail("expected a value, doc, inputs, output, group or }, found %s", p.found())
		}
	}
	return g
}

func (p *parser) ref() *Node {
	n := p.values[p.tok]
	if p.kind != value || n == nil {
		p.fail("expected a value defined above, found %s", p.found())
	}
	p.next()
	return n
}

// refs takes values separated by commas; where holes may be, - is none.
func (p *parser) refs(holes bool) []*Node {
	var out []*Node
	for {
		if holes && p.is("-") {
			out = append(out, nil)
		} else {
			out = append(out, p.ref())
		}
		if !p.is(",") {
			return out
		}
	}
}

// define takes a line %n = op operands {attributes} : type @places.
func (p *parser) define() {
	id, at := p.tok, p.at
	if p.values[id] != nil || len(id) == 1 {
		p.fail("%s cannot name a new value", id)
	}
	if len(p.values) == maxNodes {
		p.fail("more than %d values in one entry", maxNodes)
	}
	p.next()
	p.expect("=")
	opAt := p.at
	op := p.name("an op")
	row := Ops[op]
	if row == nil {
		p.failAt(opAt, "there is no op %q", shorten(op))
	}
	var args []*Node
	if p.kind == value {
		args = p.refs(false)
	}
	attr := Attr{}
	if p.tok == "{" && p.kind == mark && op != "scan" || op == "scan" && p.attrsAhead() {
		p.attrs(row, &attr)
	}
	if isAttr(row, "clock") && attr.Clock == nil {
		p.failAt(at, "%s needs a clock", op)
	}
	var n *Node
	var err error
	if op == "scan" {
		body := &Region{}
		if p.is("over") {
			body.Clock = p.clockRef()
		}
		at := p.places()
		p.region(body)
		p.b.At = at
		n, err = p.b.Scan(attr.Name, body, args...)
	} else {
		p.expect(":")
		typeAt := p.at
		t := p.typ()
		if isAttr(row, "dims") {
			attr.Dims = t.Dims
		}
		if isAttr(row, "elem") {
			attr.Elem = t.Elem
		}
		p.b.At = p.places()
		if n, err = p.b.Make(op, attr, args...); err == nil && !n.Type.Equal(t) {
			p.failAt(typeAt, "the type is %s, not %s", n.Type, t)
		}
	}
	if err != nil {
		p.failAt(at, "%s: %v", op, err)
	}
	if len(n.at) > maxPlaces {
		p.failAt(at, "more than %d places of one value", maxPlaces)
	}
	p.values[id] = n
}

// attrsAhead tells a scan's attributes from its body: they begin {name =.
func (p *parser) attrsAhead() bool {
	if p.tok != "{" {
		return false
	}
	ahead := p.lexer
	ahead.next()
	return ahead.tok == "name"
}

func (p *parser) attrs(op *Op, a *Attr) {
	p.expect("{")
	seen := map[string]bool{}
	for !p.is("}") {
		if len(seen) > 0 {
			p.expect(",")
		}
		at := p.at
		name := p.name("an attribute")
		if !isAttr(op, name) || seen[name] {
			p.failAt(at, "%s has no attribute %s, or twice; it has %s", op.Name, shorten(name), strings.Join(op.Attrs, ", "))
		}
		seen[name] = true
		p.expect("=")
		switch name {
		case "name":
			a.Name = p.quoted("a name")
		case "value":
			a.Value = p.float()
		case "over":
			p.expect("[")
			a.Over = p.names()
		case "dim":
			a.Dim = p.name("a dimension")
		case "start":
			a.Start = p.size(0)
		case "size":
			a.Size = p.size(0)
		case "ints":
			a.Ints = p.ints()
		case "floats":
			p.expect("[")
			for !p.is("]") {
				a.Floats = append(a.Floats, p.float())
			}
		case "where":
			a.Where = p.expr()
		case "linear":
			if a.Linear = p.is("true"); !a.Linear {
				p.expect("false")
			}
		case "cap":
			a.Cap = p.float()
		case "init":
			a.Init.Kind = p.name("a distribution")
			if p.is("(") {
				a.Init.Scale = p.float()
				p.expect(")")
			}
		case "clock":
			a.Clock = p.clockRef()
		case "keep":
			p.keep(&a.Keep)
		default:
			p.failAt(at, "%s follows from the type", name)
		}
	}
}

func (p *parser) keep(k *Keep) {
	switch {
	case p.is("all"):
		k.All = true
	case p.is("chunk"):
		k.Chunk, k.Ring = true, p.size(0)
		if p.is("block") {
			k.Block = p.size(1)
		}
	default:
		p.expect("ring")
		k.Ring = p.size(0)
		p.expect("pin")
		k.Pin = p.size(0)
	}
}

// places takes @file:line:col, any number of times.
func (p *parser) places() []Pos {
	var out []Pos
	for p.tok == "@" && p.kind == mark {
		var a Pos
		if p.pos < len(p.src) && p.src[p.pos] == '"' {
			p.next()
			a.File = p.text
		} else {
			i := strings.IndexByte(p.src[p.pos:], ':')
			if i <= 0 || strings.ContainsAny(p.src[p.pos:p.pos+i], " \t\r\n\"") {
				p.fail("expected @file:line:column")
			}
			a.File = p.src[p.pos : p.pos+i]
			p.pos += i
		}
		p.next()
		p.expect(":")
		a.Line = p.size(0)
		p.expect(":")
		a.Col = p.size(0)
		out = append(out, a)
	}
	return out
}

func (p *parser) typ() Type {
	at := p.at
	e, ok := elem.Parse(p.name("an element type"))
	if !ok {
		p.failAt(at, "expected an element type")
	}
	t := Type{Elem: e}
	p.expect("[")
	n := 1
	for !p.is("]") {
		if len(t.Dims) > 0 {
			p.expect(",")
		}
		at := p.at
		d := p.dim()
		if t.Find(d.Name) >= 0 {
			p.failAt(at, "two dimensions called %s", d.Name)
		}
		if d.Clock == nil {
			if d.Size > maxElements/n {
				p.failAt(at, "more than 2^50 elements")
			}
			n *= d.Size
		}
		t.Dims = append(t.Dims, d)
	}
	return t
}

func (p *parser) dim() Dim {
	at := p.at
	d := Dim{Name: p.name("a dimension")}
	if !p.is(":") {
		if d.Clock = p.clocks[d.Name]; d.Clock == nil {
			p.failAt(at, "there is no clock %s above, and no size", shorten(d.Name))
		}
		return d
	}
	switch {
	case p.kind == number:
		d.Size = p.size(1)
	case p.tok == "(" && p.kind == mark:
		d.Len = p.paren()
		p.expect("<")
		p.expect("=")
		d.Size = p.size(1)
	default:
		// A clock may be called past.
		if p.tok == "past" && p.kind == name {
			ahead := p.lexer
			ahead.next()
			if ahead.kind == name || ahead.kind == quoted {
				p.next()
				d.Past = true
			}
		}
		d.Clock = p.clockRef()
	}
	return d
}

// region takes { … }.
func (p *parser) region(r *Region) {
	if p.depth++; p.depth > maxNesting {
		p.fail("scans nested more than %d deep", maxNesting)
	}
	p.expect("{")
	for !p.is("}") {
		switch {
		case p.kind == value:
			p.define()
		case p.is("length"):
			l := Length{Name: p.name("a length")}
			p.expect("=")
			l.Start = int64(p.size(0))
			p.expect("<")
			p.expect("=")
			l.Max = int64(p.size(0))
			p.expect("next")
			l.Next = p.paren()
			r.Lens = append(r.Lens, l)
		case p.is("params"):
			r.Params = p.leaves("param", "kept")
		case p.is("states"):
			p.states(r)
		case p.is("rows"):
			r.Rows = p.refs(false)
		case p.is("kept"):
			r.Kept = p.leaves("keep")
		case p.is("block"):
			r.Block = p.size(1)
		case p.is("sums"):
			r.Sums = p.refs(true)
		case p.is("next"):
			r.Next = p.refs(true)
		case p.is("probe"):
			r.Probes = append(r.Probes, Probe{p.name("a probe's name"), p.ref()})
		case p.is("write"):
			if r.Write != nil {
				p.fail("two writes")
			}
			r.Write = &Region{}
			if p.is("over") {
				r.Write.Clock = p.clockRef()
			}
			p.region(r.Write)
		default:
			p.fail("expected a value or a part of a scan, found %s", p.found())
		}
	}
	p.depth--
}

// leaves takes values of certain ops.
func (p *parser) leaves(ops ...string) []*Node {
	at := p.at
	ns := p.refs(false)
	for _, n := range ns {
		if !slices.Contains(ops, n.Op.Name) {
			p.failAt(at, "expected %s, found %s", strings.Join(ops, " or "), n.Op.Name)
		}
	}
	return ns
}

func (p *parser) states(r *Region) {
	for {
		at := p.at
		st := p.ref()
		if st.Op.Name != "state" {
			p.failAt(at, "expected a state, found %s", st.Op.Name)
		}
		r.States = append(r.States, st)
		if p.is("=") {
			r.Init = append(r.Init, p.ref())
		}
		if !p.is(",") {
			return
		}
	}
}
