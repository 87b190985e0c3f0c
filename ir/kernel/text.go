package kernel

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
)

// The text form is line-oriented; Parse reads what String prints:
//
//	kernel rows(x: f32[0,64], w: bf16[256,64]/32, y: f32[0,256] write) ints(n) {
//	  tile a: f32[64,64] rows min(64, n - i)
//	  part grid(i: n step 64) {
//	    a = load x[i + r, c]            // mixer.spec:12 local.q
//	    b = load e[x, c] gather ids
//	    s = dot(a, b')                  and s += dot(a', b as bf16 by 64)
//	    m = sum(s over cols)            and largest(s over rows alike)
//	    t = transpose(s)
//	    u = slice s[0, 32]
//	    paste s[0, 32] = u
//	    s = map silu(a) * m + choose(test(c <= r), 1.5, -inf)
//	    for k = 0 to n step 64 stages 2 {
//	    }
//	    when n > 64 {
//	    }
//	    store y[i + r, c] = s
//	  }
//	}
//
// /32 is a buffer's panel, a prime transposes an operand, "as" gives a product's
// Operands, "by" its Group, and "in" and "out" its bands, and a comment behind a statement is its note;
// other comments are lost. Indices, counts and tests
// are in the language of ir/ints. In maps, + - * / < <= == && || ! and the
// names of valName stand for the operators; numbers are the shortest decimals
// that give the same f32, inf, nan, or bits(0x...) for other NaNs.

var valName = map[ValOp]string{
	Index: "index", Test: "test",
	Abs: "abs", Exp: "exp", Exp2: "exp2", Exp2Near: "exp2near", Log: "log", Sqrt: "sqrt", Rsqrt: "rsqrt", Sigmoid: "sigmoid", Silu: "silu", Softplus: "softplus",
	Tanh: "tanh", CosTurn: "costurn", SinTurn: "sinturn", Floor: "floor", Turns: "turns",
	Mod: "mod", Min: "min", Max: "max", Choose: "choose", ToF32: "f32", ToI64: "i64", ToI32: "i32",
}

// infix gives an operator's spelling and how strongly it binds, weakest first.
var infix = map[ValOp]struct {
	text string
	prec int
}{
	Either: {"||", 1}, Both: {"&&", 2},
	Less: {"<", 3}, AtMost: {"<=", 3}, Same: {"==", 3},
	Add: {"+", 4}, Sub: {"-", 4}, Mul: {"*", 5}, Div: {"/", 5},
}

// unaryPrec binds tighter than every infix operator.
const unaryPrec = 6

var reductionName = [...]string{Sum: "sum", Largest: "largest"}

// String prints the kernel so that Parse gives an equal one. The text depends
// on the kernel alone, byte for byte.
func (k *Kernel) String() string {
	p := &printer{}
	p.kernel(k)
	return p.String()
}

// Text is the one-line text of a statement; of a For or When, its first line.
func Text(s Stmt) string {
	p := &printer{}
	p.head(s)
	return p.String()
}

// String is the text of an expression as it stands behind "map".
func (v *Val) String() string {
	p := &printer{}
	p.val(v, 0)
	return p.String()
}

type printer struct {
	strings.Builder
	depth int
}

func (p *printer) f(format string, args ...any) { fmt.Fprintf(p, format, args...) }

func (p *printer) indent() { p.WriteString(strings.Repeat("  ", p.depth)) }

// lineWidth is where a kernel's parameters begin to stand on lines of their own.
const lineWidth = 120

func (p *printer) kernel(k *Kernel) {
	bufs := make([]string, len(k.Bufs))
	width := len(k.Name)
	for i, b := range k.Bufs {
		bufs[i] = b.String()
		width += len(bufs[i]) + 2
	}
	p.f("kernel %s(", k.Name)
	if width > lineWidth {
		p.f("\n  %s\n", strings.Join(bufs, ",\n  "))
	} else {
		p.WriteString(strings.Join(bufs, ", "))
	}
	p.f(") ints(%s) {\n", strings.Join(k.Ints, ", "))
	p.depth++
	for _, t := range k.Tiles {
		p.indent()
		p.f("%s\n", t)
	}
	for i := range k.Parts {
		p.part(&k.Parts[i])
	}
	p.depth--
	p.WriteString("}\n")
}

// String is the buffer's declaration.
func (b *Buf) String() string {
	p := &printer{}
	p.f("%s: %s[", b.Name, b.Elem)
	for i, d := range b.Dims {
		if i > 0 {
			p.WriteByte(',')
		}
		p.f("%d", d)
	}
	p.WriteByte(']')
	if b.Panel != 0 {
		p.f("/%d", b.Panel)
	}
	if b.Pairs {
		p.WriteString(" pairs")
	}
	if b.Write {
		p.WriteString(" write")
	}
	return p.Builder.String()
}

// String is the tile's declaration.
func (t *Tile) String() string {
	p := &printer{}
	p.f("tile %s: %s[%d,%d]", t.Name, t.Elem, t.Rows, t.Cols)
	if t.ValidRows != nil {
		p.f(" rows %s", t.ValidRows)
	}
	if t.ValidCols != nil {
		p.f(" cols %s", t.ValidCols)
	}
	return p.Builder.String()
}

func (p *printer) part(pt *Part) {
	p.indent()
	p.WriteString("part grid(")
	for i, a := range pt.Grid {
		if i > 0 {
			p.WriteString(", ")
		}
		p.f("%s: %s step %d", a.Var, a.Extent, a.Step)
	}
	p.WriteString(") {\n")
	p.body(pt.Body)
}

// body prints the statements and the brace that ends them.
func (p *printer) body(ss []Stmt) {
	p.depth++
	for _, s := range ss {
		p.indent()
		p.head(s)
		p.WriteByte('\n')
		switch s := s.(type) {
		case *For:
			p.body(s.Body)
		case *When:
			p.body(s.Body)
		}
	}
	p.depth--
	p.indent()
	p.WriteString("}\n")
}

func (p *printer) head(s Stmt) {
	switch s := s.(type) {
	case *Load:
		p.f("%s = load %s%s", s.Dst.Name, s.Buf.Name, indices(s.Idx))
		if s.Gather != nil {
			p.f(" gather %s", s.Gather.Name)
		}
	case *Store:
		p.f("store %s%s = %s", s.Buf.Name, indices(s.Idx), s.Src.Name)
	case *Map:
		p.f("%s = map ", s.Dst.Name)
		p.val(s.Expr, 0)
	case *Dot:
		op := "="
		if s.Acc {
			op = "+="
		}
		p.f("%s %s dot(%s%s, %s%s", s.Dst.Name, op, s.A.Name, prime(s.TransA), s.B.Name, prime(s.TransB))
		if s.Operands != F32 {
			p.f(" as %s", s.Operands)
		}
		if s.Group != 0 {
			p.f(" by %d", s.Group)
		}
		p.band("in", s.In)
		p.band("out", s.Out)
		p.WriteString(")")
	case *Reduce:
		over := "cols"
		if s.OverRows {
			over = "rows"
		}
		if s.Alike {
			over += " alike"
		}
		p.f("%s = %s(%s over %s)", s.Dst.Name, reductionName[s.Op], s.Src.Name, over)
	case *Transpose:
		p.f("%s = transpose(%s)", s.Dst.Name, s.Src.Name)
	case *Slice:
		p.f("%s = slice %s[%d, %d]", s.Dst.Name, s.Src.Name, s.Row, s.Col)
	case *Paste:
		p.f("paste %s[%d, %d] = %s", s.Dst.Name, s.Row, s.Col, s.Src.Name)
	case *For:
		p.f("for %s = %s to %s step %d", s.Var, s.Lo, s.Hi, s.Step)
		if s.Stages != 0 {
			p.f(" stages %d", s.Stages)
		}
		p.WriteString(" {")
	case *When:
		p.f("when %s {", s.Cond)
	}
	if n := NoteOf(s); n != "" {
		p.f(" // %s", quoteNote(n))
	}
}

func (p *printer) band(name string, b *Band) {
	if b != nil {
		p.f(" %s [%s, %s] per %d", name, b.Lo, b.Hi, b.Per)
	}
}

// NoteOf is the statement's note, "" where it has none.
func NoteOf(s Stmt) string {
	switch s := s.(type) {
	case *Load:
		return s.Note
	case *Store:
		return s.Note
	case *Map:
		return s.Note
	case *Dot:
		return s.Note
	case *Reduce:
		return s.Note
	case *Transpose:
		return s.Note
	case *Slice:
		return s.Note
	case *Paste:
		return s.Note
	}
	return ""
}

// quoteNote is the note as it stands in a comment: quoted where a line could
// not hold it, or reading would trim it or take it for a quoted one.
func quoteNote(n string) string {
	plain := n == strings.TrimSpace(n) && !strings.HasPrefix(n, `"`)
	for _, c := range n {
		plain = plain && strconv.IsPrint(c) && c != '\uFFFD'
	}
	if plain {
		return n
	}
	return strconv.Quote(n)
}

func indices(idx []*ints.Expr) string {
	s := make([]string, len(idx))
	for i, e := range idx {
		s[i] = e.String()
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func prime(trans bool) string {
	if trans {
		return "'"
	}
	return ""
}

func (p *printer) val(v *Val, outer int) {
	if in, ok := infix[v.Op]; ok && len(v.Args) == 2 {
		if in.prec < outer {
			p.WriteByte('(')
		}
		p.val(v.Args[0], in.prec)
		p.f(" %s ", in.text)
		p.val(v.Args[1], in.prec+1)
		if in.prec < outer {
			p.WriteByte(')')
		}
		return
	}
	switch v.Op {
	case Ref:
		p.WriteString(v.Tile.Name)
	case Num:
		p.WriteString(number(v.F))
	case Index, Test:
		p.f("%s(%s)", valName[v.Op], v.I)
	case Neg, Not:
		p.WriteByte(map[ValOp]byte{Neg: '-', Not: '!'}[v.Op])
		// -(1) is a negation, -1 a number.
		if len(v.Args) == 1 && v.Args[0].Op == Num {
			p.f("(%s)", v.Args[0])
			return
		}
		for _, a := range v.Args {
			p.val(a, unaryPrec)
		}
	default:
		p.f("%s(", valName[v.Op])
		for i, a := range v.Args {
			if i > 0 {
				p.WriteString(", ")
			}
			p.val(a, 0)
		}
		p.WriteByte(')')
	}
}

// canonicalNaN is the bit pattern that "nan" stands for.
const canonicalNaN = 0x7fc00000

// number is the text of an f32 constant that reads back to the same bits.
func number(f float32) string {
	switch bits := math.Float32bits(f); {
	case bits == canonicalNaN:
		return "nan"
	case f != f:
		return fmt.Sprintf("bits(%#x)", bits)
	case math.IsInf(float64(f), 1):
		return "inf"
	case math.IsInf(float64(f), -1):
		return "-inf"
	}
	return strconv.FormatFloat(float64(f), 'g', -1, 32)
}
