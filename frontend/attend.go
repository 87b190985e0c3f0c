package frontend

import (
	"math"
	"math/big"

	"github.com/memc-lang/memc/ir"
)

// Attention and positions.

func (e *elab) attend(c *ruleCall) value {
	var n [3]*ir.Node
	for k := range n {
		var ok bool
		if n[k], ok = e.node(c, k); !ok {
			return badV{}
		}
	}
	dims := n[0].Type.Dims
	if len(dims) != 3 || dims[0].Clock == nil {
		return e.errorf(c.pos, "attend takes q, k and v as [rows, heads, size], found %s", n[0].Type)
	}
	if x, meant := negative(c.mask, true); x != nil {
		pos, ok := e.tests[x]
		if !ok {
			pos = c.where.Pos
		}
		return e.errorf(pos, "no row that may be seen, j from 0 to i, has %s: a number of rows is 0 or more", meant)
	}
	if !sees(c.mask, false) {
		return e.errorf(c.where.Pos, "the mask is never true for j from 0 to i: no row would see any")
	}
	where, rows, ok := e.maskRows(c.mask, n[0].Type.Clock())
	if !ok {
		return badV{}
	}
	if sees(where, true) {
		what := ""
		if len(rows) > 0 {
			what = " for some integers of the rows"
		}
		return e.errorf(c.where.Pos, "the mask lets a row see a later row (j > i)%s: cannot stream; add `j <= i and …`", what)
	}
	scale := pow(float64(dims[2].Size), -0.5)
	if v := c.args[3]; v != nil {
		f, ok := floatOf(v)
		if !ok {
			return e.errorf(c.pos, "the scale of attend is a static number, found %s", v.what())
		}
		scale = f
	}
	linear := false
	if v := c.args[4]; v != nil {
		b, ok := v.(boolV)
		if !ok {
			return e.errorf(c.pos, "linear is true or false, found %s", v.what())
		}
		linear = bool(b)
	}
	limit := 0.0
	if v := c.args[5]; v != nil {
		f, ok := floatOf(v)
		if !ok || !(f > 0) {
			return e.errorf(c.pos, "the cap of attend is a static number above 0, found %s", v.what())
		}
		limit = f
	}
	var slopes []float64
	if v := c.args[6]; v != nil {
		l, ok := v.(listV)
		for _, x := range l {
			f, isNumber := floatOf(x)
			ok = ok && isNumber
			slopes = append(slopes, f)
		}
		if !ok || len(slopes) != dims[1].Size {
			return e.errorf(c.pos, "the slopes of attend are a list of one static number for each of its %d heads, found %s", dims[1].Size, v.what())
		}
	}
	base := e.path
	if base == "" {
		base = "attend"
	}
	return e.unique(base, func(name string) value {
		return e.make(c.pos, "attend", ir.Attr{Name: name, Value: scale, Linear: linear, Cap: limit, Floats: slopes, Where: where}, append(n[:], rows...)...)
	})
}

func (e *elab) indexOf(c *ruleCall) value {
	var clock *ir.Clock
	switch v := c.args[0].(type) {
	case clockV:
		clock = v.Clock
	case dimV:
		clock = v.Clock
	case tensorV:
		clock = v.Type.Clock()
	}
	if clock == nil {
		return e.errorf(c.pos, "index numbers the rows of a clock, found %s", c.args[0].what())
	}
	return e.make(c.pos, "index", ir.Attr{Clock: clock})
}

// maxHead bounds the angles of one row.
const maxHead = 1 << 16

// turnsOf makes the fractions round(θ^(-2j/d)/2π · 2^64): the op multiplies them
// by the position modulo one turn, which stays exact at any position.
func (e *elab) turnsOf(c *ruleCall) value {
	pos, ok := e.node(c, 0)
	if !ok {
		return badV{}
	}
	d, ok := c.args[1].(dimV)
	if !ok || !d.Static() || d.Size%2 != 0 || d.Size > maxHead {
		return e.errorf(c.pos, "turns needs an even dimension of at most %d, found %s", maxHead, c.args[1].what())
	}
	if !e.charge(c.pos, d.Size) {
		return badV{}
	}
	theta, ok := floatOf(c.args[2])
	if !ok || theta < 1 {
		return e.errorf(c.pos, "turns needs a base of at least 1, found %s", c.args[2].what())
	}
	fractions := make([]int64, d.Size/2)
	for j := range fractions {
		fractions[j] = turnFraction(theta, j, d.Size)
	}
	return e.make(c.pos, "turns", ir.Attr{Dim: d.Name, Ints: fractions}, pos)
}

// pi with 128 bits and more.
var pi, _, _ = big.ParseFloat("3.14159265358979323846264338327950288419716939937510582097494459", 10, 256, big.ToNearestEven)

func turnFraction(theta float64, j, size int) int64 {
	x := new(big.Float).SetPrec(256).SetFloat64(pow(theta, -2*float64(j)/float64(size)))
	x.Quo(x, new(big.Float).Mul(big.NewFloat(2), pi))
	x.SetMantExp(x, 64)
	x.Add(x, big.NewFloat(0.5))
	i, _ := x.Int(nil)
	return int64(new(big.Int).And(i, new(big.Int).SetUint64(math.MaxUint64)).Uint64())
}

func pow(x, y float64) float64 { return math.Pow(x, y) }
