package sim

// How an instruction's function is applied to the lanes of a mask. The loops
// are the simulator's inner ones; those of the commonest instructions have
// their function written out, the others call it for each lane.

func each1(w *warp, in *inst, m uint32) {
	d, a := &w.r32[in.d], &w.r32[in.a]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.f1(a[l])
		}
	}
}

func each2(w *warp, in *inst, m uint32) {
	d, a, b := &w.r32[in.d], &w.r32[in.a], &w.r32[in.b]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.f2(a[l], b[l])
		}
	}
}

func each3(w *warp, in *inst, m uint32) {
	d, a, b, c := &w.r32[in.d], &w.r32[in.a], &w.r32[in.b], &w.r32[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.f3(a[l], b[l], c[l])
		}
	}
}

func long1(w *warp, in *inst, m uint32) {
	d, a := &w.r64[in.d], &w.r64[in.a]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.g1(a[l])
		}
	}
}

func long2(w *warp, in *inst, m uint32) {
	d, a, b := &w.r64[in.d], &w.r64[in.a], &w.r64[in.b]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.g2(a[l], b[l])
		}
	}
}

func long3(w *warp, in *inst, m uint32) {
	d, a, b, c := &w.r64[in.d], &w.r64[in.a], &w.r64[in.b], &w.r64[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.g3(a[l], b[l], c[l])
		}
	}
}

// longShift has an amount of 32 bits.
func longShift(w *warp, in *inst, m uint32) {
	d, a, b := &w.r64[in.d], &w.r64[in.a], &w.r32[in.b]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.g2(a[l], uint64(b[l]))
		}
	}
}

// wide2 and wide3 make 64 bits of operands of 32; the last of three has 64.
func wide2(w *warp, in *inst, m uint32) {
	d, a, b := &w.r64[in.d], &w.r32[in.a], &w.r32[in.b]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.g2(uint64(a[l]), uint64(b[l]))
		}
	}
}

func wide3(w *warp, in *inst, m uint32) {
	d, a, b, c := &w.r64[in.d], &w.r32[in.a], &w.r32[in.b], &w.r64[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = in.g3(uint64(a[l]), uint64(b[l]), c[l])
		}
	}
}

// changes applies g1 from a register of either size (in.wide: 64) to one of
// either size (in.long).
func changes(w *warp, in *inst, m uint32) {
	for l := range lanes {
		if m>>l&1 == 0 {
			continue
		}
		var v uint64
		if in.wide {
			v = w.r64[in.a][l]
		} else {
			v = uint64(w.r32[in.a][l])
		}
		if v = in.g1(v); in.long {
			w.r64[in.d][l] = v
		} else {
			w.r32[in.d][l] = uint32(v)
		}
	}
}

func moves(w *warp, in *inst, m uint32) {
	d, a := &w.r32[in.d], &w.r32[in.a]
	if m == allLanes {
		*d = *a
		return
	}
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = a[l]
		}
	}
}

func movesLong(w *warp, in *inst, m uint32) {
	d, a := &w.r64[in.d], &w.r64[in.a]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = a[l]
		}
	}
}

func adds(w *warp, in *inst, m uint32) {
	d, a, b := &w.r32[in.d], &w.r32[in.a], &w.r32[in.b]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = a[l] + b[l]
		}
	}
}

func madds(w *warp, in *inst, m uint32) {
	d, a, b, c := &w.r32[in.d], &w.r32[in.a], &w.r32[in.b], &w.r32[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = a[l]*b[l] + c[l]
		}
	}
}

func fmas(w *warp, in *inst, m uint32) {
	d, a, b, c := &w.r32[in.d], &w.r32[in.a], &w.r32[in.b], &w.r32[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			d[l] = bitsOf(fma32(float(a[l]), float(b[l]), float(c[l])))
		}
	}
}

// chooses32 and chooses64 are selp.
func chooses32(w *warp, in *inst, m uint32) {
	d, a, b, p := &w.r32[in.d], &w.r32[in.a], &w.r32[in.b], w.preds[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			if p>>l&1 != 0 {
				d[l] = a[l]
			} else {
				d[l] = b[l]
			}
		}
	}
}

func chooses64(w *warp, in *inst, m uint32) {
	d, a, b, p := &w.r64[in.d], &w.r64[in.a], &w.r64[in.b], w.preds[in.c]
	for l := range d {
		if m>>l&1 != 0 {
			if p>>l&1 != 0 {
				d[l] = a[l]
			} else {
				d[l] = b[l]
			}
		}
	}
}

// tests32 and tests64 are setp: the comparison p2 (q2 for 64 bits), joined with
// a predicate (flags says how) and, negated, for a second result.
func tests32(w *warp, in *inst, m uint32) {
	a, b := &w.r32[in.a], &w.r32[in.b]
	var t uint32
	for l := range a {
		if m>>l&1 != 0 && in.p2(a[l], b[l]) {
			t |= 1 << l
		}
	}
	w.decide(in, m, t)
}

func tests64(w *warp, in *inst, m uint32) {
	a, b := &w.r64[in.a], &w.r64[in.b]
	var t uint32
	for l := range a {
		if m>>l&1 != 0 && in.q2(a[l], b[l]) {
			t |= 1 << l
		}
	}
	w.decide(in, m, t)
}

// How setp joins its test with a predicate.
const (
	joinsNone = iota
	joinsAnd
	joinsOr
	joinsXor
)

func (w *warp) decide(in *inst, m, t uint32) {
	not := ^t
	if in.flags != joinsNone {
		p := w.preds[in.c]
		if in.signed { // a negated one
			p = ^p
		}
		switch in.flags {
		case joinsAnd:
			t, not = t&p, not&p
		case joinsOr:
			t, not = t|p, not|p
		case joinsXor:
			t, not = t^p, not^p
		}
	}
	w.preds[in.d] = w.preds[in.d]&^m | t&m
	if in.e >= 0 {
		w.preds[in.e] = w.preds[in.e]&^m | not&m
	}
}
