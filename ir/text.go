package ir

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The text form of a module (.mir). Whitespace separates; // begins a comment.
//
//	spec "layer.spec"
//	param window int = "24" "tokens that attention sees"
//	clock t base
//	clock t.chunk chunk of t size 16
//	entry forward base t clocks t {
//	  %0 = input {name = "x"} : f32[t, a:2]  @layer.spec:3:14
//	  %1 = const {value = 0} : f32
//	  %2 = expand %1 : f32[a:2]
//	  %3 = scan %0 {name = "mem"} over t.chunk {
//	    %4 = param {name = "x"} : f32[t:t.chunk, a:2]
//	    %5 = state {name = "s"} : f32[a:2]
//	    params %4
//	    states %5 = %2
//	    %6 = mul %4, %5 : f32[t:t.chunk, a:2]
//	    %7 = sum %4 {over = [t]} : f32[a:2]
//	    rows %6
//	    next %7
//	  }
//	  %8 = result %3 {start = 0} : f32[t, a:2]
//	  inputs %0
//	  output y %8
//	}
//
// Values are numbered in the order in which they stand, operands first; what a
// body takes from outside stands before its scan. Attributes that the type
// says (dims, elem) are not repeated, and those that are zero are left out.

// String gives the module's text; Parse reads it back.
func (m *Module) String() string {
	p := &printer{clocks: map[*Clock]string{}, taken: map[string]int{}}
	fmt.Fprintf(&p.out, "spec %s\n", strconv.Quote(m.Spec))
	if m.Doc != "" {
		fmt.Fprintf(&p.out, "doc %s\n", strconv.Quote(m.Doc))
	}
	for _, a := range m.Params {
		fmt.Fprintf(&p.out, "param %s %s = %s", word(a.Name), word(a.Type), strconv.Quote(a.Value))
		if a.Doc != "" {
			p.out.WriteString(" " + strconv.Quote(a.Doc))
		}
		p.out.WriteByte('\n')
	}
	for _, g := range m.Entries {
		p.collect(g)
	}
	for _, g := range m.Entries {
		p.entry(g)
	}
	return p.out.String()
}

// String gives the text of a module that has this entry alone.
func (g *Graph) String() string { return (&Module{Entries: []*Graph{g}}).String() }

type printer struct {
	out    strings.Builder
	depth  int
	ids    map[*Node]int
	clocks map[*Clock]string // the names in the text, unique
	taken  map[string]int
}

// word prints a name: as it is where it reads as one word, else quoted.
func word(s string) string {
	if isName(s) {
		return s
	}
	return strconv.Quote(s)
}

func isName(s string) bool {
	for i := range len(s) {
		if !nameByte(s[i]) || i == 0 && s[i] <= '9' {
			return false
		}
	}
	return s != ""
}

func nameByte(c byte) bool {
	return c == '_' || c == '.' || c == '#' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// collect names and declares the clocks of an entry, parents first.
func (p *printer) collect(g *Graph) {
	p.clock(g.Base)
	for _, c := range g.Clocks {
		p.clock(c)
	}
	everyNode(g, func(n *Node) {
		if n.Body != nil {
			p.clock(n.Body.Clock)
		}
		p.clock(n.Attr.Clock)
		for _, d := range n.Type.Dims {
			p.clock(d.Clock)
		}
	})
}

func (p *printer) clock(c *Clock) {
	if c == nil || p.clocks[c] != "" {
		return
	}
	p.clock(c.Of)
	name := c.Name
	p.taken[c.Name]++
	if k := p.taken[c.Name]; k > 1 || name == "" {
		name += "#" + strconv.Itoa(k)
	}
	p.clocks[c] = name
	fmt.Fprintf(&p.out, "clock %s ", word(name))
	switch c.Kind {
	case Base:
		p.out.WriteString("base")
	case Chunk:
		fmt.Fprintf(&p.out, "chunk of %s size %d", p.clockName(c.Of), c.Size)
	case Prefixed:
		fmt.Fprintf(&p.out, "prefixed of %s by (%s) <= %d", p.clockName(c.Of), c.Prefix, c.Most)
	case Woven:
		w := c.Pattern
		fmt.Fprintf(&p.out, "woven of %s size %d every %d kinds [", p.clockName(c.Of), c.Size, w.Every)
		for i, k := range w.Kinds {
			if i > 0 {
				p.out.WriteString(", ")
			}
			p.out.WriteString(word(k))
		}
		fmt.Fprintf(&p.out, "]\n  from %v\n  kind %v\n  rows %v\n  row %v", w.From, w.Kind, w.Rows, w.Row)
	}
	p.out.WriteByte('\n')
}

func (p *printer) clockName(c *Clock) string {
	if name := p.clocks[c]; name != "" {
		return word(name)
	}
	return `""`
}

func (p *printer) line(format string, args ...any) {
	p.out.WriteString(strings.Repeat("  ", p.depth))
	fmt.Fprintf(&p.out, format, args...)
	p.out.WriteByte('\n')
}

func (p *printer) entry(g *Graph) {
	p.ids = map[*Node]int{}
	head := "entry " + word(g.Name)
	if g.Base != nil {
		head += " base " + p.clockName(g.Base)
	}
	for i, c := range g.Clocks {
		head += []string{" clocks ", ", "}[min(i, 1)] + p.clockName(c)
	}
	p.line("%s {", head)
	p.depth++
	if g.Doc != "" {
		p.line("doc %s", strconv.Quote(g.Doc))
	}
	s := newScope(nil)
	s.all = true
	p.nodes(s, g.Inputs)
	p.nodes(s, g.Roots())
	for _, gr := range g.Groups {
		p.nodes(s, gr.Nodes)
	}
	p.list("inputs", g.Inputs)
	for _, o := range g.Outputs {
		p.line("output %s %s", word(o.Name), p.id(o.Node))
	}
	for _, gr := range g.Groups {
		head := "group " + word(gr.Kind)
		if gr.From > 0 {
			head += " from " + strconv.Itoa(gr.From)
		}
		if gr.Why != "" {
			head += " " + strconv.Quote(gr.Why)
		}
		p.list(head, gr.Nodes)
	}
	p.depth--
	p.line("}")
}

// nodes prints what roots need and is not printed yet, operands first.
func (p *printer) nodes(s *scope, roots []*Node) {
	for _, n := range roots {
		if _, seen := p.ids[n]; n == nil || seen || !s.varies(n) {
			continue
		}
		p.nodes(s, s.deps(n))
		p.node(s, n)
	}
}

func (p *printer) id(n *Node) string {
	if k, ok := p.ids[n]; ok {
		return "%" + strconv.Itoa(k)
	}
	return "-"
}

// list prints a line of values; nothing where there are none.
func (p *printer) list(what string, ns []*Node) {
	if len(ns) > 0 {
		p.line("%s %s", what, p.refs(ns))
	}
}

func (p *printer) refs(ns []*Node) string {
	s := make([]string, len(ns))
	for i, n := range ns {
		s[i] = p.id(n)
	}
	return strings.Join(s, ", ")
}

func (p *printer) node(s *scope, n *Node) {
	p.ids[n] = len(p.ids)
	text := fmt.Sprintf("%%%d = %s", p.ids[n], n.Op.Name)
	if len(n.Args) > 0 {
		text += " " + p.refs(n.Args)
	}
	if a := p.attrs(n); a != "" {
		text += " {" + a + "}"
	}
	if n.Body == nil {
		p.line("%s : %s%s", text, p.typ(n.Type), places(n.at))
		return
	}
	p.line("%s%s%s {", text, p.overClock(n.Body), places(n.at))
	p.region(s.body(n.Body), s, n.Body)
	p.line("}")
}

func (p *printer) overClock(r *Region) string {
	if r.Clock == nil {
		return ""
	}
	return " over " + p.clockName(r.Clock)
}

func (p *printer) region(s, up *scope, r *Region) {
	p.depth++
	p.nodes(s, r.Params)
	p.nodes(s, r.States)
	for _, l := range r.Lens {
		p.line("length %s = %d <= %d next (%s)", word(l.Name), l.Start, l.Max, l.Next)
	}
	p.list("params", r.Params)
	if len(r.States) > 0 {
		states := make([]string, len(r.States))
		for i, n := range r.States {
			states[i] = p.id(n)
			if i < len(r.Init) {
				states[i] += " = " + p.id(r.Init[i])
			}
		}
		p.line("states %s", strings.Join(states, ", "))
	}
	p.nodes(s, r.Roots())
	p.list("rows", r.Rows)
	p.list("kept", r.Kept)
	if r.Block > 0 {
		p.line("block %d", r.Block)
	}
	p.list("sums", r.Sums)
	p.list("next", r.Next)
	for _, pr := range r.Probes {
		p.line("probe %s %s", word(pr.Name), p.id(pr.Value))
	}
	if r.Write != nil {
		p.line("write%s {", p.overClock(r.Write))
		p.region(up.write(r), up, r.Write)
		p.line("}")
	}
	p.depth--
}

func places(at []Pos) string {
	s := ""
	for _, a := range at {
		file := a.File
		if strings.ContainsFunc(file, func(r rune) bool {
			return r >= 128 || !nameByte(byte(r)) && r != '/' && r != '-'
		}) || file == "" || strings.HasPrefix(file, "//") {
			file = strconv.Quote(file)
		}
		s += fmt.Sprintf(" @%s:%d:%d", file, a.Line, a.Col)
	}
	if s != "" {
		s = " " + s
	}
	return s
}

func (p *printer) typ(t Type) string {
	s := make([]string, len(t.Dims))
	for i, d := range t.Dims {
		s[i] = word(d.Name)
		switch {
		case d.Clock != nil && d.Past:
			s[i] += ":past " + p.clockName(d.Clock)
		case d.Clock != nil:
			if c := p.clockName(d.Clock); c != s[i] {
				s[i] += ":" + c
			}
		case d.Len != nil:
			s[i] += fmt.Sprintf(":(%s)<=%d", d.Len, d.Size)
		default:
			s[i] += fmt.Sprintf(":%d", d.Size)
		}
	}
	return t.Elem.String() + "[" + strings.Join(s, ", ") + "]"
}

// attrs prints the attributes that the op's row lists, in the row's order.
func (p *printer) attrs(n *Node) string {
	var s []string
	add := func(name, value string) { s = append(s, name+" = "+value) }
	a := n.Attr
	for _, name := range n.Op.Attrs {
		switch name {
		case "name":
			if a.Name != "" {
				add(name, strconv.Quote(a.Name))
			}
		case "value":
			add(name, floatText(a.Value))
		case "over":
			w := make([]string, len(a.Over))
			for i, o := range a.Over {
				w[i] = word(o)
			}
			add(name, "["+strings.Join(w, ", ")+"]")
		case "dim":
			if a.Dim != "" {
				add(name, word(a.Dim))
			}
		case "start":
			add(name, strconv.Itoa(a.Start))
		case "size":
			add(name, strconv.Itoa(a.Size))
		case "ints":
			if len(a.Ints) > 0 {
				add(name, fmt.Sprint(a.Ints))
			}
		case "floats":
			if len(a.Floats) > 0 {
				w := make([]string, len(a.Floats))
				for i, f := range a.Floats {
					w[i] = floatText(f)
				}
				add(name, "["+strings.Join(w, " ")+"]")
			}
		case "where":
			if a.Where != nil {
				add(name, a.Where.String())
			}
		case "linear":
			if a.Linear {
				add(name, "true")
			}
		case "cap":
			if a.Cap != 0 {
				add(name, floatText(a.Cap))
			}
		case "init":
			add(name, initText(a.Init))
		case "clock":
			if a.Clock != nil {
				add(name, p.clockName(a.Clock))
			}
		case "keep":
			add(name, a.Keep.String())
		}
	}
	return strings.Join(s, ", ")
}

func initText(i Init) string {
	if i.Kind == "zeros" {
		return i.Kind
	}
	return word(i.Kind) + "(" + floatText(i.Scale) + ")"
}

// floatText is the shortest text that reads back as the same number.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func isAttr(op *Op, name string) bool { return slices.Contains(op.Attrs, name) }
