package sim

import (
	"math"
	"strings"
)

// Instructions that choose, compare and move.

func (x *build) selp() {
	t, ok := dataTypes[x.last()]
	x.plain()
	if !ok || t.bytes < 2 {
		x.unknown()
		return
	}
	if !x.wants(4) {
		return
	}
	x.in.d, x.in.a, x.in.b = x.dst(0, t.class), x.src(1, t.class), x.src(2, t.class)
	p, not := x.pred(3)
	x.in.c, x.in.run = p, chooses32
	if not {
		x.fail("selp takes no negated predicate")
	}
	if t.class == bits64 {
		x.in.run = chooses64
	}
}

// setp: a comparison, joined with a predicate or not, and its opposite where two
// predicates are written.
func (x *build) setp() {
	name := x.last()
	t, ok := dataTypes[name]
	if !ok || t.bytes < 2 || len(x.mods) == 0 {
		x.unknown()
		return
	}
	ftz := x.has("ftz")
	cmp := x.mods[0]
	x.mods = x.mods[1:]
	x.in.e = -1
	n := 3
	for i, join := range []string{"and", "or", "xor"} {
		if x.has(join) {
			x.in.flags, n = uint8(joinsAnd+i), 4
		}
	}
	x.plain()
	if !x.wants(n) {
		return
	}
	d := x.operand(0)
	x.in.d = x.write(d, predicate)
	if d.second != nil {
		x.in.e = x.write(*d.second, predicate)
	}
	x.in.a, x.in.b, x.in.run = x.src(1, t.class), x.src(2, t.class), tests32
	if n == 4 {
		x.in.c, x.in.signed = x.pred(3)
	}
	switch {
	case t.float:
		x.floatTest(name, cmp, ftz)
	case ftz:
		x.unknown()
	case t.class == bits64:
		x.in.run = tests64
		x.in.q2 = order[uint64](cmp)
		if t.signed {
			if q := order[int64](cmp); q != nil {
				x.in.q2 = func(a, b uint64) bool { return q(int64(a), int64(b)) }
			}
		}
	case t.signed:
		if q := order[int32](cmp); q != nil && t.bytes == 2 {
			x.in.p2 = func(a, b uint32) bool { return q(int32(int16(a)), int32(int16(b))) }
		} else if q != nil {
			x.in.p2 = func(a, b uint32) bool { return q(int32(a), int32(b)) }
		}
	default:
		if q := order[uint32](cmp); q != nil && t.bytes == 2 {
			x.in.p2 = func(a, b uint32) bool { return q(a&0xffff, b&0xffff) }
		} else {
			x.in.p2 = q
		}
	}
	if x.in.p2 == nil && x.in.q2 == nil {
		x.unknown()
	}
}

// order is a comparison of integers by its name.
func order[T int32 | int64 | uint32 | uint64](name string) func(a, b T) bool {
	switch name {
	case "lt", "lo":
		return func(a, b T) bool { return a < b }
	case "le", "ls":
		return func(a, b T) bool { return a <= b }
	case "gt", "hi":
		return func(a, b T) bool { return a > b }
	case "ge", "hs":
		return func(a, b T) bool { return a >= b }
	case "eq":
		return func(a, b T) bool { return a == b }
	case "ne":
		return func(a, b T) bool { return a != b }
	}
	return nil
}

// mov copies a register, a number or a variable's address, or takes a register
// apart or together (vectors of two halves).
func (x *build) mov() {
	t, ok := dataTypes[x.last()]
	x.plain()
	if !ok || !x.wants(2) || t.class != predicate && t.bytes < 2 {
		x.unknown()
		return
	}
	half := bits16
	if t.class == bits64 {
		half = bits32
	}
	switch {
	case x.ops[0].kind == isVector:
		x.in.regs = x.vector(0, 2, half, true)
		x.in.a, x.in.wide = x.src(1, t.class), half == bits32
		x.in.run = func(w *warp, in *inst, m uint32) {
			for l := range lanes {
				if m>>l&1 == 0 {
					continue
				}
				if in.wide {
					v := w.r64[in.a][l]
					w.r32[in.regs[0]][l], w.r32[in.regs[1]][l] = uint32(v), uint32(v>>32)
				} else {
					v := w.r32[in.a][l]
					w.r32[in.regs[0]][l], w.r32[in.regs[1]][l] = v&0xffff, v>>16
				}
			}
		}
	case x.ops[1].kind == isVector:
		x.in.regs = x.vector(1, 2, half, false)
		x.in.d, x.in.wide = x.dst(0, t.class), half == bits32
		x.in.run = func(w *warp, in *inst, m uint32) {
			for l := range lanes {
				if m>>l&1 == 0 {
					continue
				}
				lo, hi := w.r32[in.regs[0]][l], w.r32[in.regs[1]][l]
				if in.wide {
					w.r64[in.d][l] = uint64(hi)<<32 | uint64(lo)
				} else {
					w.r32[in.d][l] = hi<<16 | lo&0xffff
				}
			}
		}
	case t.class == predicate:
		x.in.d, x.in.a = x.dst(0, predicate), x.src(1, predicate)
		x.in.run = func(w *warp, in *inst, m uint32) {
			w.preds[in.d] = w.preds[in.d]&^m | w.preds[in.a]&m
		}
	default:
		x.in.d, x.in.a, x.in.run = x.dst(0, t.class), x.src(1, t.class), moves
		if t.class == bits64 {
			x.in.run = movesLong
		}
	}
}

// cvta: a global address is its own generic one, shared ones lie in a window.
func (x *build) cvta() {
	to := x.has("to")
	if t := x.last(); t != "u64" {
		x.unknown()
	}
	space := strings.Join(x.mods, ".")
	x.mods = nil
	var add uint64
	switch space {
	case "global", "const":
	case "shared", "shared::cta":
		add = sharedWindow
		if to {
			add = math.MaxUint64 - sharedWindow + 1
		}
	default:
		x.unknown()
	}
	x.ints1(dataTypes["b64"], nil, func(a uint64) uint64 { return a + add })
}
