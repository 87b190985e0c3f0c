package sim

import (
	"encoding/binary"
	"fmt"
)

// shared addresses in generic form (cvta.shared) lie in this window.
const sharedWindow = 1 << 62

// lineOf gives the line of an instruction, for a cell's report.
func (w *warp) lineOf(i int32) int { return w.code[i].line }

// addressOf is where a lane's access goes.
func (w *warp) addressOf(in *inst, reg int32, lane int) uint64 {
	if in.wide {
		return w.r64[reg][lane] + uint64(in.plus)
	}
	return uint64(int64(w.r32[reg][lane]) + in.plus)
}

// Flags of an access.
const (
	toShared  = 1 << iota
	toGeneric // the address says where
	still     // ld.global.nc: nothing writes there during the launch
	copied    // by cp.async
)

// spot is the memory behind an address.
type spot struct {
	seg  *segment // nil: shared
	data []byte   // the bytes of the access
	off  int      // in its piece of memory
}

// locate checks an access of size bytes and says where it goes.
func (w *warp) locate(flags uint8, at uint64, size int) (spot, error) {
	if flags&toGeneric != 0 && at>>62 == 1 {
		flags |= toShared
		at -= sharedWindow
	}
	if flags&toShared != 0 {
		if n := uint64(len(w.cta.shared)); at > n || at+uint64(size) > n {
			return spot{}, fmt.Errorf("%d bytes at shared address %d of %d", size, int64(at), n)
		}
		if at%uint64(size) != 0 {
			return spot{}, fmt.Errorf("shared address %d is not aligned for %d bytes", at, size)
		}
		return spot{nil, w.cta.shared[at : at+uint64(size)], int(at)}, nil
	}
	s, off, err := w.cta.Memory.find(at, size)
	if err != nil {
		return spot{}, err
	}
	if off%size != 0 {
		return spot{}, fmt.Errorf("byte %d of %s is not aligned for %d bytes", off, s.name, size)
	}
	return spot{s, s.data[off : off+size], off}, nil
}

// shadow is the cells of a spot's memory.
func (w *warp) shadow(p spot) *shadow {
	if p.seg == nil {
		return &w.cta.seen
	}
	return &p.seg.seen
}

// touch notes an access by the lanes of a mask, which are one lane where they
// write.
func (w *warp) touch(p spot, lane int, mask uint32, write bool) error {
	v := &w.eye
	v.lane, v.mask, v.line = lane, mask, int32(w.at)
	err := w.shadow(p).use(p.off, len(p.data), v, write, w.lineOf)
	if err != nil || p.seg == nil {
		return err
	}
	if write {
		p.seg.mark(p.off, len(p.data))
		return nil
	}
	if i := p.seg.unwritten(p.off, len(p.data)); i >= 0 {
		return fmt.Errorf("byte %d of %s has not been written", i, p.seg.name)
	}
	return nil
}

// loads runs ld: each element goes to a register of 32 bits, or one of 64.
func loads(w *warp, in *inst, m uint32) {
	size := in.size * len(in.regs)
	w.counted(in, in.flags, m, size, func(l int) uint64 { return w.addressOf(in, in.a, l) })
	var last spot
	var lastAt uint64
	var pending uint32 // lanes that read at lastAt and are not noted yet
	first := 0
	for l := range lanes {
		if m>>l&1 == 0 {
			continue
		}
		at := w.addressOf(in, in.a, l)
		if pending == 0 || at != lastAt {
			if pending != 0 && !w.noteLoad(in, last, first, pending) {
				return
			}
			p, err := w.locate(in.flags, at, size)
			if err != nil {
				w.fail(1<<l, "%w", err)
				return
			}
			last, lastAt, pending, first = p, at, 0, l
		}
		pending |= 1 << l
		for i, r := range in.regs {
			w.put(in, r, l, last.data[i*in.size:])
		}
	}
	if pending != 0 {
		w.noteLoad(in, last, first, pending)
	}
}

// noteLoad notes one place that lanes of a mask read.
func (w *warp) noteLoad(in *inst, p spot, lane int, mask uint32) bool {
	if err := w.touch(p, lane, mask, false); err != nil {
		w.fail(mask, "%w", err)
		return false
	}
	if in.flags&still != 0 && p.seg != nil {
		if err := p.seg.seen.keepStill(p.off, len(p.data), &w.eye, w.lineOf); err != nil {
			w.fail(mask, "%w", err)
			return false
		}
	}
	return true
}

// keepStill notes a read by ld.global.nc.
func (s *shadow) keepStill(off, size int, v *view, line func(int32) int) error {
	for o := off; o < off+size; o++ {
		c := s.cell(o)
		if c.quad != 0 {
			c = &s.quads[c.quad-1][o%4]
		}
		if c.wEpoch >= v.launch {
			return notStill.say(c, o, line)
		}
		c.still = v.now
	}
	return nil
}

// put gives a lane of a register an element; a register without a place (-1) is
// a sink. What is narrower than the register is extended.
func (w *warp) put(in *inst, r int32, lane int, b []byte) {
	var v uint64
	switch in.size {
	case 1:
		v = uint64(b[0])
		if in.signed {
			v = uint64(int8(b[0]))
		}
	case 2:
		u := binary.LittleEndian.Uint16(b)
		v = uint64(u)
		if in.signed {
			v = uint64(int16(u))
		}
	case 4:
		u := binary.LittleEndian.Uint32(b)
		v = uint64(u)
		if in.signed {
			v = uint64(int32(u))
		}
	default:
		v = binary.LittleEndian.Uint64(b)
	}
	switch {
	case r < 0:
	case in.long:
		w.r64[r][lane] = v
	default:
		w.r32[r][lane] = uint32(v)
	}
}

// stores runs st.
func stores(w *warp, in *inst, m uint32) {
	size := in.size * len(in.regs)
	w.counted(in, in.flags, m, size, func(l int) uint64 { return w.addressOf(in, in.a, l) })
	for l := range lanes {
		if m>>l&1 == 0 {
			continue
		}
		p, err := w.locate(in.flags, w.addressOf(in, in.a, l), size)
		if err == nil {
			err = w.touch(p, l, 1<<l, true)
		}
		if err != nil {
			w.fail(1<<l, "%w", err)
			return
		}
		for i, r := range in.regs {
			var v uint64
			if in.long {
				v = w.r64[r][l]
			} else {
				v = uint64(w.r32[r][l])
			}
			b := p.data[i*in.size:]
			switch in.size {
			case 1:
				b[0] = byte(v)
			case 2:
				binary.LittleEndian.PutUint16(b, uint16(v))
			case 4:
				binary.LittleEndian.PutUint32(b, uint32(v))
			default:
				binary.LittleEndian.PutUint64(b, v)
			}
		}
	}
}
