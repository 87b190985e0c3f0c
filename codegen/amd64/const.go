package amd64

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// literal is a constant whose text is made once.
type literal struct {
	typ  types.Type
	text string
}

// IsConstant marks the literal as one of llir's constants.
func (*literal) IsConstant() {}

// Type is the literal's type.
func (l *literal) Type() types.Type { return l.typ }

// Ident is the literal in LLVM syntax.
func (l *literal) Ident() string { return l.text }

// String is the literal in LLVM syntax after its type.
func (l *literal) String() string { return l.typ.String() + " " + l.text }

func c64(k int64) value.Value { return constant.NewInt(i64, k) }
func c32(k int64) value.Value { return constant.NewInt(i32, k) }

// floatText is an f32 as LLVM wants it: the bits of the equal f64.
func floatText(x float32) string {
	return fmt.Sprintf("0x%016X", math.Float64bits(float64(x)))
}

// each is the vector constant with element(i) in lane i.
func each(t *types.VectorType, element func(i int) string) value.Value {
	var b strings.Builder
	b.WriteByte('<')
	for i := range int(t.Len) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t.ElemType.String())
		b.WriteByte(' ')
		b.WriteString(element(i))
	}
	b.WriteByte('>')
	return &literal{t, b.String()}
}

// vnum is an f32 constant in every lane.
func vnum(x float32) value.Value {
	s := floatText(x)
	return each(vf32, func(int) string { return s })
}

// vint is an integer constant in every lane.
func vint(t *types.VectorType, k int64) value.Value {
	s := strconv.FormatInt(k, 10)
	return each(t, func(int) string { return s })
}

// ramp is 0, k, 2k, ... over the lanes.
func ramp(t *types.VectorType, k int64) value.Value {
	return each(t, func(i int) string { return strconv.FormatInt(int64(i)*k, 10) })
}

func constInt(v value.Value) (int64, bool) {
	if c, ok := v.(*constant.Int); ok && c.X.IsInt64() {
		return c.X.Int64(), true
	}
	return 0, false
}

func undef(t types.Type) value.Value { return constant.NewUndef(t) }
