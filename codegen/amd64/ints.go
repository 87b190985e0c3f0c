package amd64

import (
	"strconv"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
)

// bind gives a variable a value for the statements emitted by body.
func (f *fn) bind(name string, v value.Value, r ints.Range, step int64, body func()) {
	oldV, had := f.vars[name]
	oldR, oldS := f.ranges[name], f.steps[name]
	f.vars[name], f.ranges[name], f.steps[name] = v, r, step
	f.push()
	body()
	f.pop()
	if had {
		f.vars[name], f.ranges[name], f.steps[name] = oldV, oldR, oldS
		return
	}
	delete(f.vars, name)
	delete(f.ranges, name)
	delete(f.steps, name)
}

// int is the value of an integer expression, as i64.
func (f *fn) int(e *ints.Expr) value.Value {
	for i := len(f.scopes) - 1; i >= 0; i-- {
		if v, ok := f.scopes[i].ints[e]; ok {
			return v
		}
	}
	v := f.scalar(e)
	f.scopes[len(f.scopes)-1].ints[e] = v
	return v
}

// truth is whether an integer expression is not 0, as a bit.
func (f *fn) truth(e *ints.Expr) value.Value {
	switch e.Op {
	case ints.Lt, ints.Le, ints.Eq, ints.Ne:
		return f.icmp(predicate[e.Op], f.int(e.Args[0]), f.int(e.Args[1]))
	case ints.And:
		return f.bin(and, f.truth(e.Args[0]), f.truth(e.Args[1]))
	case ints.Or:
		return f.bin(or, f.truth(e.Args[0]), f.truth(e.Args[1]))
	case ints.Not:
		return f.bin(xor, f.truth(e.Args[0]), constant.True)
	}
	return f.icmp(enum.IPredNE, f.int(e), c64(0))
}

var predicate = map[ints.Op]enum.IPred{ints.Lt: enum.IPredSLT, ints.Le: enum.IPredSLE, ints.Eq: enum.IPredEQ, ints.Ne: enum.IPredNE}

func (f *fn) scalar(e *ints.Expr) value.Value {
	switch e.Op {
	case ints.Const:
		return c64(e.K)
	case ints.Var:
		v, ok := f.vars[e.Name]
		if !ok {
			f.fail("no value for the variable %s", e.Name)
			return c64(0)
		}
		return v
	case ints.Lt, ints.Le, ints.Eq, ints.Ne, ints.And, ints.Or, ints.Not:
		return f.convert(zext, f.truth(e), i64)
	case ints.Select:
		return f.choose(f.truth(e.Args[0]), f.int(e.Args[1]), f.int(e.Args[2]))
	case ints.Table:
		i := f.smin(f.smax(f.int(e.Args[0]), c64(0)), c64(int64(len(e.Data))-1))
		return f.load(i64, f.table(e.Data), f.mul(i, c64(8)))
	}
	a, b := f.int(e.Args[0]), f.int(e.Args[1])
	switch e.Op {
	case ints.Div, ints.Mod:
		q, m := f.floorDiv(a, b, e.Args[0].Interval(f.ranges).Lo >= 0, e.Op == ints.Mod)
		if e.Op == ints.Mod {
			return m
		}
		return q
	}
	return f.wrapping(e.Op, a, b)
}

// wrapping is the arithmetic that is the same on scalars and lanes.
func (f *fn) wrapping(op ints.Op, a, b value.Value) value.Value {
	switch op {
	case ints.Add:
		return f.add(a, b)
	case ints.Sub:
		return f.sub(a, b)
	case ints.Mul:
		return f.mul(a, b)
	case ints.Min:
		return f.smin(a, b)
	case ints.Max:
		return f.smax(a, b)
	}
	f.fail("unknown integer operator %d", op)
	return a
}

// floorDiv is the quotient rounded down and the remainder with the divisor's
// sign. It never traps: a divisor of 0 gives a quotient of a. nonNegative says
// that a >= 0.
func (f *fn) floorDiv(a, b value.Value, nonNegative, remainder bool) (q, m value.Value) {
	t := a.Type()
	if k, ok := constInt(b); ok && k > 0 {
		return f.floorDivConst(a, k, nonNegative, remainder)
	}
	whole := func(k int64) value.Value {
		if v, ok := t.(*types.VectorType); ok {
			return vint(v, k)
		}
		return constant.NewInt(t.(*types.IntType), k)
	}
	zero := f.icmp(enum.IPredEQ, b, whole(0))
	minus := f.icmp(enum.IPredEQ, b, whole(-1))
	d := f.choose(f.bin(or, zero, minus), whole(1), b)
	q0 := f.bin(sdiv, a, d)
	r0 := f.sub(a, f.mul(q0, d))
	// The quotient was cut towards zero: it is one too large where the
	// remainder and the divisor have different signs.
	wrong := f.bin(and, f.icmp(enum.IPredNE, r0, whole(0)), f.icmp(enum.IPredSLT, f.bin(xor, r0, d), whole(0)))
	q = f.choose(wrong, f.sub(q0, whole(1)), q0)
	m = f.choose(wrong, f.add(r0, d), r0)
	q = f.choose(minus, f.sub(whole(0), a), q)
	return q, m
}

func (f *fn) floorDivConst(a value.Value, k int64, nonNegative, remainder bool) (q, m value.Value) {
	whole := func(k int64) value.Value {
		if v, ok := a.Type().(*types.VectorType); ok {
			return vint(v, k)
		}
		return constant.NewInt(a.Type().(*types.IntType), k)
	}
	if k&(k-1) == 0 {
		if remainder {
			return nil, f.bin(and, a, whole(k-1))
		}
		n := 0
		for 1<<n < k {
			n++
		}
		if n == 0 {
			return a, nil
		}
		return f.bin(ashr, a, whole(int64(n))), nil
	}
	if nonNegative {
		if remainder {
			return nil, f.bin(urem, a, whole(k))
		}
		return f.bin(udiv, a, whole(k)), nil
	}
	r := f.bin(srem, a, whole(k))
	neg := f.icmp(enum.IPredSLT, r, whole(0))
	if remainder {
		return nil, f.choose(neg, f.add(r, whole(k)), r)
	}
	q0 := f.bin(sdiv, a, whole(k))
	return f.choose(neg, f.sub(q0, whole(1)), q0), nil
}

// tableGlobal is a constant array of i64.
func (m *module) tableGlobal(data []int64) *ir.Global {
	key := ""
	for _, v := range data {
		key += strconv.FormatInt(v, 36) + " "
	}
	g := m.tables[key]
	if g == nil {
		elems := make([]constant.Constant, len(data))
		for i, v := range data {
			elems[i] = constant.NewInt(i64, v)
		}
		g = m.m.NewGlobalDef("memc.table"+strconv.Itoa(len(m.tables)), constant.NewArray(types.NewArray(uint64(len(data)), i64), elems...))
		g.Immutable = true
		g.Linkage = enum.LinkagePrivate
		m.tables[key] = g
	}
	return g
}

func (f *fn) table(data []int64) value.Value {
	i := ir.NewBitCast(f.tableGlobal(data), bytePtr)
	f.emit(i)
	return i
}

// multiple is a number that divides every value of e (0: e is always 0).
func (f *fn) multiple(e *ints.Expr) int64 {
	switch e.Op {
	case ints.Const:
		return max(e.K, -e.K)
	case ints.Var:
		if step, ok := f.steps[e.Name]; ok {
			return step
		}
		return 1
	case ints.Add, ints.Sub, ints.Min, ints.Max, ints.Mod:
		return gcd(f.multiple(e.Args[0]), f.multiple(e.Args[1]))
	case ints.Select:
		return gcd(f.multiple(e.Args[1]), f.multiple(e.Args[2]))
	case ints.Mul:
		a, b := f.multiple(e.Args[0]), f.multiple(e.Args[1])
		if a != 0 && b > (1<<40)/a {
			return 1
		}
		return a * b
	}
	return 1
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
