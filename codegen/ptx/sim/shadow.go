package sim

import "fmt"

// Races are found by what is ordered, not by what happened to run first (PTX
// ISA, "Memory Consistency Model"): two accesses of one byte by different
// threads, one of them a write, must be ordered by a barrier that both threads
// take part in, or by a chain of such. What orders is bar.sync (barrier.sync)
// for the threads of its warps, and bar.warp.sync for the lanes of its mask.
// shfl.sync, vote.sync, redux.sync, mma.sync and ldmatrix make threads wait for
// each other too, but the ISA gives none of them an effect on memory; a fence
// orders one thread's own accesses only.
//
// Time is counted in epochs: a warp's epoch ends with each barrier that it
// takes part in. They grow from CTA to CTA and from launch to launch, so that
// nothing is cleared between them.

// clock is what a warp knows of the order of things.
type clock struct {
	now   uint32   // the warp's epoch
	base  uint32   // what any lane of the warp did before this epoch, all lanes know
	known []uint32 // by warp: what its lanes did before this epoch, all lanes of this warp know
	// Where barriers of some lanes alone have passed since base: lane j has
	// done what lane i knows in all epochs before lane[i][j].
	lane *[lanes][lanes]uint32
}

// meet is a bar.warp.sync of some lanes.
func (c *clock) meet(mask, exist uint32) {
	c.now++
	if mask&exist == exist {
		c.base, c.lane = c.now, nil
		return
	}
	if c.lane == nil {
		c.lane = &[lanes][lanes]uint32{}
	}
	var joint [lanes]uint32
	for i := range joint {
		if mask>>i&1 != 0 {
			for j := range joint {
				joint[j] = max(joint[j], c.lane[i][j])
			}
		}
	}
	for i := range joint {
		if mask>>i&1 != 0 {
			joint[i] = c.now
		}
	}
	for i := range joint {
		if mask>>i&1 != 0 {
			c.lane[i] = joint
		}
	}
}

// everyone is the lane of what a warp does as one (stmatrix, ldmatrix).
const everyone = lanes

// cell is what is known of one word, or of one byte, of memory.
type cell struct {
	wEpoch, rEpoch uint32 // of the last write, and of the last reads; 0: none
	rMask          uint32 // the lanes that read then
	other          uint32 // the last epoch in which a CTA before that of rEpoch read
	still          uint32 // the last epoch in which ld.global.nc read
	wLine          int32
	quad           int32 // of a word whose bytes differ: its place in quads, plus 1
	more           int32 // older reads that are not ordered before the last ones: their place in lists, plus 1
	wWarp, wLane   uint8
	rWarp          uint8
	inFlight       bool // the write is a cp.async that nobody has waited for
}

// reading is an older read.
type reading struct {
	epoch, mask uint32
	warp        uint8
}

// shadow is the cells of a piece of memory.
type shadow struct {
	pages  [][]cell // of pageBytes each; nil: untouched
	quads  [][4]cell
	spare  []int32 // quads that are free
	lists  [][]reading
	shared bool // memory is new in each CTA
}

const pageBytes = 4096

func (s *shadow) cell(off int) *cell {
	p := off / pageBytes
	for p >= len(s.pages) {
		s.pages = append(s.pages, nil)
	}
	if s.pages[p] == nil {
		s.pages[p] = make([]cell, pageBytes/4)
	}
	return &s.pages[p][off%pageBytes/4]
}

// view is who looks at cells: a lane of a warp, in a CTA that began with the
// epoch start, in a launch that began with the epoch launch.
type view struct {
	*clock
	warp, lane    int
	mask          uint32 // the lanes that read the same; the lane's own for a write
	start, launch uint32
	line          int32
}

// ordered tells whether what a lane did in an epoch of this CTA lies before
// what this lane does now.
func (v *view) ordered(warp, lane uint8, epoch uint32) bool {
	switch {
	case int(warp) != v.warp:
		return epoch < v.known[warp]
	case epoch < v.base || int(lane) == v.lane && lane != everyone:
		return true
	}
	return v.clock.lane != nil && lane != everyone && v.lane != everyone && epoch < v.clock.lane[v.lane][lane]
}

// allOrdered is ordered for reads by several lanes.
func (v *view) allOrdered(warp uint8, mask, epoch uint32) bool {
	if int(warp) != v.warp {
		return epoch < v.known[warp]
	}
	if epoch < v.base || v.lane != everyone && mask == 1<<v.lane {
		return true
	}
	for i := range uint8(lanes) {
		if mask>>i&1 != 0 && !v.ordered(warp, i, epoch) {
			return false
		}
	}
	return true
}

// problem is what is wrong with an access of a cell.
type problem uint8

const (
	fine problem = iota
	isUnwritten
	isInFlight
	racesWrite
	racesRead
	otherWrote
	otherRead
	notStill
)

// say explains a problem with the byte off.
func (p problem) say(c *cell, off int, line func(int32) int) error {
	writer := fmt.Sprintf("thread %d", int(c.wWarp)*lanes+int(c.wLane))
	if c.wLane == everyone {
		writer = fmt.Sprintf("warp %d", c.wWarp)
	}
	switch p {
	case isUnwritten:
		return fmt.Errorf("shared byte %d has not been written", off)
	case isInFlight:
		return fmt.Errorf("byte %d is in flight: %s copies to it in line %d and has not waited for that", off, writer, line(c.wLine))
	case racesWrite:
		return fmt.Errorf("race: byte %d, which %s wrote in line %d with no barrier between", off, writer, line(c.wLine))
	case racesRead:
		return fmt.Errorf("race: it writes byte %d, which another thread of warp %d read with no barrier between", off, c.rWarp)
	case otherWrote:
		return fmt.Errorf("race: byte %d, which another CTA of the launch wrote in line %d", off, line(c.wLine))
	case otherRead:
		return fmt.Errorf("race: it writes byte %d, which another CTA of the launch reads", off)
	case notStill:
		return fmt.Errorf("byte %d is read with ld.global.nc and written in the same launch", off)
	}
	return nil
}

// read notes that the lanes of v.mask read a cell.
func (s *shadow) read(c *cell, v *view) problem {
	switch {
	case c.wEpoch >= v.start:
		if c.inFlight {
			return isInFlight
		}
		if !v.ordered(c.wWarp, c.wLane, c.wEpoch) {
			return racesWrite
		}
	case s.shared:
		return isUnwritten
	case c.wEpoch >= v.launch:
		return otherWrote
	}
	if c.rEpoch == v.now && int(c.rWarp) == v.warp {
		c.rMask |= v.mask
		return fine
	}
	switch {
	case c.rEpoch < v.start:
		if c.rEpoch >= v.launch {
			c.other = c.rEpoch
		}
		s.forget(c)
	case v.allOrdered(c.rWarp, c.rMask, c.rEpoch) && c.more == 0:
		// Whoever comes after this read comes after those before it.
	default:
		s.keep(c, v)
	}
	c.rEpoch, c.rMask, c.rWarp = v.now, v.mask, uint8(v.warp)
	return fine
}

// keep puts a cell's last reads on its list of older ones, and takes from the
// list what is ordered before this access.
func (s *shadow) keep(c *cell, v *view) {
	if c.more == 0 {
		s.lists = append(s.lists, make([]reading, 0, 4))
		c.more = int32(len(s.lists))
	}
	list := append(s.lists[c.more-1], reading{c.rEpoch, c.rMask, c.rWarp})
	n := 0
	for _, r := range list {
		if r.epoch >= v.start && !v.allOrdered(r.warp, r.mask, r.epoch) {
			list[n] = r
			n++
		}
	}
	s.lists[c.more-1] = list[:n]
}

// forget drops the list of older reads.
func (s *shadow) forget(c *cell) {
	if c.more != 0 {
		s.lists[c.more-1] = s.lists[c.more-1][:0]
	}
}

// write notes that v's lane writes a cell.
func (s *shadow) write(c *cell, v *view) problem {
	if c.wEpoch >= v.start {
		if c.inFlight {
			return isInFlight
		}
		if !v.ordered(c.wWarp, c.wLane, c.wEpoch) {
			return racesWrite
		}
	} else if !s.shared && c.wEpoch >= v.launch {
		return otherWrote
	}
	switch {
	case c.rEpoch >= v.start:
		if !v.allOrdered(c.rWarp, c.rMask, c.rEpoch) {
			return racesRead
		}
		if c.more != 0 {
			for _, r := range s.lists[c.more-1] {
				if r.epoch >= v.start && !v.allOrdered(r.warp, r.mask, r.epoch) {
					c.rWarp = r.warp
					return racesRead
				}
			}
		}
	case !s.shared && c.rEpoch >= v.launch:
		return otherRead
	}
	if !s.shared {
		if c.other >= v.launch {
			return otherRead
		}
		if c.still >= v.launch {
			return notStill
		}
	}
	s.forget(c)
	c.rEpoch = 0
	c.wEpoch, c.wWarp, c.wLane, c.wLine, c.inFlight = v.now, uint8(v.warp), uint8(v.lane), v.line, false
	return fine
}

// touch notes an access of one cell.
func (s *shadow) touch(c *cell, v *view, write bool) problem {
	if write {
		return s.write(c, v)
	}
	return s.read(c, v)
}

// use notes an access of bytes off ... off+size-1 and explains what is wrong
// with it.
func (s *shadow) use(off, size int, v *view, write bool, line func(int32) int) error {
	for end := off + size; off < end; {
		c := s.cell(off)
		word := off%4 == 0 && end-off >= 4
		if c.quad == 0 && word {
			if p := s.touch(c, v, write); p != fine {
				return p.say(c, off, line)
			}
			off += 4
			continue
		}
		if c.quad == 0 {
			s.part(c)
		}
		upTo := min(end, off&^3+4)
		q := &s.quads[c.quad-1]
		for ; off < upTo; off++ {
			if p := s.touch(&q[off%4], v, write); p != fine {
				return p.say(&q[off%4], off, line)
			}
		}
		if word && write {
			s.join(c)
		}
	}
	return nil
}

// part gives a word's bytes cells of their own.
func (s *shadow) part(c *cell) {
	n := len(s.spare)
	if n > 0 {
		c.quad = s.spare[n-1]
		s.spare = s.spare[:n-1]
	} else {
		s.quads = append(s.quads, [4]cell{})
		c.quad = int32(len(s.quads))
	}
	one := *c
	one.quad, one.more = 0, 0
	q := &s.quads[c.quad-1]
	for i := range q {
		q[i] = one
		if c.more != 0 {
			s.lists = append(s.lists, append([]reading(nil), s.lists[c.more-1]...))
			q[i].more = int32(len(s.lists))
		}
	}
}

// join makes one cell of a word whose bytes have just been written together.
func (s *shadow) join(c *cell) {
	q, list := c.quad, c.more
	*c = s.quads[q-1][0]
	c.quad, c.more = 0, list
	s.forget(c)
	s.spare = append(s.spare, q)
}
