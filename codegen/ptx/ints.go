package ptx

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// scope holds the values computed so far that are still good: under the text
// of an integer expression its 64-bit value, under "?" and the text its truth,
// under "#" and the text its 32-bit value. A variable's text is its name. A body
// opens a scope, and what is computed in it is forgotten behind it.
type scope struct {
	known map[string]operand
	outer *scope
}

func short(text string) string { return "#" + text }
func truth(text string) string { return "?" + text }

func (p *printer) push() { p.scope = &scope{map[string]operand{}, p.scope} }
func (p *printer) pop()  { p.scope = p.scope.outer }

func (p *printer) bind(name string, v operand) { p.scope.known[name] = v }

func (p *printer) find(key string) (operand, bool) {
	for s := p.scope; s != nil; s = s.outer {
		if v, ok := s.known[key]; ok {
			return v, true
		}
	}
	return operand{}, false
}

// isTruth reports whether e is 0 or 1 by its operator.
func isTruth(e *ints.Expr) bool {
	switch e.Op {
	case ints.Lt, ints.Le, ints.Eq, ints.Ne, ints.And, ints.Or, ints.Not:
		return true
	}
	return false
}

// int computes an integer expression: a literal or a 64-bit register.
func (p *printer) int(e *ints.Expr) operand {
	if k, ok := e.IsConst(); ok {
		return imm(k)
	}
	key := e.String()
	if v, ok := p.find(key); ok {
		return v
	}
	v := p.fresh(e)
	p.bind(key, v)
	return v
}

func (p *printer) fresh(e *ints.Expr) operand {
	c := &p.c
	if varies(e) && p.small(e) {
		if v := p.int32(e); v.kind == b32 {
			return c.q("cvt.s64.s32", v)
		}
	}
	if isTruth(e) {
		return c.q("selp.b64", imm(1), imm(0), p.cond(e))
	}
	switch e.Op {
	case ints.Var:
		if v, ok := p.find(short(e.Name)); ok {
			return c.wide(v)
		}
		c.fail(fmt.Errorf("there is no variable %s here", e.Name))
		return c.reg(b64)
	case ints.Select:
		t := p.cond(e.Args[0])
		return c.q("selp.b64", p.int(e.Args[1]), p.int(e.Args[2]), t)
	case ints.Table:
		return p.lookup(e)
	}
	a, b := p.int(e.Args[0]), p.int(e.Args[1])
	switch e.Op {
	case ints.Add:
		return c.q("add.s64", a, b)
	case ints.Sub:
		return c.q("sub.s64", a, b)
	case ints.Mul:
		return c.q("mul.lo.s64", a, b)
	case ints.Min:
		return c.q("min.s64", a, b)
	case ints.Max:
		return c.q("max.s64", a, b)
	case ints.Div, ints.Mod:
		if k, ok := e.Args[1].IsConst(); ok && k > 0 && a.kind == b64 {
			if k&(k-1) == 0 {
				return c.byPowerOfTwo(e.Op == ints.Div, a, k)
			}
		}
		return c.floorDiv64(e.Op == ints.Div, a, b)
	}
	c.fail(fmt.Errorf("an integer expression with the unknown operator %d", e.Op))
	return c.reg(b64)
}

// byPowerOfTwo divides by k = 2^s: an arithmetic shift and a mask round down.
func (c *code) byPowerOfTwo(quotient bool, a operand, k int64) operand {
	if quotient {
		return c.q("shr.s64", a, imm(int64(bits.TrailingZeros64(uint64(k)))))
	}
	return c.q("and.b64", a, imm(k-1))
}

// floorDiv64 divides rounding down: where the rest of the truncating division
// is not 0 and the signs of rest and divisor differ, the quotient is one less
// and the rest one divisor more.
func (c *code) floorDiv64(quotient bool, a, b operand) operand {
	q := c.q("div.s64", a, b)
	rest := c.q("sub.s64", a, c.q("mul.lo.s64", q, b))
	differ := c.p("setp.lt.s64", c.q("xor.b64", rest, b), imm(0))
	fix := c.p("and.pred", differ, c.p("setp.ne.s64", rest, imm(0)))
	if quotient {
		return c.q("selp.b64", c.q("add.s64", q, imm(-1)), q, fix)
	}
	return c.q("selp.b64", c.q("add.s64", rest, b), rest, fix)
}

func (p *printer) lookup(e *ints.Expr) operand {
	c := &p.c
	i := p.int(e.Args[0])
	i = c.q("max.s64", i, imm(0))
	i = c.q("min.s64", i, imm(int64(len(e.Data)-1)))
	at := c.q("mov.u64", operand{symbol, p.tables.name(e.Data)})
	return c.q("ld.global.u64", globalAt(c.q("mad.lo.s64", i, imm(8), at), 0))
}

// cond computes the truth of an integer expression: a predicate.
func (p *printer) cond(e *ints.Expr) operand {
	key := truth(e.String())
	if v, ok := p.find(key); ok {
		return v
	}
	v := p.freshCond(e)
	p.bind(key, v)
	return v
}

func (p *printer) freshCond(e *ints.Expr) operand {
	c := &p.c
	switch e.Op {
	case ints.Not:
		return c.p("not.pred", p.cond(e.Args[0]))
	case ints.And:
		return c.p("and.pred", p.cond(e.Args[0]), p.cond(e.Args[1]))
	case ints.Or:
		return c.p("or.pred", p.cond(e.Args[0]), p.cond(e.Args[1]))
	case ints.Lt, ints.Le, ints.Eq, ints.Ne:
		test := tests[e.Op]
		if v, limit, ok := p.apart(e); ok {
			at := p.int32(v)
			if at.kind == whole {
				at = c.r("mov.u32", at)
			}
			return c.p("setp."+test+".s32", at, p.limit(v, limit))
		}
		return c.p("setp."+test+".s64", p.int(e.Args[0]), p.int(e.Args[1]))
	}
	return c.p("setp.ne.s64", p.int(e), imm(0))
}

var tests = map[ints.Op]string{ints.Lt: "lt", ints.Le: "le", ints.Eq: "eq", ints.Ne: "ne"}

// split gives e as the sum of what is the same for all elements of a tile and of
// what is not.
func split(e *ints.Expr) (same, varying *ints.Expr) {
	if !varies(e) {
		return e, ints.C(0)
	}
	switch e.Op {
	case ints.Add, ints.Sub:
		sa, va := split(e.Args[0])
		sb, vb := split(e.Args[1])
		return ints.Bin(e.Op, sa, sb), ints.Bin(e.Op, va, vb)
	case ints.Mul:
		for i, a := range e.Args {
			if _, ok := a.IsConst(); ok {
				s, v := split(e.Args[1-i])
				return ints.Times(s, a), ints.Times(v, a)
			}
		}
	}
	return ints.C(0), e
}

// small reports whether an expression, with all that is inside it, is over the
// row and column alone and fits in 32 bits.
func (p *printer) small(e *ints.Expr) bool {
	switch e.Op {
	case ints.Const, ints.Add, ints.Sub, ints.Mul, ints.Min, ints.Max:
	case ints.Div, ints.Mod:
		if k, ok := e.Args[1].IsConst(); !ok || k <= 0 || k&(k-1) != 0 && p.span(e.Args[0]).Lo < 0 {
			return false
		}
	case ints.Var:
		return e.Name == kernel.Row || e.Name == kernel.Col
	default:
		return false
	}
	if s := p.span(e); s.Lo < -1<<30 || s.Hi > 1<<30 {
		return false
	}
	return !slices.ContainsFunc(e.Args, func(a *ints.Expr) bool { return !p.small(a) })
}

// span is the interval of an expression over the rows and columns of the tile at
// hand.
func (p *printer) span(e *ints.Expr) ints.Range {
	return e.Interval(map[string]ints.Range{kernel.Row: {Lo: 0, Hi: p.most[0]}, kernel.Col: {Lo: 0, Hi: p.most[1]}})
}

// int32 computes a small expression: a literal or a 32-bit register.
func (p *printer) int32(e *ints.Expr) operand {
	c := &p.c
	if k, ok := e.IsConst(); ok {
		return imm(k)
	}
	key := short(e.String())
	if v, ok := p.find(key); ok {
		return v
	}
	if e.Op == ints.Var {
		c.fail(fmt.Errorf("there is no variable %s here", e.Name))
		return c.reg(b32)
	}
	a, b := p.int32(e.Args[0]), p.int32(e.Args[1])
	if a.kind == whole {
		if e.Op == ints.Add || e.Op == ints.Mul || e.Op == ints.Min || e.Op == ints.Max {
			a, b = b, a
		}
		if a.kind == whole {
			a = c.r("mov.u32", a)
		}
	}
	var v operand
	switch e.Op {
	case ints.Add:
		v = c.r("add.s32", a, b)
	case ints.Sub:
		v = c.r("sub.s32", a, b)
	case ints.Mul:
		v = c.product(a, b)
	case ints.Min:
		v = c.r("min.s32", a, b)
	case ints.Max:
		v = c.r("max.s32", a, b)
	default:
		k := e.Args[1].K
		switch {
		case k&(k-1) == 0 && e.Op == ints.Div:
			v = c.r("shr.s32", a, imm(int64(bits.TrailingZeros64(uint64(k)))))
		case k&(k-1) == 0:
			v = c.r("and.b32", a, imm(k-1))
		case e.Op == ints.Div:
			v = c.r("div.u32", a, imm(k))
		default:
			v = c.r("sub.s32", a, c.r("mul.lo.s32", c.r("div.u32", a, imm(k)), imm(k)))
		}
	}
	p.bind(key, v)
	return v
}

// apart writes a comparison as one of a small expression with what is the same
// for all elements.
func (p *printer) apart(e *ints.Expr) (v, limit *ints.Expr, ok bool) {
	sa, va := split(e.Args[0])
	sb, vb := split(e.Args[1])
	v, limit = ints.Minus(va, vb), ints.Minus(sb, sa)
	return v, limit, varies(v) && p.small(v)
}

// limit is a number that the small expression v is compared with, in 32 bits: one
// outside v's interval is moved next to it, on its side.
func (p *printer) limit(v, limit *ints.Expr) operand {
	s := p.span(v)
	e := ints.Least(ints.Most(limit, ints.C(s.Lo-1)), ints.C(s.Hi+1))
	if k, ok := e.IsConst(); ok {
		return imm(k)
	}
	return p.once("<"+e.String(), func() operand { return p.c.r("cvt.u32.u64", p.int(e)) })
}

// element are the variables that differ between the elements of a tile.
var element = []string{kernel.Row, kernel.Col, kernel.Pick}

func varies(e *ints.Expr) bool { return slices.ContainsFunc(element, e.Has) }

// hoist computes the parts of e that are the same for all elements of a tile,
// before the loop over the elements.
func (p *printer) hoist(e *ints.Expr) {
	switch {
	case e.Op == ints.Const || e.Op == ints.Var:
	case varies(e):
		if tests[e.Op] != "" {
			if v, limit, ok := p.apart(e); ok {
				p.limit(v, limit)
				return
			}
		}
		for _, a := range e.Args {
			p.hoist(a)
		}
	case isTruth(e):
		p.cond(e)
	default:
		p.int(e)
	}
}

// tableSet is the constant tables of a module, each once.
type tableSet struct{ data [][]int64 }

func (t *tableSet) name(data []int64) string {
	i := slices.IndexFunc(t.data, func(d []int64) bool { return slices.Equal(d, data) })
	if i < 0 {
		i = len(t.data)
		t.data = append(t.data, data)
	}
	return fmt.Sprintf("_table_%d", i)
}

func (t *tableSet) print(b *strings.Builder) {
	for i, data := range t.data {
		fmt.Fprintf(b, ".global .align 8 .b64 _table_%d[%d] = {", i, len(data))
		for j, v := range data {
			sep := ", "
			switch {
			case j == 0:
				sep = ""
			case j%8 == 0:
				sep = ",\n    "
			}
			fmt.Fprintf(b, "%s%d", sep, v)
		}
		b.WriteString("};\n")
	}
}
