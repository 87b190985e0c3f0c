package ints

import (
	"fmt"
	"strconv"
	"strings"
)

// How strongly an operator binds, weakest first; the text form follows Go,
// with the words div and mod for the rounding-down forms.
var binary = map[string]struct {
	op   Op
	prec int
}{
	"||": {Or, 1}, "&&": {And, 2},
	"==": {Eq, 3}, "!=": {Ne, 3}, "<": {Lt, 3}, "<=": {Le, 3}, ">": {Lt, 3}, ">=": {Le, 3},
	"+": {Add, 4}, "-": {Sub, 4}, "*": {Mul, 5}, "div": {Div, 5}, "mod": {Mod, 5},
}

var spelling = map[Op]string{Or: "||", And: "&&", Eq: "==", Ne: "!=", Lt: "<", Le: "<=", Add: "+", Sub: "-", Mul: "*", Div: "div", Mod: "mod"}

var calls = map[string]Op{"min": Min, "max": Max, "select": Select}

// String prints e so that Parse gives an equal expression.
func (e *Expr) String() string {
	var b strings.Builder
	e.print(&b, 0)
	return b.String()
}

func (e *Expr) print(b *strings.Builder, outer int) {
	switch e.Op {
	case Const:
		fmt.Fprint(b, e.K)
	case Var:
		b.WriteString(e.Name)
	case Min, Max, Select:
		b.WriteString(map[Op]string{Min: "min", Max: "max", Select: "select"}[e.Op])
		for i, a := range e.Args {
			b.WriteString([]string{"(", ", ", ", "}[i])
			a.print(b, 0)
		}
		b.WriteByte(')')
	case Not:
		b.WriteByte('!')
		e.Args[0].print(b, 6)
	case Table:
		b.WriteString("table(")
		for i, v := range e.Data {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprint(b, v)
		}
		b.WriteString(")[")
		e.Args[0].print(b, 0)
		b.WriteByte(']')
	default:
		s := spelling[e.Op]
		p := binary[s].prec
		if p < outer {
			b.WriteByte('(')
		}
		e.Args[0].print(b, p)
		b.WriteString(" " + s + " ")
		e.Args[1].print(b, p+1)
		if p < outer {
			b.WriteByte(')')
		}
	}
}

// Bounds of a parsed expression: its nesting, and the operators of one chain
// such as a + b + c, which is as deep a tree.
const (
	maxDepth = 200
	maxChain = 1000
)

// Parse reads one expression; an error is a *SyntaxError.
func Parse(s string) (*Expr, error) {
	p := &parser{in: s}
	p.next()
	e, err := p.expr(1, 0)
	if err != nil {
		return nil, err
	}
	if p.tok != "" {
		return nil, p.errorf("unexpected %q", p.tok)
	}
	return e, nil
}

type parser struct {
	in  string
	pos int
	at  int // where tok begins
	tok string
}

// SyntaxError says at which byte of its input Parse found what it cannot read.
type SyntaxError struct {
	At  int // byte offset
	Msg string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.At, e.Msg) }

func (p *parser) errorf(f string, a ...any) error {
	return &SyntaxError{p.at, fmt.Sprintf(f, a...)}
}

func word(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (p *parser) next() {
	for p.pos < len(p.in) && (p.in[p.pos] == ' ' || p.in[p.pos] == '\t') {
		p.pos++
	}
	p.at = p.pos
	if p.pos == len(p.in) {
		p.tok = ""
		return
	}
	end := p.pos + 1
	switch {
	case word(p.in[p.pos]):
		for end < len(p.in) && word(p.in[end]) {
			end++
		}
	case end < len(p.in) && strings.Contains("|| && == != <= >=", p.in[p.pos:end+1]) && p.in[p.pos] != ' ' && p.in[end] != ' ':
		end++
	}
	p.tok = p.in[p.pos:end]
	p.pos = end
}

func (p *parser) expr(prec, depth int) (*Expr, error) {
	if depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	left, err := p.unary(depth + 1)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		o, ok := binary[p.tok]
		if !ok || o.prec < prec {
			return left, nil
		}
		if n == maxChain {
			return nil, p.errorf("more than %d operators in a row", maxChain)
		}
		swap := p.tok == ">" || p.tok == ">="
		p.next()
		right, err := p.expr(o.prec+1, depth+1)
		if err != nil {
			return nil, err
		}
		if swap {
			left, right = right, left
		}
		left = Bin(o.op, left, right)
	}
}

func (p *parser) expect(t string) error {
	if p.tok != t {
		return p.errorf("expected %q, found %q", t, p.tok)
	}
	p.next()
	return nil
}

func (p *parser) number() (int64, error) {
	neg := p.tok == "-"
	if neg {
		p.next()
	}
	s := p.tok
	if neg {
		s = "-" + s
	}
	k, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, p.errorf("expected a 64-bit integer, found %q", p.tok)
	}
	p.next()
	return k, nil
}

func (p *parser) unary(depth int) (*Expr, error) {
	if depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	switch t := p.tok; {
	case t == "!":
		p.next()
		a, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return No(a), nil
	case t == "(":
		p.next()
		e, err := p.expr(1, depth+1)
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	case t == "-" || t != "" && t[0] >= '0' && t[0] <= '9':
		k, err := p.number()
		return C(k), err
	case t == "table":
		return p.table(depth)
	case t != "" && word(t[0]):
		p.next()
		op, ok := calls[t]
		if !ok || p.tok != "(" {
			return V(t), nil
		}
		p.next()
		n := 2
		if op == Select {
			n = 3
		}
		args := make([]*Expr, n)
		for i := range args {
			if i > 0 {
				if err := p.expect(","); err != nil {
					return nil, err
				}
			}
			var err error
			if args[i], err = p.expr(1, depth+1); err != nil {
				return nil, err
			}
		}
		return fold(&Expr{Op: op, Args: args}), p.expect(")")
	}
	return nil, p.errorf("expected an integer expression, found %q", p.tok)
}

func (p *parser) table(depth int) (*Expr, error) {
	p.next()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var data []int64
	for p.tok != ")" {
		k, err := p.number()
		if err != nil {
			return nil, err
		}
		data = append(data, k)
	}
	p.next()
	if len(data) == 0 {
		return nil, p.errorf("a table needs at least one value")
	}
	if err := p.expect("["); err != nil {
		return nil, err
	}
	i, err := p.expr(1, depth+1)
	if err != nil {
		return nil, err
	}
	return Lookup(data, i), p.expect("]")
}
