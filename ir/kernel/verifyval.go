package kernel

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

func checkNote(n string) error {
	if !utf8.ValidString(n) {
		return fmt.Errorf("its note is not valid UTF-8")
	}
	return nil
}

// complete reports whether all that a statement needs is there to be printed.
func complete(s Stmt) bool {
	switch s := s.(type) {
	case *Load:
		return s.Dst != nil && s.Buf != nil && !slices.Contains(s.Idx, nil)
	case *Store:
		return s.Src != nil && s.Buf != nil && !slices.Contains(s.Idx, nil)
	case *Map:
		return s.Dst != nil && s.Expr.complete()
	case *Dot:
		return s.Dst != nil && s.A != nil && s.B != nil
	case *Reduce:
		return s.Dst != nil && s.Src != nil && s.Op <= Largest
	case *Transpose:
		return s.Dst != nil && s.Src != nil
	case *Slice:
		return s.Dst != nil && s.Src != nil
	case *Paste:
		return s.Dst != nil && s.Src != nil
	case *For:
		return s.Lo != nil && s.Hi != nil
	case *When:
		return s.Cond != nil
	}
	return false
}

func (v *Val) complete() bool {
	switch {
	case v == nil, v.Op == Ref && v.Tile == nil, (v.Op == Index || v.Op == Test) && v.I == nil, v.Op > ToI32, v.Elem > Bool:
		return false
	}
	return !slices.ContainsFunc(v.Args, func(a *Val) bool { return !a.complete() })
}

func (v *verifier) mapping(s *Map) {
	if !v.use(s.Dst) {
		return
	}
	if valDepth(s.Expr) > maxDepth {
		v.faultf("the expression is more than %d operators deep", maxDepth)
		return
	}
	v.val(s.Expr, s.Dst)
	if s.Expr.Elem != s.Dst.Elem {
		v.faultf("the value is %s, but tile %s is %s", s.Expr.Elem, s.Dst.Name, s.Dst.Elem)
	}
}

// val checks an expression that is computed for the elements of dst.
func (v *verifier) val(x *Val, dst *Tile) {
	if len(x.Args) != x.Op.operands() {
		v.faultf("%s has %d operands, not %d", x.Op, len(x.Args), x.Op.operands())
		return
	}
	for _, a := range x.Args {
		v.val(a, dst)
	}
	switch x.Op {
	case Ref:
		v.ref(x.Tile, dst)
	case Index, Test:
		v.integer("the expression", x.I, v.scope, Row, Col)
	default:
		for i, a := range x.Args {
			if !x.Op.takes(i, a.Elem) {
				v.faultf("operand %d of %s, %s, is %s", i+1, x.Op, a, a.Elem)
				return
			}
		}
		n := len(x.Args)
		if n >= 2 && x.Args[n-2].Elem != x.Args[n-1].Elem {
			v.faultf("%s joins %s and %s in %s", x.Op, x.Args[n-2].Elem, x.Args[n-1].Elem, x)
			return
		}
	}
	if want := x.result(); x.Elem != want {
		v.faultf("%s is %s, not %s", x, want, x.Elem)
	}
}

// ref checks a tile inside an expression for the elements of dst.
func (v *verifier) ref(t, dst *Tile) {
	if !v.use(t) {
		return
	}
	if t.Rows != dst.Rows && t.Rows != 1 || t.Cols != dst.Cols && t.Cols != 1 {
		v.faultf("tile %s is %d by %d and cannot be repeated to %d by %d", t.Name, t.Rows, t.Cols, dst.Rows, dst.Cols)
		return
	}
	if t == dst {
		return
	}
	// A repeated row or column is read at its index 0.
	first := extent{dst, 1, nil}
	over, across := rows(dst), cols(dst)
	if t.Rows < dst.Rows {
		over = first
	}
	if t.Cols < dst.Cols {
		across = first
	}
	v.covers(rows(t), over)
	v.covers(cols(t), across)
}

// takes reports whether the operator's operand i may be of the type.
func (op ValOp) takes(i int, e Elem) bool {
	number := e == F32 || e == I32 || e == I64
	switch op {
	case Neg, Abs, Add, Sub, Mul, Div, Min, Max, Less, AtMost, Same:
		return number
	case Mod:
		return e == I32 || e == I64
	case Both, Either, Not:
		return e == Bool
	case Choose:
		if i == 0 {
			return e == Bool
		}
		return number
	case Turns:
		return e == I64
	case ToF32:
		return e == I32 || e == I64 || e == Bool
	case ToI64:
		return e == F32 || e == I32 || e == Bool
	case ToI32:
		return e == F32 || e == I64 || e == Bool
	}
	return e == F32
}

// result is the type that the expression has by its operator and operands.
func (x *Val) result() Elem {
	switch x.Op {
	case Ref:
		return x.Tile.Elem
	case Num, Turns, ToF32:
		return F32
	case Index, ToI64:
		return I64
	case ToI32:
		return I32
	case Test, Less, AtMost, Same, Both, Either, Not:
		return Bool
	}
	return x.Args[len(x.Args)-1].Elem
}

// String is the operator's spelling in the text form.
func (op ValOp) String() string {
	if in, ok := infix[op]; ok {
		return in.text
	}
	switch op {
	case Ref:
		return "a tile"
	case Num:
		return "a number"
	case Neg:
		return "-"
	case Not:
		return "!"
	}
	return valName[op]
}
