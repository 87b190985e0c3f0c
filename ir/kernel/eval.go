package kernel

import "math"

// views collects the tiles of an expression.
func (m *machine) views(v *Val, refs map[*Tile]view) {
	if v.Op == Ref {
		refs[v.Tile] = m.view(v.Tile)
	}
	for _, a := range v.Args {
		m.views(a, refs)
	}
}

// eval computes an expression for one element. Every operand is computed, also
// those that a choice then leaves out; what has no value there is a fault.
func (m *machine) eval(v *Val, refs map[*Tile]view, r, c int) value {
	switch v.Op {
	case Ref:
		if v.Tile.Rows == 1 {
			r = 0
		}
		if v.Tile.Cols == 1 {
			c = 0
		}
		return m.get(refs[v.Tile], r, c)
	case Num:
		return value{f: float64(v.F)}
	case Index:
		return value{i: m.int(v.I)}
	case Test:
		return truth(m.int(v.I) != 0)
	}
	var a [3]value
	for i, arg := range v.Args {
		a[i] = m.eval(arg, refs, r, c)
	}
	switch v.Op {
	case Both:
		return value{i: a[0].i & a[1].i}
	case Either:
		return value{i: a[0].i | a[1].i}
	case Not:
		return value{i: 1 - a[0].i}
	case Choose:
		if a[0].i != 0 {
			return a[1]
		}
		return a[2]
	case Turns:
		return value{f: float64(a[0].i) / (1 << 64)}
	}
	from := v.Args[0].Elem
	switch {
	case v.Op == ToF32 && from != F32:
		return value{f: float64(a[0].i)}
	case v.Op == ToI64 && from == F32:
		return truncate(a[0].f, math.MinInt64, math.MaxInt64)
	case v.Op == ToI32 && from == F32:
		return truncate(a[0].f, math.MinInt32, math.MaxInt32)
	case v.Op == ToI32:
		return value{i: int64(int32(a[0].i))}
	case v.Op == ToI64 || v.Op == ToF32:
		return a[0]
	case from == F32:
		return m.float(v.Op, a[0].f, a[1].f)
	}
	out := m.integer(v.Op, a[0].i, a[1].i)
	if v.Elem == I32 {
		out.i = int64(int32(out.i))
	}
	return out
}

func truth(b bool) value {
	if b {
		return value{i: 1}
	}
	return value{}
}

// truncate is f towards zero, held between two integers; NaN is 0.
func truncate(f float64, least, most int64) value {
	switch {
	case f != f:
		return value{}
	case f <= float64(least):
		return value{i: least}
	case f >= float64(most):
		return value{i: most}
	}
	return value{i: int64(f)}
}

// float applies an operator to floating operands; b counts for binary ones.
func (m *machine) float(op ValOp, a, b float64) value {
	switch op {
	case Less:
		return truth(a < b)
	case AtMost:
		return truth(a <= b)
	case Same:
		return truth(a == b)
	case CosTurn, SinTurn:
		if math.Abs(a) > 0.5 {
			m.fail("%v is more than half a turn", a)
		}
	}
	return value{f: float(op, a, b)}
}

func float(op ValOp, a, b float64) float64 {
	switch op {
	case Neg:
		return -a
	case Abs:
		return math.Abs(a)
	case Exp:
		return math.Exp(a)
	case Exp2, Exp2Near:
		if a < -126 {
			return 0
		}
		return math.Exp2(a)
	case Log:
		return math.Log(a)
	case Sqrt:
		return math.Sqrt(a)
	case Rsqrt:
		return 1 / math.Sqrt(a)
	case Sigmoid:
		return 1 / (1 + math.Exp(-a))
	case Silu:
		return a / (1 + math.Exp(-a))
	case Softplus:
		return max(a, 0) + math.Log1p(math.Exp(-math.Abs(a)))
	case Tanh:
		return math.Tanh(a)
	case CosTurn:
		return math.Cos(2 * math.Pi * a)
	case SinTurn:
		return math.Sin(2 * math.Pi * a)
	case Floor:
		return math.Floor(a)
	case Add:
		return a + b
	case Sub:
		return a - b
	case Mul:
		return a * b
	case Div:
		return a / b
	case Min:
		return math.Min(a, b)
	case Max:
		return math.Max(a, b)
	}
	panic("kernel: the verifier let a floating " + valName[op] + " pass")
}

// integer applies an operator to integer operands; b counts for binary ones.
func (m *machine) integer(op ValOp, a, b int64) value {
	switch op {
	case Neg:
		return value{i: -a}
	case Abs:
		return value{i: max(a, -a)}
	case Add:
		return value{i: a + b}
	case Sub:
		return value{i: a - b}
	case Mul:
		return value{i: a * b}
	case Div, Mod:
		if b <= 0 {
			m.fail("%d is divided by %d, which is not positive", a, b)
			return poison
		}
		q := a / b
		if a%b < 0 {
			q--
		}
		if op == Div {
			return value{i: q}
		}
		return value{i: a - q*b}
	case Min:
		return value{i: min(a, b)}
	case Max:
		return value{i: max(a, b)}
	case Less:
		return truth(a < b)
	case AtMost:
		return truth(a <= b)
	case Same:
		return truth(a == b)
	}
	panic("kernel: the verifier let an integer " + valName[op] + " pass")
}
