package plan

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// maxNest bounds how deeply the steps of a parsed plan nest.
const maxNest = 32

// Parse reads the text form, one declaration a line; # begins a comment. Words,
// numbers and quoted strings are separated by blanks; an expression goes from
// "=" to the end of its line. An error begins with "line:column: ".
//
// Parse checks the form only; Verify checks what the plan says.
func Parse(text string) (p *Plan, err error) {
	r := &reader{rest: text}
	defer func() {
		if e := recover(); e != nil {
			s, ok := e.(syntax)
			if !ok {
				panic(e)
			}
			p, err = nil, s.err
		}
	}()
	return r.plan(), nil
}

// syntax carries the first fault out of the reader.
type syntax struct{ err error }

// reader splits the text into lines and the current line into tokens.
type reader struct {
	rest string // lines not yet read
	text string // the current line
	no   int    // its number, from 1
	at   int    // where tok begins in it
	end  int    // where it ends
	tok  string // "" at the end of the line
}

func (r *reader) fail(format string, args ...any) {
	r.failAt(r.at, format, args...)
}

func (r *reader) failAt(at int, format string, args ...any) {
	panic(syntax{fmt.Errorf("%d:%d: %s", max(r.no, 1), at+1, fmt.Sprintf(format, args...))})
}

// line goes to the next line that says something; false at the end of the text.
func (r *reader) line() bool {
	for r.rest != "" {
		r.text, r.rest, _ = strings.Cut(r.rest, "\n")
		r.no++
		r.end = 0
		r.next()
		if r.tok != "" {
			return true
		}
	}
	r.text, r.tok, r.at, r.end = "", "", 0, 0
	return false
}

// next reads a word or number, a quoted string, or one other character.
func (r *reader) next() {
	i := r.end
	for i < len(r.text) && (r.text[i] == ' ' || r.text[i] == '\t' || r.text[i] == '\r') {
		i++
	}
	r.at = i
	if i == len(r.text) || r.text[i] == '#' {
		r.end, r.tok = len(r.text), ""
		return
	}
	j := i + 1
	switch {
	case r.text[i] == '"':
		q, err := strconv.QuotedPrefix(r.text[i:])
		if err != nil {
			r.fail("a quoted string does not end on its line")
		}
		j = i + len(q)
	case letter(r.text[i]):
		for j < len(r.text) && letter(r.text[j]) {
			j++
		}
	}
	r.end, r.tok = j, r.text[i:j]
}

// letter reports whether c belongs to a word or a number.
func letter(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '+' || c == '-'
}

// found names the current token for an error.
func (r *reader) found() string {
	if r.tok == "" {
		return "the end of the line"
	}
	return strconv.Quote(r.tok)
}

// is consumes the token t where it comes next.
func (r *reader) is(t string) bool {
	if r.tok != t {
		return false
	}
	r.next()
	return true
}

func (r *reader) expect(t string) {
	if !r.is(t) {
		r.fail("expected %q, found %s", t, r.found())
	}
}

func (r *reader) done() {
	if r.tok != "" {
		r.fail("expected the end of the line, found %s", r.found())
	}
}

func (r *reader) number() int64 {
	k, err := strconv.ParseInt(r.tok, 10, 64)
	if err != nil {
		r.fail("expected a 64-bit integer, found %s", r.found())
	}
	r.next()
	return k
}

func (r *reader) int() int {
	k := r.number()
	if int64(int(k)) != k {
		r.fail("%d does not fit into this machine's integers", k)
	}
	return int(k)
}

func (r *reader) float() float64 {
	f, err := strconv.ParseFloat(r.tok, 64)
	if err != nil {
		r.fail("expected a number, found %s", r.found())
	}
	r.next()
	return f
}

func (r *reader) quoted() string {
	if !strings.HasPrefix(r.tok, `"`) {
		r.fail("expected a quoted string, found %s", r.found())
	}
	s, err := strconv.Unquote(r.tok)
	if err != nil {
		r.fail("a quoted string is malformed")
	}
	r.next()
	return s
}

func (r *reader) name() string {
	if !Name(r.tok) {
		r.fail("expected a name, found %s", r.found())
	}
	s := r.tok
	r.next()
	return s
}

// list reads "[" item, item, ... "]".
func (r *reader) list(item func()) {
	r.expect("[")
	for first := true; r.tok != "]"; first = false {
		if !first {
			r.expect(",")
		}
		item()
	}
	r.next()
}

func (r *reader) ints() []int {
	v := []int{}
	r.list(func() { v = append(v, r.int()) })
	return v
}

func (r *reader) elem() Elem {
	for e := kernel.F32; e <= kernel.Q4; e++ {
		if r.is(e.String()) {
			return e
		}
	}
	r.fail("expected an element type, found %s", r.found())
	return 0
}

// expr reads "=" and an expression up to the end of the line.
func (r *reader) expr() *ints.Expr {
	if r.tok != "=" {
		r.fail("expected \"=\" and an expression, found %s", r.found())
	}
	from := r.end
	src, _, _ := strings.Cut(r.text[from:], "#")
	e, err := ints.Parse(strings.TrimRight(src, " \t\r"))
	if err != nil {
		at, msg := 0, err.Error()
		if n, _ := fmt.Sscanf(msg, "byte %d:", &at); n == 1 {
			_, msg, _ = strings.Cut(msg, ": ")
		}
		r.failAt(from+at, "%s", msg)
	}
	r.end, r.at, r.tok = len(r.text), len(r.text), ""
	return e
}

// optional reads an expression where the line goes on.
func (r *reader) optional() *ints.Expr {
	if r.tok == "" {
		return nil
	}
	return r.expr()
}

func (r *reader) plan() *Plan {
	p := &Plan{}
	if !r.line() {
		r.fail("expected a plan, found an empty text")
	}
	r.expect("plan")
	p.Target = r.quoted()
	r.done()
	for r.line() {
		switch {
		case r.is("slab"):
			p.Slab = r.int()
		case r.is("arena"):
			p.Arena = r.number()
		case r.is("record"):
			p.Record = r.int()
		case r.is("buffer"):
			r.index("buffer", len(p.Buffers))
			p.Buffers = append(p.Buffers, r.buffer())
		case r.is("slot"):
			p.Slots = append(p.Slots, r.slot(len(p.Slots)))
		case r.is("loop"):
			p.Loops = append(p.Loops, r.loop(len(p.Slots)))
		case r.is("kernel"):
			p.Kernels = append(p.Kernels, r.quoted())
			if r.tok != "" {
				p.Signatures = append(p.Signatures, r.signature())
			}
		case r.is("entry"):
			p.Entries = append(p.Entries, r.entry(p))
		default:
			r.fail("expected slab, arena, record, buffer, slot, loop, kernel or entry, found %s", r.found())
		}
		r.done()
	}
	return p
}

// index reads the running number of a declaration.
func (r *reader) index(what string, want int) {
	if k := r.number(); k != int64(want) {
		r.fail("%s %d stands where %s %d is due", what, k, what, want)
	}
}

func (r *reader) buffer() Buffer {
	b := Buffer{Name: r.quoted()}
	class := slices.IndexFunc(classes[:], r.is)
	if class < 0 {
		r.fail("expected a class of buffer, found %s", r.found())
	}
	b.Class = Class(class)
	b.Elem = r.elem()
	b.Dims = r.ints()
	if b.Class == State {
		b.From = -1
	}
	for r.tok != "" {
		switch {
		case r.is("panel"):
			b.Panel = r.int()
		case r.is("pairs"):
			b.Pairs = true
		case r.is("bytes"):
			b.Bytes = r.number()
		case r.is("at"):
			b.Offset = r.number()
		case r.is("tensor"):
			b.Tensor = r.quoted()
		case r.is("shape"):
			b.Shape = r.ints()
		case r.is("init"):
			b.Init.Kind = r.quoted()
			b.Init.Scale = r.float()
		case r.is("loop"):
			b.Loop = r.name()
		case r.is("data"):
			d, err := base64.StdEncoding.Strict().DecodeString(r.quoted())
			if err != nil {
				r.fail("the table's data is not base64")
			}
			b.Data = d
		case r.is("from"):
			b.From = r.int()
		case r.is("fill"):
			b.Fill = r.float()
		case r.is("grow"):
			b.Grow = r.expr()
		default:
			r.fail("expected an attribute of a buffer, found %s", r.found())
		}
	}
	return b
}

func (r *reader) slot(want int) Slot {
	r.index("slot", want)
	s := Slot{Name: r.name()}
	s.Expr = r.optional()
	return s
}

// block reads the lines between "{" at the end of this line and "}".
func (r *reader) block(line func()) {
	r.expect("{")
	r.done()
	open := r.no
	for {
		if !r.line() {
			r.fail("the block opened on line %d is not closed", open)
		}
		if r.is("}") {
			return
		}
		line()
		r.done()
	}
}

func (r *reader) loop(base int) Loop {
	l := Loop{Name: r.name()}
	r.expect("max")
	l.Max = r.int()
	r.block(func() {
		switch {
		case r.is("turns"):
			l.Turns = r.optional()
		case r.is("done"):
			l.Done = r.optional()
		case r.is("slot"):
			l.Slots = append(l.Slots, r.slot(base+len(l.Slots)))
		case r.is("carry"):
			c := Carry{Name: r.name()}
			r.expect("start")
			c.Start = r.number()
			c.Next = r.optional()
			l.Carry = append(l.Carry, c)
		default:
			r.fail("expected turns, carry, slot or done, found %s", r.found())
		}
	})
	return l
}

func (r *reader) signature() Signature {
	var g Signature
	r.expect("ints")
	g.Ints = r.int()
	r.expect("(")
	for r.tok != ")" {
		if len(g.Bufs) > 0 {
			r.expect(",")
		}
		b := Param{Elem: r.elem(), Dims: r.ints()}
		if r.is("panel") {
			b.Panel = r.int()
		}
		b.Pairs = r.is("pairs")
		b.Write = r.is("write")
		g.Bufs = append(g.Bufs, b)
	}
	r.next()
	return g
}

func (r *reader) entry(p *Plan) Entry {
	e := Entry{Name: r.quoted()}
	r.expect("doc")
	e.Doc = r.quoted()
	r.block(func() {
		switch {
		case r.is("input"):
			e.Inputs = append(e.Inputs, r.port())
		case r.is("output"):
			e.Outputs = append(e.Outputs, r.port())
		default:
			e.Steps = append(e.Steps, r.step(p, 0))
		}
	})
	return e
}

func (r *reader) port() Port {
	o := Port{Name: r.quoted()}
	r.expect("buffer")
	o.Buffer = r.int()
	o.Elem = r.elem()
	o.Dims = r.ints()
	r.expect("names")
	o.Names = []string{}
	r.list(func() { o.Names = append(o.Names, r.quoted()) })
	if r.is("below") {
		o.Below = r.number()
	}
	o.Clock = r.is("clock")
	if r.is("rows") {
		o.Rows = r.expr()
	}
	return o
}

func (r *reader) step(p *Plan, depth int) Step {
	if depth > maxNest {
		r.fail("steps nest more than %d deep", maxNest)
	}
	var s Step
	switch {
	case r.is("launch"):
		s.Kernel = r.quoted()
		s.Bufs = r.ints()
		s.Slots = r.ints()
		s.Note = r.note()
		return s
	case r.is("repeat"):
		s.Kind = Repeat
		at := r.at
		name := r.name()
		s.Loop = slices.IndexFunc(p.Loops, func(l Loop) bool { return l.Name == name })
		if s.Loop < 0 {
			r.failAt(at, "no loop called %s stands above", name)
		}
	case r.is("if"):
		s.Kind = If
		s.Cond = r.int()
	case r.is("beside"):
		s.Kind = Beside
		s.From = r.int()
	default:
		r.fail("expected input, output, launch, repeat, if, beside or }, found %s", r.found())
	}
	s.Note = r.note()
	r.block(func() { s.Steps = append(s.Steps, r.step(p, depth+1)) })
	return s
}

func (r *reader) note() string {
	if r.is("note") {
		return r.quoted()
	}
	return ""
}

// Name reports whether s can name a slot, a carried length or a loop: letters,
// digits, "_" and ".", not beginning with a digit, and no word of expressions.
func Name(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !letter(c) || c == '+' || c == '-' || i == 0 && (c >= '0' && c <= '9' || c == '.') {
			return false
		}
	}
	switch s {
	case "", "div", "mod", "min", "max", "select", "table":
		return false
	}
	return true
}
