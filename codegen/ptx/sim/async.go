package sim

import "bytes"

// cp.async (PTX ISA, "cp.async", "cp.async.commit_group", "cp.async.wait_group,
// cp.async.wait_all"). A copy writes shared memory at some time between its
// start and the wait of its own thread that covers its group: until then its
// destination is in flight, and whoever touches it is at fault. The wait makes
// the bytes written by that thread, for that thread; others read them behind a
// barrier that follows the wait. What is copied must not change meanwhile.

// copies is what a lane has started and not waited for.
type copies struct {
	group   int // the number of the open group: how many have been committed
	pending []transfer
}

type transfer struct {
	group int
	to    int    // in shared memory
	size  int    // bytes there; those behind the source's are 0
	src   []byte // the source itself, as long as is read of it
	data  [16]byte
	inst  int32
}

func (x *build) cp() {
	if !x.has("async") {
		x.unknown()
		return
	}
	switch {
	case x.is("commit_group"):
		x.mods = nil
		if x.wants(0) {
			x.in.run = commits
		}
		return
	case x.is("wait_all"):
		x.mods = nil
		if x.wants(0) {
			x.in.run = func(w *warp, in *inst, m uint32) {
				commits(w, in, m)
				w.wait(0, m)
			}
		}
		return
	case x.is("wait_group"):
		x.mods = nil
		if !x.wants(1) {
			return
		}
		o := x.ops[0]
		if o.kind != isInt || o.value > 1<<20 {
			x.fail("%s is no number of groups", o.text)
		}
		x.in.plus = int64(o.value)
		x.in.run = func(w *warp, in *inst, m uint32) { w.wait(int(in.plus), m) }
		return
	}
	ca, cg := x.has("ca"), x.has("cg")
	shared := x.has("shared") || x.has("shared::cta")
	global := x.has("global")
	x.drop("L2::64B", "L2::128B", "L2::256B")
	x.plain()
	if ca == cg || !shared || !global {
		x.unknown()
	}
	if n := len(x.ops); n != 3 && n != 4 {
		x.fail("it takes 3 or 4 operands, not %d", n)
		return
	}
	o := x.ops[2]
	x.in.size = int(min(o.value, 1<<20))
	if o.kind != isInt || x.in.size != 16 && (cg || x.in.size != 4 && x.in.size != 8) {
		x.fail("%s bytes cannot be copied so", o.text)
	}
	dst, wideDst, plusDst := x.place(0)
	x.in.d, x.in.long, x.in.regs = dst, wideDst, []int32{int32(plusDst)}
	x.memory(1)
	if !x.in.wide {
		x.fail("the source's address has 64 bits")
	}
	x.in.b, x.in.e = -1, -1
	if len(x.ops) == 4 {
		if last := x.ops[3]; last.kind == isReg && last.reg.class == predicate {
			x.in.e, x.in.signed = x.pred(3)
		} else {
			x.in.b = x.src(3, bits32)
		}
	}
	x.in.run = startsCopy
}

// startsCopy runs cp.async: operand 3 is the number of bytes that are read (the
// rest is 0), or a predicate that says to read none.
func startsCopy(w *warp, in *inst, m uint32) {
	reads := m
	for l := range lanes {
		if in.b >= 0 && w.r32[in.b][l] == 0 || in.e >= 0 && (w.preds[in.e]>>l&1 != 0) != in.signed {
			reads &^= 1 << l
		}
	}
	w.counted(in, 0, reads, in.size, func(l int) uint64 { return w.addressOf(in, in.a, l) })
	w.counted(in, toShared|copied, m, in.size, func(l int) uint64 { return w.copiesTo(in, l) })
	for l := range lanes {
		if m>>l&1 == 0 {
			continue
		}
		to, err := w.locate(toShared, w.copiesTo(in, l), in.size)
		if err != nil {
			w.fail(1<<l, "%w", err)
			return
		}
		n := in.size
		if in.b >= 0 {
			if n = int(w.r32[in.b][l]); n > in.size {
				w.fail(1<<l, "it is to read %d bytes of %d", n, in.size)
				return
			}
		}
		if in.e >= 0 && (w.preds[in.e]>>l&1 != 0) != in.signed {
			n = 0
		}
		t := transfer{group: w.copies[l].group, to: to.off, size: in.size, inst: int32(w.at)}
		if from := w.addressOf(in, in.a, l); n > 0 {
			if from%uint64(in.size) != 0 {
				w.fail(1<<l, "the source's address %#x is not aligned for %d bytes", from, in.size)
				return
			}
			seg, off, err := w.cta.Memory.find(from, n)
			if err == nil {
				t.src = seg.data[off : off+n]
				copy(t.data[:], t.src)
				err = w.touch(spot{seg, t.src, off}, l, 1<<l, false)
			}
			if err != nil {
				w.fail(1<<l, "%w", err)
				return
			}
		}
		if err := w.touch(to, l, 1<<l, true); err != nil {
			w.fail(1<<l, "%w", err)
			return
		}
		for o := 0; o < in.size; o += 4 {
			w.cta.seen.cell(to.off + o).inFlight = true
		}
		w.copies[l].pending = append(w.copies[l].pending, t)
	}
}

// copiesTo is where a lane's cp.async writes.
func (w *warp) copiesTo(in *inst, l int) uint64 {
	if in.long {
		return w.r64[in.d][l] + uint64(int64(in.regs[0]))
	}
	return uint64(int64(w.r32[in.d][l]) + int64(in.regs[0]))
}

func commits(w *warp, _ *inst, m uint32) {
	for l := range lanes {
		if m>>l&1 != 0 {
			w.copies[l].group++
		}
	}
}

// wait ends all committed copies of some lanes but those of their last groups.
func (w *warp) wait(last int, m uint32) {
	for l := range lanes {
		if m>>l&1 == 0 {
			continue
		}
		c := &w.copies[l]
		left := c.pending[:0]
		for _, t := range c.pending {
			if t.group >= c.group-last {
				left = append(left, t)
				continue
			}
			if !bytes.Equal(t.src, t.data[:len(t.src)]) {
				w.fail(1<<l, "what line %d copies has changed before this wait", w.lineOf(t.inst))
				return
			}
			copy(w.cta.shared[t.to:t.to+t.size], t.data[:t.size])
			for o := 0; o < t.size; o += 4 {
				cell := w.cta.seen.cell(t.to + o)
				cell.inFlight, cell.wEpoch = false, w.clock.now
			}
		}
		c.pending = left
	}
}
