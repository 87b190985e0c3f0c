package kernel

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Limits of what Parse reads; Verify holds every kernel to the same depths.
const (
	maxSource  = 1 << 26 // bytes
	maxNesting = 64      // statements within statements
	maxDepth   = 400     // operators within operators
	maxSize    = 1 << 40 // any size, step or count
)

// Parse reads kernels in the form that String prints. An error begins with
// line:column. What it reads is well-formed text, not yet a legal kernel: see
// Verify.
func Parse(src string) ([]*Kernel, error) {
	if len(src) > maxSource {
		return nil, place(src, 0, "the text has %d bytes, more than %d", len(src), maxSource)
	}
	p := &parser{src: src}
	p.tok = scan(src, 0)
	var ks []*Kernel
	for p.blank(); p.tok.text != ""; p.blank() {
		ks = append(ks, p.kernel())
	}
	if p.err != nil {
		return nil, p.err
	}
	return ks, nil
}

// parser reads token by token. After the first fault the rest of the source
// reads as its end, so that every loop comes to a stop.
type parser struct {
	src   string
	tok   token
	err   error
	bufs  map[string]*Buf
	tiles map[string]*Tile
}

func (p *parser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = place(p.src, at, format, args...)
	}
	p.src = p.src[:0]
	p.tok = token{}
}

func (p *parser) next() { p.tok = scan(p.src, p.tok.at+len(p.tok.text)) }

// show names the current token for an error.
func (p *parser) show() string {
	switch p.tok.text {
	case "":
		return "the end of the text"
	case "\n":
		return "the end of the line"
	}
	return strconv.Quote(p.tok.text)
}

// accept takes the token where it is the one given.
func (p *parser) accept(text string) bool {
	if p.tok.text != text || text == "" {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(texts ...string) {
	for _, t := range texts {
		if !p.accept(t) {
			p.fail(p.tok.at, "expected %q, found %s", t, p.show())
		}
	}
}

// blank skips ends of lines and comments.
func (p *parser) blank() {
	for p.tok.text == "\n" || strings.HasPrefix(p.tok.text, "//") {
		p.next()
	}
}

func isName(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) {
			return false
		}
	}
	return s != "" && !isDigit(s[0]) && s[0] != '.'
}

func (p *parser) name(what string) string {
	t := p.tok.text
	if !isName(t) {
		p.fail(p.tok.at, "expected the name of a %s, found %s", what, p.show())
		return ""
	}
	p.next()
	return t
}

func (p *parser) size() int {
	n, err := strconv.ParseInt(p.tok.text, 10, 64)
	if err != nil || n < 0 || n > maxSize {
		p.fail(p.tok.at, "expected a number from 0 to %d, found %s", int64(maxSize), p.show())
		return 0
	}
	p.next()
	return int(n)
}

// list reads items between an opening mark, which was taken, and the closing
// one; it may run over several lines.
func (p *parser) list(closing string, item func()) {
	p.blank()
	if p.accept(closing) {
		return
	}
	for {
		item()
		p.blank()
		if !p.accept(",") {
			break
		}
		p.blank()
	}
	p.expect(closing)
}

func (p *parser) elem() Elem {
	if e, ok := elem.Parse(p.tok.text); ok {
		p.next()
		return e
	}
	p.fail(p.tok.at, "expected a type (f32, bf16, f16, i32, i64), found %s", p.show())
	return F32
}

func (p *parser) kernel() *Kernel {
	p.bufs, p.tiles = map[string]*Buf{}, map[string]*Tile{}
	k := &Kernel{}
	p.expect("kernel")
	k.Name = p.name("kernel")
	p.expect("(")
	p.list(")", func() { k.Bufs = append(k.Bufs, p.buf()) })
	p.expect("ints", "(")
	p.list(")", func() { k.Ints = append(k.Ints, p.name("integer")) })
	p.expect("{")
	for {
		p.blank()
		switch {
		case p.accept("tile"):
			k.Tiles = append(k.Tiles, p.tile())
		case p.accept("part"):
			k.Parts = append(k.Parts, p.part())
		default:
			p.expect("}")
			return k
		}
	}
}

func (p *parser) buf() *Buf {
	at := p.tok.at
	b := &Buf{Name: p.name("buffer")}
	if p.bufs[b.Name] != nil {
		p.fail(at, "there are two buffers named %s", b.Name)
	}
	p.bufs[b.Name] = b
	p.expect(":")
	b.Elem = p.elem()
	p.expect("[")
	p.list("]", func() { b.Dims = append(b.Dims, p.size()) })
	if p.accept("/") {
		b.Panel = p.size()
		b.Pairs = p.accept("pairs")
	}
	b.Write = p.accept("write")
	return b
}

func (p *parser) tile() *Tile {
	at := p.tok.at
	t := &Tile{Name: p.name("tile")}
	if p.tiles[t.Name] != nil {
		p.fail(at, "there are two tiles named %s", t.Name)
	}
	p.tiles[t.Name] = t
	p.expect(":")
	t.Elem = p.elem()
	p.expect("[")
	t.Rows = p.size()
	p.expect(",")
	t.Cols = p.size()
	p.expect("]")
	if p.accept("rows") {
		t.ValidRows = p.integer()
	}
	if p.accept("cols") {
		t.ValidCols = p.integer()
	}
	return t
}

func (p *parser) part() Part {
	var pt Part
	p.expect("grid", "(")
	p.list(")", func() {
		a := Axis{Var: p.name("axis")}
		p.expect(":")
		a.Extent = p.integer()
		p.expect("step")
		a.Step = p.size()
		pt.Grid = append(pt.Grid, a)
	})
	p.expect("{")
	pt.Body = p.body(1)
	return pt
}

func (p *parser) body(depth int) []Stmt {
	if depth > maxNesting {
		p.fail(p.tok.at, "statements are nested more than %d deep", maxNesting)
	}
	var ss []Stmt
	for p.blank(); !p.accept("}") && p.err == nil; p.blank() {
		ss = append(ss, p.stmt(depth))
	}
	return ss
}

// integer reads an expression of ir/ints up to a mark or word that cannot
// belong to it.
func (p *parser) integer() *ints.Expr {
	from, depth := p.tok.at, 0
	for ; ; p.next() {
		t := p.tok.text
		if t == "" || t == "\n" || strings.HasPrefix(t, "//") {
			break
		}
		if t == "(" || t == "[" {
			depth++
			continue
		}
		if t == ")" || t == "]" {
			depth--
		}
		if depth < 0 || depth == 0 && endsInteger[t] {
			break
		}
	}
	text := p.src[from:p.tok.at]
	e, err := ints.Parse(strings.TrimRight(text, " \t\r"))
	if err != nil {
		var se *ints.SyntaxError
		if errors.As(err, &se) {
			p.fail(from+se.At, "%s", se.Msg)
		}
		p.fail(from, "%v", err)
		return ints.C(0)
	}
	if intDepth(e) > maxDepth {
		p.fail(from, "the expression is nested more than %d deep", maxDepth)
		return ints.C(0)
	}
	return e
}

// endsInteger holds what ends an integer expression outside its brackets;
// none of the words can name a variable.
var endsInteger = map[string]bool{
	",": true, "{": true, "}": true, "=": true, ":": true,
	"to": true, "step": true, "stages": true, "rows": true, "cols": true, "gather": true,
}

func intDepth(e *ints.Expr) int {
	d := 0
	for _, a := range e.Args {
		d = max(d, intDepth(a))
	}
	return d + 1
}

func valDepth(v *Val) int {
	d := 0
	for _, a := range v.Args {
		d = max(d, valDepth(a))
	}
	return d + 1
}

func (p *parser) tileRef() *Tile {
	at := p.tok.at
	name := p.name("tile")
	t := p.tiles[name]
	if t == nil {
		p.fail(at, "there is no tile named %s", name)
		return &Tile{}
	}
	return t
}

// place reads a buffer and the indices behind it.
func (p *parser) place() (*Buf, []*ints.Expr) {
	at := p.tok.at
	name := p.name("buffer")
	b := p.bufs[name]
	if b == nil {
		p.fail(at, "there is no buffer named %s", name)
	}
	var idx []*ints.Expr
	p.expect("[")
	p.list("]", func() { idx = append(idx, p.integer()) })
	return b, idx
}

// corner reads the place of a tile within a larger one.
func (p *parser) corner() (row, col int) {
	p.expect("[")
	row = p.size()
	p.expect(",")
	col = p.size()
	p.expect("]")
	return
}

// stmt reads a statement and the end of its line.
func (p *parser) stmt(depth int) Stmt {
	start := p.tok
	p.next()
	second := p.tok.text
	p.tok = start
	switch {
	case second == "=" || second == "+=":
		return p.assignment()
	case p.accept("store"):
		s := &Store{}
		s.Buf, s.Idx = p.place()
		p.expect("=")
		s.Src = p.tileRef()
		s.Note = p.note()
		return s
	case p.accept("paste"):
		s := &Paste{Dst: p.tileRef()}
		s.Row, s.Col = p.corner()
		p.expect("=")
		s.Src = p.tileRef()
		s.Note = p.note()
		return s
	case p.accept("for"):
		s := &For{Var: p.name("loop variable")}
		p.expect("=")
		s.Lo = p.integer()
		p.expect("to")
		s.Hi = p.integer()
		p.expect("step")
		s.Step = p.size()
		if p.accept("stages") {
			s.Stages = p.size()
		}
		p.expect("{")
		s.Body = p.body(depth + 1)
		return s
	case p.accept("when"):
		s := &When{Cond: p.integer()}
		p.expect("{")
		s.Body = p.body(depth + 1)
		return s
	}
	p.fail(p.tok.at, "expected a statement, found %s", p.show())
	return &When{}
}

// band reads a band of this name, if one comes.
func (p *parser) band(name string) *Band {
	if !p.accept(name) {
		return nil
	}
	b := &Band{}
	p.expect("[")
	b.Lo = p.integer()
	p.expect(",")
	b.Hi = p.integer()
	p.expect("]")
	p.expect("per")
	b.Per = p.size()
	return b
}

// assignment reads the statements that give a whole tile a value.
func (p *parser) assignment() Stmt {
	dst := p.tileRef()
	acc := p.tok.text == "+="
	p.next()
	at := p.tok.at
	switch op := p.name("operation"); {
	case op == "dot":
		s := &Dot{Dst: dst, Acc: acc}
		p.expect("(")
		s.A, s.TransA = p.operand()
		p.expect(",")
		s.B, s.TransB = p.operand()
		if p.accept("as") {
			s.Operands = p.elem()
		}
		if p.accept("by") {
			s.Group = p.size()
		}
		s.In, s.Out = p.band("in"), p.band("out")
		p.expect(")")
		s.Note = p.note()
		return s
	case acc && op != "":
		p.fail(at, "only a dot can be added to a tile, not %s", op)
	case op == "load":
		s := &Load{Dst: dst}
		s.Buf, s.Idx = p.place()
		if p.accept("gather") {
			s.Gather = p.tileRef()
		}
		s.Note = p.note()
		return s
	case op == "map":
		s := &Map{Dst: dst, Expr: p.expr()}
		s.Note = p.note()
		return s
	case op == reductionName[Sum], op == reductionName[Largest]:
		s := &Reduce{Dst: dst}
		if op == reductionName[Largest] {
			s.Op = Largest
		}
		p.expect("(")
		s.Src = p.tileRef()
		p.expect("over")
		s.OverRows = p.accept("rows")
		if !s.OverRows {
			p.expect("cols")
		}
		s.Alike = p.accept("alike")
		p.expect(")")
		s.Note = p.note()
		return s
	case op == "transpose":
		s := &Transpose{Dst: dst}
		p.expect("(")
		s.Src = p.tileRef()
		p.expect(")")
		s.Note = p.note()
		return s
	case op == "slice":
		s := &Slice{Dst: dst, Src: p.tileRef()}
		s.Row, s.Col = p.corner()
		s.Note = p.note()
		return s
	default:
		p.fail(at, "expected load, map, dot, sum, largest, transpose or slice, found %q", op)
	}
	return &When{}
}

func (p *parser) operand() (t *Tile, trans bool) {
	t = p.tileRef()
	return t, p.accept("'")
}

// note reads the comment behind a statement, and the end of the line.
func (p *parser) note() string {
	n := ""
	if c, ok := strings.CutPrefix(p.tok.text, "//"); ok {
		n = strings.TrimSpace(c)
		if strings.HasPrefix(n, `"`) {
			if s, err := strconv.Unquote(n); err == nil {
				n = s
			}
		}
		p.next()
	}
	if p.tok.text != "" && p.tok.text != "}" {
		p.expect("\n")
	}
	return n
}

// expr reads the expression of a map.
func (p *parser) expr() *Val {
	at := p.tok.at
	v := p.binary(1, 0)
	if p.err == nil && valDepth(v) > maxDepth {
		p.fail(at, "the expression is nested more than %d deep", maxDepth)
	}
	return v
}

func (p *parser) binary(prec, depth int) *Val {
	left := p.unary(depth + 1)
	for n := 0; ; n++ {
		op, ok := infixOp[p.tok.text]
		if !ok || infix[op].prec < prec {
			return left
		}
		if n == maxDepth {
			p.fail(p.tok.at, "there are more than %d operators in a row", maxDepth)
		}
		p.next()
		left = F(op, left, p.binary(infix[op].prec+1, depth+1))
	}
}

var infixOp, namedOp = func() (in, named map[string]ValOp) {
	in, named = map[string]ValOp{}, map[string]ValOp{}
	for op, i := range infix {
		in[i.text] = op
	}
	for op, s := range valName {
		named[s] = op
	}
	return
}()

// operands is the number of operands of each operator.
func (op ValOp) operands() int {
	switch op {
	case Ref, Num, Index, Test:
		return 0
	case Choose:
		return 3
	case Add, Sub, Mul, Div, Mod, Min, Max, Less, AtMost, Same, Both, Either:
		return 2
	}
	return 1
}

func (p *parser) unary(depth int) *Val {
	if depth > maxDepth {
		p.fail(p.tok.at, "the expression is nested more than %d deep", maxDepth)
	}
	switch t := p.tok.text; {
	case p.accept("("):
		v := p.binary(1, depth+1)
		p.expect(")")
		return v
	case p.accept("!"):
		return F(Not, p.unary(depth+1))
	case p.accept("-"):
		if p.isNumber() {
			return N(-p.number())
		}
		return F(Neg, p.unary(depth+1))
	case p.isNumber():
		return N(p.number())
	case isName(t):
		next := scan(p.src, p.tok.at+len(t))
		if next.text != "(" {
			return R(p.tileRef())
		}
		return p.call(depth)
	}
	p.fail(p.tok.at, "expected a value, found %s", p.show())
	return N(0)
}

// call reads an operator by its name, with operands in brackets.
func (p *parser) call(depth int) *Val {
	at, name := p.tok.at, p.tok.text
	p.next()
	p.next()
	if name == "bits" {
		b, err := strconv.ParseUint(p.tok.text, 0, 32)
		if err != nil {
			p.fail(p.tok.at, "expected 32 bits, found %s", p.show())
		}
		p.next()
		p.expect(")")
		return N(math.Float32frombits(uint32(b)))
	}
	op, ok := namedOp[name]
	if !ok {
		p.fail(at, "there is no operator named %s", name)
		return N(0)
	}
	if op == Index || op == Test {
		e := p.integer()
		p.expect(")")
		if op == Test {
			return TestOf(e)
		}
		return IndexOf(e)
	}
	args := make([]*Val, op.operands())
	for i := range args {
		if i > 0 {
			p.expect(",")
		}
		args[i] = p.binary(1, depth+1)
	}
	p.expect(")")
	return F(op, args...)
}

func (p *parser) isNumber() bool {
	t := p.tok.text
	return t == "inf" || t == "nan" || t != "" && (isDigit(t[0]) || t[0] == '.')
}

func (p *parser) number() float32 {
	if p.accept("nan") {
		return math.Float32frombits(canonicalNaN)
	}
	f, err := strconv.ParseFloat(p.tok.text, 32)
	if err != nil {
		p.fail(p.tok.at, "expected an f32 number, found %s", p.show())
		return 0
	}
	p.next()
	return float32(f)
}
