package sim

import "math/bits"

// Instructions by which the lanes of a warp tell each other values. They order
// no memory.

// members makes operand i the member mask.
func (x *build) members(i int) {
	x.in.kind, x.in.c = meets, x.src(i, bits32)
}

// How shfl finds its source lane.
const (
	shuffleUp = iota
	shuffleDown
	shuffleBfly
	shuffleIdx
)

// shfl (PTX ISA, "shfl.sync"): c's bits 0-4 clamp the source lane, bits 8-12 say
// which bits of a lane's number divide the warp in segments.
func (x *build) shfl() {
	if !x.has("sync") || x.last() != "b32" || len(x.mods) != 1 {
		x.unknown()
		return
	}
	modes := map[string]uint8{"up": shuffleUp, "down": shuffleDown, "bfly": shuffleBfly, "idx": shuffleIdx}
	mode, ok := modes[x.mods[0]]
	if !ok {
		x.unknown()
	}
	if !x.wants(5) {
		return
	}
	x.in.flags, x.in.e = mode, -1
	x.in.d = x.dst(0, bits32)
	if p := x.ops[0].second; p != nil {
		x.in.e = x.write(*p, predicate)
	}
	x.in.a, x.in.b = x.src(1, bits32), x.src(2, bits32)
	x.in.regs = []int32{x.src(3, bits32)}
	x.members(4)
	x.in.run = shuffles
}

func shuffles(w *warp, in *inst, m uint32) {
	a, b, c := w.r32[in.a], &w.r32[in.b], &w.r32[in.regs[0]]
	d, members := &w.r32[in.d], &w.r32[in.c]
	var inside uint32
	for l := range lanes {
		if m>>l&1 == 0 {
			continue
		}
		segment, clamp := int(c[l]>>8&31), int(c[l]&31)
		most := l&segment | clamp&^segment
		least := l & segment
		n := int(b[l] & 31)
		from, valid := 0, false
		switch in.flags {
		case shuffleUp:
			from = l - n
			valid = from >= most
		case shuffleDown:
			from = l + n
			valid = from <= most
		case shuffleBfly:
			from = l ^ n
			valid = from <= most
		default:
			from = least | n&^segment
			valid = from <= most
		}
		if !valid {
			from = l
		} else {
			inside |= 1 << l
		}
		if m>>from&1 == 0 {
			w.fail(1<<l, "it takes the value of lane %d, which takes no part (the mask is %#x)", from, members[l])
			return
		}
		d[l] = a[from]
	}
	if in.e >= 0 {
		w.preds[in.e] = w.preds[in.e]&^m | inside
	}
}

// vote is all, any, uni and ballot (PTX ISA, "vote.sync").
func (x *build) vote() {
	t := x.last()
	if !x.has("sync") || len(x.mods) != 1 {
		x.unknown()
		return
	}
	mode := x.mods[0]
	if !x.wants(3) {
		return
	}
	p, not := x.pred(1)
	x.in.a, x.in.signed = p, not
	x.members(2)
	switch {
	case mode == "ballot" && t == "b32":
		x.in.d = x.dst(0, bits32)
		x.in.run = func(w *warp, in *inst, m uint32) {
			for l := range lanes {
				if m>>l&1 != 0 {
					w.r32[in.d][l] = w.votes(in) & m
				}
			}
		}
		return
	case t != "pred" || mode != "all" && mode != "any" && mode != "uni":
		x.unknown()
	}
	x.in.d = x.dst(0, predicate)
	x.in.run = func(w *warp, in *inst, m uint32) {
		v := w.votes(in) & m
		held := v == m
		switch mode {
		case "any":
			held = v != 0
		case "uni":
			held = v == m || v == 0
		}
		w.preds[in.d] &^= m
		if held {
			w.preds[in.d] |= m
		}
	}
}

func (w *warp) votes(in *inst) uint32 {
	if in.signed {
		return ^w.preds[in.a]
	}
	return w.preds[in.a]
}

// redux joins an integer of all lanes of the mask (PTX ISA, "redux.sync").
func (x *build) redux() {
	name := x.last()
	if !x.has("sync") || len(x.mods) != 1 {
		x.unknown()
		return
	}
	var f func(a, b uint32) uint32
	switch x.mods[0] + "." + name {
	case "add.s32", "add.u32":
		f = func(a, b uint32) uint32 { return a + b }
	case "min.s32":
		f = func(a, b uint32) uint32 { return uint32(min(int32(a), int32(b))) }
	case "max.s32":
		f = func(a, b uint32) uint32 { return uint32(max(int32(a), int32(b))) }
	case "min.u32":
		f = func(a, b uint32) uint32 { return min(a, b) }
	case "max.u32":
		f = func(a, b uint32) uint32 { return max(a, b) }
	case "and.b32":
		f = func(a, b uint32) uint32 { return a & b }
	case "or.b32":
		f = func(a, b uint32) uint32 { return a | b }
	case "xor.b32":
		f = func(a, b uint32) uint32 { return a ^ b }
	default:
		x.unknown()
		return
	}
	if !x.wants(3) {
		return
	}
	x.in.d, x.in.a = x.dst(0, bits32), x.src(1, bits32)
	x.members(2)
	x.in.run = func(w *warp, in *inst, m uint32) {
		first := bits.TrailingZeros32(m)
		v := w.r32[in.a][first&31]
		for l := first + 1; l < lanes; l++ {
			if m>>l&1 != 0 {
				v = f(v, w.r32[in.a][l])
			}
		}
		for l := range lanes {
			if m>>l&1 != 0 {
				w.r32[in.d][l] = v
			}
		}
	}
}

// activemask gives the lanes that are at this place now; nothing says which ones
// are.
func (x *build) activemask() {
	if !x.is("b32") || !x.wants(1) {
		x.unknown()
		return
	}
	x.in.d = x.dst(0, bits32)
	x.in.run = func(w *warp, in *inst, m uint32) {
		for l := range lanes {
			if m>>l&1 != 0 {
				w.r32[in.d][l] = m
			}
		}
	}
}
