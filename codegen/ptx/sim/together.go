package sim

import (
	"math/bits"
	"slices"
)

// together runs an instruction that lanes must do together; false says that the
// split has no next instruction now.
func (w *warp) together(in *inst, i int) bool {
	s := &w.splits[i]
	switch in.kind {
	case gathers:
		if s.mask != allLanes {
			w.fail(s.mask, "a whole warp must come here together, and the lanes %#x do", s.mask)
			return false
		}
		if !w.do(in, s.mask) {
			return false
		}
		s.pc++
		return true
	case barriers:
		if s.mask != w.live {
			w.fail(s.mask, "all threads of a warp must come to a barrier together, and the lanes %#x of %#x do", s.mask, w.live)
			return false
		}
		w.do(in, s.mask) // which advances, now or when the barrier opens
		return w.err == nil && w.waits < 0
	}
	return w.meet(in, i)
}

// meet runs an instruction with a member mask (in.c) for each set of lanes that
// is complete; the others wait (PTX ISA, "bar.warp.sync", "shfl.sync").
func (w *warp) meet(in *inst, i int) bool {
	s := &w.splits[i]
	pc, all := s.pc, s.mask
	members := &w.r32[in.c]
	var done, left, freed uint32
	for rest := all; rest != 0; {
		named := members[bits.TrailingZeros32(rest)]
		var group uint32
		for l := range members {
			if rest>>l&1 != 0 && members[l] == named {
				group |= 1 << l
			}
		}
		rest &^= group
		if alien := group &^ named; alien != 0 {
			w.fail(alien, "its mask is %#x, which does not name the lane itself", named)
			return false
		}
		have := group
		if in.run == nil {
			have |= w.waitingFor(named)
		}
		if need := named & w.live; have&need != need {
			left |= group
			continue
		}
		done |= group
		if in.run != nil {
			if !w.do(in, group) {
				return false
			}
			continue
		}
		w.clock.meet(named, w.exist)
		freed |= have &^ group
	}
	if left == 0 && freed == 0 {
		s.pc++
		return true
	}
	s.mask, s.parked = left, true
	w.splits = append(w.splits, split{pc: pc + 1, mask: done})
	for j := range w.splits {
		if p := &w.splits[j]; p.parked && p.mask&freed != 0 {
			w.splits = append(w.splits, split{pc: p.pc + 1, mask: p.mask & freed})
			w.splits[j].mask &^= freed
		}
	}
	w.splits = slices.DeleteFunc(w.splits, func(s split) bool { return s.mask == 0 })
	return false
}

// waitingFor gives the lanes that wait at any bar.warp.sync of a mask.
func (w *warp) waitingFor(named uint32) uint32 {
	var have uint32
	for _, s := range w.splits {
		in := &w.code[s.pc]
		if !s.parked || in.kind != meets || in.run != nil {
			continue
		}
		for l := range uint32(lanes) {
			if s.mask>>l&1 != 0 && w.r32[in.c][l] == named {
				have |= 1 << l
			}
		}
	}
	return have
}

// barrier is one of a CTA's 16.
type barrier struct {
	expects int      // warps
	arrived int      // of them
	waiting []*warp  // those that bar.sync has stopped
	known   []uint32 // what those that arrived knew
}

// arrive takes a warp to a barrier (PTX ISA, "bar, barrier": a warp counts as a
// whole), and opens it for the warps that wait there when all have come.
func arrive(w *warp, in *inst, m uint32) {
	c := w.cta
	id, ok := w.uniform(in.a, m)
	if !ok || id >= uint32(len(c.bars)) {
		w.fail(m, "the barrier's number is %d, and there are %d", id, len(c.bars))
		return
	}
	count := uint32(len(c.warps) * lanes)
	if in.b >= 0 {
		if count, ok = w.uniform(in.b, m); !ok || count == 0 || count%lanes != 0 || count > uint32(len(c.warps)*lanes) {
			w.fail(m, "%d threads are to meet, which must be a multiple of %d and no more than the CTA has", count, lanes)
			return
		}
	}
	b, stops := &c.bars[id], in.flags == 0
	if b.arrived == 0 {
		b.expects = int(count / lanes)
		b.known = append(b.known[:0], w.clock.known...)
	}
	if b.expects != int(count/lanes) {
		w.fail(m, "%d threads are to meet at barrier %d, and others said %d", count, id, b.expects*lanes)
		return
	}
	for i, e := range w.clock.known {
		b.known[i] = max(b.known[i], e)
	}
	w.clock.now++
	b.known[w.number] = w.clock.now
	b.arrived++
	w.splits[0].pc++
	if stops {
		w.waits = int(id)
		b.waiting = append(b.waiting, w)
	}
	if b.arrived < b.expects {
		return
	}
	for _, o := range b.waiting {
		o.waits = -1
		copy(o.clock.known, b.known)
		o.clock.base, o.clock.lane = o.clock.now, nil
	}
	b.arrived, b.waiting = 0, b.waiting[:0]
}

// uniform reads a register that must be the same in all lanes of a mask.
func (w *warp) uniform(reg int32, m uint32) (uint32, bool) {
	r := &w.r32[reg]
	first := r[bits.TrailingZeros32(m)&(lanes-1)]
	for l, v := range r {
		if m>>l&1 != 0 && v != first {
			return v, false
		}
	}
	return first, true
}
