package ir

import "github.com/memc-lang/memc/ir/elem"

// F is the f32 constant v.
func (b *Builder) F(v float64) *Node { return b.Must("const", Attr{Value: v, Elem: elem.F32}) }

// I is the i64 constant v.
func (b *Builder) I(v int64) *Node { return b.Must("const", Attr{Value: float64(v), Elem: elem.I64}) }

// Neg is -x.
func (b *Builder) Neg(x *Node) *Node { return b.Must("neg", Attr{}, x) }

// Add is x + y.
func (b *Builder) Add(x, y *Node) *Node { return b.Must("add", Attr{}, x, y) }

// Sub is x - y.
func (b *Builder) Sub(x, y *Node) *Node { return b.Must("sub", Attr{}, x, y) }

// Mul is x · y.
func (b *Builder) Mul(x, y *Node) *Node { return b.Must("mul", Attr{}, x, y) }

// Div is x / y.
func (b *Builder) Div(x, y *Node) *Node { return b.Must("div", Attr{}, x, y) }

// Select is c ? x : y.
func (b *Builder) Select(c, x, y *Node) *Node { return b.Must("select", Attr{}, c, x, y) }

// Sum is the sum of x over the named dimensions; x itself where there are none.
func (b *Builder) Sum(x *Node, over ...string) *Node {
	if len(over) == 0 {
		return x
	}
	return b.Must("sum", Attr{Over: over}, x)
}

// Dot is the sum over the named dimensions of x · y.
func (b *Builder) Dot(x, y *Node, over ...string) *Node {
	return b.Must("dot", Attr{Over: over}, x, y)
}

// Result is result i of a scan.
func (b *Builder) Result(scan *Node, i int) *Node {
	return b.Must("result", Attr{Start: i}, scan)
}
