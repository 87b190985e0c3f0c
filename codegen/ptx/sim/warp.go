package sim

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// lanes is the number of a warp's threads.
const lanes = 32

const allLanes = math.MaxUint32

// What an instruction is, apart from one that computes registers from others.
const (
	computes = iota
	branches
	ends
	meets    // lanes of a warp that its mask names come together
	gathers  // the whole warp does it together
	barriers // bar.sync and its relatives: warps come together
)

// inst is one instruction: what it does, and the registers it does it with, by
// their places among those of their size.
type inst struct {
	run     func(w *warp, in *inst, m uint32)
	kind    uint8
	guard   int32 // a predicate, -1 for none
	guardID int32
	not     bool
	uses    []int32 // registers that must have values, by id
	sets    []int32 // registers that it gives values, by id
	d, e    int32   // written
	a, b, c int32   // read
	regs    []int32 // a vector, or fragments
	target  int     // of a branch
	f1      func(a uint32) uint32
	f2      func(a, b uint32) uint32
	f3      func(a, b, c uint32) uint32
	p2      func(a, b uint32) bool
	q2      func(a, b uint64) bool
	g1      func(a uint64) uint64
	g2      func(a, b uint64) uint64
	g3      func(a, b, c uint64) uint64
	size    int   // of an access, in bytes an element
	plus    int64 // what is added to an address
	wide    bool  // the address is a register of 64 bits
	long    bool  // regs are registers of 64 bits
	signed  bool  // a load extends the sign
	flags   uint8
	line    int
	text    string
}

// split is lanes of a warp that are at one place. Where a branch divides a
// warp, the lanes that are behind go first, until all are at one place again:
// in text whose loops are contiguous that is where the paths join.
type split struct {
	pc     int
	mask   uint32
	parked bool // at an instruction that waits for other lanes
}

// warp is 32 threads in lockstep.
type warp struct {
	cta    *cta
	code   []inst
	number int
	r32    [][lanes]uint32
	r64    [][lanes]uint64
	preds  []uint32 // a bit for each lane
	set    []uint32 // by id: the lanes in which the register has a value
	exist  uint32   // the lanes that the CTA has
	live   uint32   // those that have not ended
	splits []split
	clock  clock
	copies [lanes]copies
	at     int // the instruction that runs
	waits  int // the CTA's barrier that it waits at, -1 for none
	err    error
	lane   int // whose fault err is
	eye    view
}

// fail makes a fault of a lane (of the lowest of a mask's).
func (w *warp) fail(mask uint32, format string, args ...any) {
	if w.err == nil {
		w.err, w.lane = fmt.Errorf(format, args...), bits.TrailingZeros32(mask|1<<31)
	}
}

// run runs the warp until it waits at a barrier, ends or fails.
func (w *warp) run() {
	for w.err == nil && w.waits < 0 && len(w.splits) > 0 {
		i := w.pick()
		if i < 0 {
			return
		}
		w.advance(i)
	}
}

// pick joins lanes that are at one place and gives the split that is furthest
// behind; -1 is a fault: all wait.
func (w *warp) pick() int {
	if len(w.splits) == 1 && !w.splits[0].parked {
		return 0
	}
	slices.SortStableFunc(w.splits, func(a, b split) int { return a.pc - b.pc })
	n := 0
	for _, s := range w.splits {
		switch last := n - 1; {
		case s.mask == 0:
		case n > 0 && w.splits[last].pc == s.pc:
			w.splits[last].mask |= s.mask
			w.splits[last].parked = w.splits[last].parked && s.parked
		default:
			w.splits[n] = s
			n++
		}
	}
	w.splits = w.splits[:n]
	for i, s := range w.splits {
		if !s.parked {
			return i
		}
	}
	if n > 0 {
		s := w.splits[0]
		w.at = s.pc
		w.fail(s.mask, "lanes %#x wait for lanes that never come here", s.mask)
	}
	return -1
}

// advance runs a split until another one must have its turn.
func (w *warp) advance(i int) {
	s := &w.splits[i]
	limit := math.MaxInt
	if i+1 < len(w.splits) {
		limit = w.splits[i+1].pc
	}
	alone := len(w.splits) == 1
	for s.pc < limit {
		if w.cta.steps--; w.cta.steps < 0 {
			w.fail(s.mask, "it runs for too long")
			return
		}
		w.at = s.pc
		in := &w.code[s.pc]
		m := s.mask
		if in.guard >= 0 {
			if bad := m &^ w.set[in.guardID]; bad != 0 {
				w.fail(bad, "%s has no value", w.cta.entry.file.names[in.guardID])
				return
			}
			p := w.preds[in.guard]
			if in.not {
				p = ^p
			}
			m &= p
		}
		switch in.kind {
		case computes:
			if m != 0 && !w.do(in, m) {
				return
			}
			s.pc++
		case branches:
			switch {
			case m == s.mask:
				back := in.target <= s.pc
				s.pc = in.target
				if back && !alone {
					return
				}
			case m == 0:
				s.pc++
			default:
				s.mask &^= m
				s.pc++
				w.splits = append(w.splits, split{pc: in.target, mask: m})
				return
			}
		case ends:
			if m == 0 {
				s.pc++
				break
			}
			w.live &^= m
			s.mask &^= m
			s.pc++
			for j := range w.splits {
				w.splits[j].parked = false // lanes that they wait for may have ended
			}
			if s.mask == 0 {
				w.splits = slices.Delete(w.splits, i, i+1)
				return
			}
		default:
			switch {
			case m == 0:
				s.pc++
			case m != s.mask: // the lanes whose predicate does not hold go on
				w.splits = append(w.splits, split{pc: s.pc + 1, mask: s.mask &^ m})
				w.splits[i].mask = m
				return
			case !w.together(in, i):
				return
			}
		}
	}
}

// do runs an instruction for lanes of a mask.
func (w *warp) do(in *inst, m uint32) bool {
	for _, id := range in.uses {
		if bad := m &^ w.set[id]; bad != 0 {
			w.fail(bad, "%s has no value", w.cta.entry.file.names[id])
			return false
		}
	}
	in.run(w, in, m)
	if w.err != nil {
		return false
	}
	for _, id := range in.sets {
		w.set[id] |= m
	}
	return true
}
