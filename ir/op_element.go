package ir

import (
	"fmt"
	"math"

	"github.com/memc-lang/memc/ir/elem"
)

// arith is the type of arithmetic: all operands floating (the result is f32),
// or all integers (i64 if one is).
func arith(n *Node) (Type, error) {
	dims, err := join(n.Args)
	if err != nil {
		return Type{}, err
	}
	e := n.Args[0].Type.Elem
	for i, a := range n.Args {
		switch {
		case a.Type.Elem == elem.Bool || a.Type.Elem.Float() != e.Float():
			return Type{}, fmt.Errorf("operands must be all floating or all integers, found %s; cast one (operand %s)", shapes(n.Args), operand(n, i))
		case a.Type.Elem == elem.I64:
			e = elem.I64
		}
	}
	if e.Float() {
		e = elem.F32
	}
	return Type{e, dims}, nil
}

func floating(n *Node) (Type, error) {
	for i := range n.Args {
		if err := wantElem(n, i, isFloat, "floating"); err != nil {
			return Type{}, err
		}
	}
	return arith(n)
}

func comparison(n *Node) (Type, error) {
	t, err := arith(n)
	t.Elem = elem.Bool
	return t, err
}

func logical(n *Node) (Type, error) {
	for i := range n.Args {
		if err := wantElem(n, i, isBool, "a test"); err != nil {
			return Type{}, err
		}
	}
	dims, err := join(n.Args)
	return Type{elem.Bool, dims}, err
}

func unary(name, doc string, flops int, eval func(x float64) float64, grad func(b *Builder, n, dy *Node) *Node) Op {
	o := Op{Name: name, Doc: doc, Operands: []string{"x"}, Rows: Rowwise, Type: floating, Eval: eval1(eval), Flops: flops}
	if grad == nil {
		o.NoGrad = "constant between jumps: the gradient is zero"
	} else {
		o.Grad = func(b *Builder, n, dy *Node) []*Node { return []*Node{grad(b, n, dy)} }
	}
	return o
}

func init() {
	ab := []string{"a", "b"}
	register(
		unary("neg", "-x", 1, func(x float64) float64 { return -x }, func(b *Builder, n, dy *Node) *Node { return b.Neg(dy) }),
		unary("abs", "|x|", 1, math.Abs, func(b *Builder, n, dy *Node) *Node {
			return b.Select(b.Must("lt", Attr{}, n.Args[0], b.F(0)), b.Neg(dy), dy)
		}),
		unary("exp", "e^x", 1, math.Exp, func(b *Builder, n, dy *Node) *Node { return b.Mul(dy, n) }),
		unary("log", "ln x", 1, math.Log, func(b *Builder, n, dy *Node) *Node { return b.Div(dy, n.Args[0]) }),
		unary("sqrt", "√x", 1, math.Sqrt, func(b *Builder, n, dy *Node) *Node { return b.Div(b.Mul(b.F(0.5), dy), n) }),
		unary("rsqrt", "1/√x", 2, func(x float64) float64 { return 1 / math.Sqrt(x) }, func(b *Builder, n, dy *Node) *Node {
			return b.Mul(b.Mul(b.F(-0.5), dy), b.Mul(n, b.Mul(n, n)))
		}),
		unary("sigmoid", "1/(1+e^-x)", 3, sigmoid, func(b *Builder, n, dy *Node) *Node {
			return b.Mul(dy, b.Mul(n, b.Sub(b.F(1), n)))
		}),
		unary("silu", "x·sigmoid(x)", 4, func(x float64) float64 { return x * sigmoid(x) }, func(b *Builder, n, dy *Node) *Node {
			s := b.Must("sigmoid", Attr{}, n.Args[0])
			return b.Mul(dy, b.Add(s, b.Mul(n, b.Sub(b.F(1), s))))
		}),
		unary("softplus", "ln(1+e^x)", 4, softplus, func(b *Builder, n, dy *Node) *Node {
			return b.Mul(dy, b.Must("sigmoid", Attr{}, n.Args[0]))
		}),
		unary("tanh", "tanh x", 4, math.Tanh, func(b *Builder, n, dy *Node) *Node {
			return b.Mul(dy, b.Sub(b.F(1), b.Mul(n, n)))
		}),
		unary("costurn", "cos 2πx, |x| ≤ 1/2", 1, func(x float64) float64 { return math.Cos(2 * math.Pi * x) }, func(b *Builder, n, dy *Node) *Node {
			return b.Mul(dy, b.Mul(b.F(-6.283185307179586), b.Must("sinturn", Attr{}, n.Args[0])))
		}),
		unary("sinturn", "sin 2πx, |x| ≤ 1/2", 1, func(x float64) float64 { return math.Sin(2 * math.Pi * x) }, func(b *Builder, n, dy *Node) *Node {
			return b.Mul(dy, b.Mul(b.F(6.283185307179586), b.Must("costurn", Attr{}, n.Args[0])))
		}),
		unary("floor", "⌊x⌋", 1, math.Floor, nil),
		Op{Name: "stop", Doc: "x, through which no gradient flows", Eval: evalView, Operands: []string{"x"}, Rows: Rowwise, Type: floating, NoGrad: "that is its meaning"},
		Op{Name: "add", Doc: "a + b, dimensions matched by name", Eval: eval2(func(a, b float64) float64 { return a + b }), Operands: ab, Rows: Rowwise, Type: arith, Flops: 1,
			Grad: func(b *Builder, n, dy *Node) []*Node { return []*Node{dy, dy} }},
		Op{Name: "sub", Doc: "a - b", Eval: eval2(func(a, b float64) float64 { return a - b }), Operands: ab, Rows: Rowwise, Type: arith, Flops: 1,
			Grad: func(b *Builder, n, dy *Node) []*Node { return []*Node{dy, b.Neg(dy)} }},
		Op{Name: "mul", Doc: "a · b", Eval: eval2(func(a, b float64) float64 { return a * b }), Operands: ab, Rows: Rowwise, Type: arith, Flops: 1,
			Grad: func(b *Builder, n, dy *Node) []*Node {
				return []*Node{b.Mul(dy, n.Args[1]), b.Mul(dy, n.Args[0])}
			}},
		Op{Name: "div", Doc: "a / b; integers: rounded down, b > 0", Eval: evalInts(func(a, b float64) float64 { return a / b }, floorDiv), Operands: ab, Rows: Rowwise, Type: arith, Flops: 1,
			Grad: func(b *Builder, n, dy *Node) []*Node {
				return []*Node{b.Div(dy, n.Args[1]), b.Neg(b.Div(b.Mul(dy, n), n.Args[1]))}
			}},
		Op{Name: "mod", Doc: "integers: a mod b, b > 0, never negative", Eval: evalInts(func(a, b float64) float64 { return a - b*math.Floor(a/b) }, floorMod), Operands: ab, Rows: Rowwise, Type: arith, NoGrad: "integers have none"},
		Op{Name: "max", Doc: "the larger of a and b", Eval: eval2(math.Max), Operands: ab, Rows: Rowwise, Type: arith, Flops: 1,
			Grad: func(b *Builder, n, dy *Node) []*Node {
				c := b.Must("le", Attr{}, n.Args[1], n.Args[0])
				return []*Node{b.Select(c, dy, b.F(0)), b.Select(c, b.F(0), dy)}
			}},
		Op{Name: "min", Doc: "the smaller of a and b", Eval: eval2(math.Min), Operands: ab, Rows: Rowwise, Type: arith, Flops: 1,
			Grad: func(b *Builder, n, dy *Node) []*Node {
				c := b.Must("le", Attr{}, n.Args[0], n.Args[1])
				return []*Node{b.Select(c, dy, b.F(0)), b.Select(c, b.F(0), dy)}
			}},
		Op{Name: "lt", Doc: "a < b", Eval: eval2(func(a, b float64) float64 { return test(a < b) }), Operands: ab, Rows: Rowwise, Type: comparison, NoGrad: "a test"},
		Op{Name: "le", Doc: "a ≤ b", Eval: eval2(func(a, b float64) float64 { return test(a <= b) }), Operands: ab, Rows: Rowwise, Type: comparison, NoGrad: "a test"},
		Op{Name: "eq", Doc: "a = b", Eval: eval2(func(a, b float64) float64 { return test(a == b) }), Operands: ab, Rows: Rowwise, Type: comparison, NoGrad: "a test"},
		Op{Name: "and", Doc: "a and b", Eval: eval2(func(a, b float64) float64 { return test(a != 0 && b != 0) }), Operands: ab, Rows: Rowwise, Type: logical, NoGrad: "a test"},
		Op{Name: "or", Doc: "a or b", Eval: eval2(func(a, b float64) float64 { return test(a != 0 || b != 0) }), Operands: ab, Rows: Rowwise, Type: logical, NoGrad: "a test"},
		Op{Name: "not", Doc: "not x", Eval: eval1(func(x float64) float64 { return test(x == 0) }), Operands: []string{"x"}, Rows: Rowwise, Type: logical, NoGrad: "a test"},
		Op{Name: "select", Doc: "c ? a : b", Eval: evalSelect, Operands: []string{"c", "a", "b"}, Rows: Rowwise, Flops: 1,
			Type: func(n *Node) (Type, error) {
				if err := wantElem(n, 0, isBool, "a test"); err != nil {
					return Type{}, err
				}
				dims, err := join(n.Args)
				if err != nil {
					return Type{}, err
				}
				a, b := n.Args[1].Type.Elem, n.Args[2].Type.Elem
				if a != b && !(a.Float() && b.Float()) {
					return Type{}, fmt.Errorf("the two values must have one element type, found %s", shapes(n.Args[1:]))
				}
				if a.Float() {
					a = elem.F32
				}
				return Type{a, dims}, nil
			},
			Grad: func(b *Builder, n, dy *Node) []*Node {
				return []*Node{nil, b.Select(n.Args[0], dy, b.F(0)), b.Select(n.Args[0], b.F(0), dy)}
			}},
		Op{Name: "cast", Doc: "x as elem: f32 to an integer rounds towards zero, to the nearest integer of the type where it is beyond them, NaN to 0; i64 to i32 keeps the low 32 bits; a test gives 0 or 1, bf16 and f16 round to nearest even and stay storage; q8 and q4 round each group of the last dimension (see ir/elem)", Eval: evalCast, Operands: []string{"x"}, Attrs: []string{"elem"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				t := Type{n.Attr.Elem, n.Args[0].Type.Dims}
				if t.Elem.Quantised() && !n.Args[0].Type.Elem.Float() {
					return t, fmt.Errorf("%s holds reals, found %s", t.Elem, n.Args[0].Type)
				}
				return t, quantisable(t)
			},
			Grad: func(b *Builder, n, dy *Node) []*Node {
				if !n.Args[0].Type.Elem.Float() {
					return []*Node{nil}
				}
				return []*Node{dy}
			}},
		Op{Name: "turns", Doc: "the angle of each row number x in turns, x·ints[j]/2^64 mod 1 in [-1/2, 1/2), along the new last dimension dim: exact at any position", Eval: evalTurns, Operands: []string{"x"}, Attrs: []string{"dim", "ints"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				if err := wantElem(n, 0, isInt, "an integer"); err != nil {
					return Type{}, err
				}
				t := n.Args[0].Type
				if t.Find(n.Attr.Dim) >= 0 || len(n.Attr.Ints) == 0 {
					return Type{}, fmt.Errorf("turns adds a new dimension %s with at least one fraction to %s", n.Attr.Dim, t)
				}
				return Type{elem.F32, append(append([]Dim{}, t.Dims...), Dim{Name: n.Attr.Dim, Size: len(n.Attr.Ints)})}, nil
			}, NoGrad: "integers have none"},
	)
}

// quantisable is nil where t can be stored as its element type: groups run along
// a dimension that no call cuts.
func quantisable(t Type) error {
	if !t.Elem.Quantised() || len(t.Dims) > 0 && t.Dims[len(t.Dims)-1].Static() {
		return nil
	}
	return fmt.Errorf("%s needs a last dimension of fixed size, found %s", t.Elem, t)
}
