package frontend

import (
	"math"
	"math/bits"
	"slices"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// The op of each operator on tensors; > and >= turn round, != is not eq.
var traced = map[string]string{"+": "add", "-": "sub", "*": "mul", "/": "div", "div": "div", "mod": "mod", "<": "lt", "<=": "le", "==": "eq", "and": "and", "or": "or"}

// binary applies an operator to two sound values.
func (e *elab) binary(pos lexer.Position, op string, a, b value) value {
	_, ta := a.(tensorV)
	_, tb := b.(tensorV)
	_, ma := a.(maskV)
	_, mb := b.(maskV)
	switch {
	case op == "@":
		return e.apply(pos, a, b)
	case op == "in":
		return e.member(pos, a, b)
	case op == "..":
		x, okx := intOf(a)
		y, oky := intOf(b)
		if !okx || !oky {
			return e.errorf(pos, "a range needs two integers, found %s and %s", a.what(), b.what())
		}
		if x < -maxSize || y > 1<<40 || y < x {
			return e.errorf(pos, "the range %d..%d ends before it begins, or is too long", x, y)
		}
		return rangeV{x, y}
	case (ta || tb) && (ma || mb):
		return e.errorf(pos, "a mask is a test of i, j and static values, and of integers that rows have, x[i] or x[j]; found %s and %s", a.what(), b.what())
	case ta || tb:
		return e.trace(pos, op, a, b)
	case ma || mb:
		return e.mask(pos, op, a, b)
	}
	return e.static(pos, op, a, b)
}

func (e *elab) trace(pos lexer.Position, op string, a, b value) value {
	switch op {
	case ">", ">=":
		op, a, b = map[string]string{">": "<", ">=": "<="}[op], b, a
	case "!=":
		v := e.trace(pos, "==", a, b)
		if isBad(v) {
			return v
		}
		return e.prefix(pos, "not", v)
	}
	x, ok := e.number(pos, a, b)
	if !ok {
		return badV{}
	}
	y, ok := e.number(pos, b, a)
	if !ok {
		return badV{}
	}
	if op == "/" {
		x, y = e.numbers(x), e.numbers(y)
	}
	floating := x.Type.Elem.Float()
	if op == "/" && !floating {
		return e.errorf(pos, "/ divides floating values, found %s and %s; integers have div and mod", a.what(), b.what())
	}
	if (op == "div" || op == "mod") && (floating || y.Op.Name == "const" && y.Attr.Value <= 0) {
		return e.errorf(pos, "%s takes integers and a positive divisor, found %s and %s", op, a.what(), b.what())
	}
	return e.make(pos, traced[op], ir.Attr{}, x, y)
}

// apply is a @ b: the sum over the last dimension of a, which b has too.
func (e *elab) apply(pos lexer.Position, a, b value) value {
	x, ok := e.tensor(pos, a, "the left side of @")
	if !ok {
		return badV{}
	}
	y, ok := e.tensor(pos, b, "the right side of @")
	if !ok {
		return badV{}
	}
	x, y = e.numbers(x), e.numbers(y)
	if len(x.Type.Dims) == 0 {
		return e.errorf(pos, "@ sums over the last dimension of its left side, which has none: %s", x.Type)
	}
	d := x.Type.Dims[len(x.Type.Dims)-1]
	if y.Type.Find(d.Name) < 0 {
		return e.errorf(pos, "%s @ %s: the right side has no dimension %s to sum over; write dot(a, b over …)", x.Type, y.Type, d.Name)
	}
	return e.make(pos, "dot", ir.Attr{Over: []string{d.Name}}, x, y)
}

func (e *elab) member(pos lexer.Position, a, b value) value {
	switch l := b.(type) {
	case rangeV:
		k, ok := intOf(a)
		if !ok {
			return e.errorf(pos, "only an integer can be in %s, found %s", b.what(), a.what())
		}
		return boolV(k >= l.lo && k < l.hi)
	case listV:
		return boolV(slices.ContainsFunc(l, func(x value) bool {
			same, ok := e.equal(a, x)
			return ok && same
		}))
	}
	return e.errorf(pos, "in takes a list or a range, found %s", b.what())
}

// equal compares static values; ok is false where they cannot be compared.
func (e *elab) equal(a, b value) (same, ok bool) {
	switch x := a.(type) {
	case strV:
		y, ok := b.(strV)
		return x == y, ok
	case boolV:
		y, ok := b.(boolV)
		return x == y, ok
	}
	x, okx := floatOf(a)
	y, oky := floatOf(b)
	return x == y, okx && oky
}

// static computes with values that are known.
func (e *elab) static(pos lexer.Position, op string, a, b value) value {
	wrong := func() value {
		return e.errorf(pos, "%s cannot be applied to %s and %s", op, a.what(), b.what())
	}
	switch op {
	case "and", "or":
		x, okx := a.(boolV)
		y, oky := b.(boolV)
		if !okx || !oky {
			return wrong()
		}
		return boolV(op == "and" && bool(x) && bool(y) || op == "or" && (bool(x) || bool(y)))
	case "==", "!=":
		same, ok := e.equal(a, b)
		if !ok {
			return wrong()
		}
		return boolV(same == (op == "=="))
	case "+":
		if x, ok := a.(strV); ok {
			if y, ok := b.(strV); ok && len(x)+len(y) <= 4096 {
				return x + y
			}
			return wrong()
		}
	case "*":
		// h * a of two dimensions is the dimension of both, outer first.
		x, okx := a.(dimV)
		y, oky := b.(dimV)
		if okx && oky && x.Static() && y.Static() {
			if x.Size > maxSize/y.Size {
				return e.errorf(pos, "the dimension %s * %s has more than %d elements", x.Dim, y.Dim, maxSize)
			}
			return dimV{ir.Dim{Name: x.Name + "_" + y.Name, Size: x.Size * y.Size}}
		}
	}
	x, okx := intOf(a)
	y, oky := intOf(b)
	if okx && oky && op != "/" {
		return e.integers(pos, op, x, y)
	}
	f, okf := floatOf(a)
	g, okg := floatOf(b)
	if !okf || !okg {
		return wrong()
	}
	switch op {
	case "+":
		return floatV(f + g)
	case "-":
		return floatV(f - g)
	case "*":
		return floatV(f * g)
	case "/":
		if g == 0 {
			return e.errorf(pos, "division by zero")
		}
		return floatV(f / g)
	case "<":
		return boolV(f < g)
	case "<=":
		return boolV(f <= g)
	case ">":
		return boolV(f > g)
	case ">=":
		return boolV(f >= g)
	}
	return wrong()
}

func (e *elab) integers(pos lexer.Position, op string, x, y int64) value {
	r, ok := int64(0), true
	switch op {
	case "+":
		r = x + y
		ok = (r > x) == (y > 0)
	case "-":
		r = x - y
		ok = (r < x) == (y > 0)
	case "*":
		hi, lo := bits.Mul64(uint64(max(x, -x)), uint64(max(y, -y)))
		r, ok = x*y, hi == 0 && lo <= math.MaxInt64
	case "div", "mod":
		if y <= 0 {
			return e.errorf(pos, "%s needs a positive divisor, found %d", op, y)
		}
		v, _ := ints.Bin(map[string]ints.Op{"div": ints.Div, "mod": ints.Mod}[op], ints.C(x), ints.C(y)).IsConst()
		r = v
	case "<":
		return boolV(x < y)
	case "<=":
		return boolV(x <= y)
	case ">":
		return boolV(x > y)
	case ">=":
		return boolV(x >= y)
	}
	if !ok && y != 0 {
		return e.errorf(pos, "%d %s %d does not fit into 64 bits", x, op, y)
	}
	return intV(r)
}
