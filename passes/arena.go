package passes

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/plan"
)

// arena places an entry's buffers, those from first on, in memory: buffers whose
// lives do not overlap may share it. A buffer that a loop uses, or what stands
// beside it, lives through the whole of that. Entries share the arena, since one call runs at a time.
func (lw *lowerer) arena(e *plan.Entry, first int) {
	type life struct{ from, to int }
	lives := map[int]*life{}
	clock := 0
	touch := func(buf, from, to int) {
		l := lives[buf]
		if l == nil {
			lives[buf] = &life{from, to}
			return
		}
		l.from, l.to = min(l.from, from), max(l.to, to)
	}
	var walk func(steps []plan.Step) map[int]bool
	walk = func(steps []plan.Step) map[int]bool {
		used := map[int]bool{}
		for _, s := range steps {
			clock++
			switch s.Kind {
			case plan.Launch:
				for _, b := range s.Bufs {
					touch(b, clock, clock)
					used[b] = true
				}
			default:
				from := clock
				inner := walk(s.Steps)
				clock++
				for b := range inner {
					if s.Kind != plan.If {
						touch(b, from, clock)
					}
					used[b] = true
				}
			}
		}
		return used
	}
	walk(e.Steps)
	type region struct {
		buf      int
		from, to int
	}
	var all []region
	for b := first; b < len(lw.plan.Buffers); b++ {
		pb := &lw.plan.Buffers[b]
		switch pb.Class {
		case plan.Input, plan.Output, plan.Probe:
			all = append(all, region{b, 0, math.MaxInt})
		case plan.Temp:
			if l := lives[b]; l != nil {
				all = append(all, region{b, l.from, l.to})
			} else {
				all = append(all, region{b, 0, 0})
			}
		}
	}
	// Largest first: small buffers then fill the gaps.
	slices.SortStableFunc(all, func(a, b region) int {
		return int(lw.plan.Buffers[b.buf].Bytes - lw.plan.Buffers[a.buf].Bytes)
	})
	const align, slack = 64, 64
	var placed []region
	for _, r := range all {
		size := (lw.plan.Buffers[r.buf].Bytes + slack + align - 1) / align * align
		at := int64(0)
		for moved := true; moved; {
			moved = false
			for _, p := range placed {
				if p.from > r.to || r.from > p.to {
					continue
				}
				pb := lw.plan.Buffers[p.buf]
				end := (pb.Offset + pb.Bytes + slack + align - 1) / align * align
				if at < end && pb.Offset < at+size {
					at, moved = end, true
				}
			}
		}
		lw.plan.Buffers[r.buf].Offset = at
		lw.plan.Arena = max(lw.plan.Arena, at+size)
		placed = append(placed, r)
	}
}

// tableBytes lays constant data out as memory holds it.
func tableBytes(e elem.Type, a ir.Attr) []byte {
	var out []byte
	put := func(v float64, i int64) {
		switch e {
		case elem.I64:
			out = binary.LittleEndian.AppendUint64(out, uint64(i))
		case elem.I32:
			out = binary.LittleEndian.AppendUint32(out, uint32(int32(i)))
		default:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		}
	}
	for _, i := range a.Ints {
		put(float64(i), i)
	}
	for _, f := range a.Floats {
		put(f, int64(f))
	}
	return out
}
