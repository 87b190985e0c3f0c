package sim

import "math/bits"

// Traffic is what the accesses of one instruction cost: how often the memory was
// gone to, and how often that would have been if all went well. Of shared memory
// those are passes over its 32 banks of 4 bytes: a warp's access is one for each 128
// bytes that it asks for, lanes in order, and one more for each further word that some
// bank must give in it. Lanes that read one word share it (CUDA C++ Programming Guide,
// "Shared Memory"). Of global memory they are sectors of 32 bytes, beside those that the
// bytes asked for would fill ("Device Memory Accesses").
type Traffic struct {
	Text   string // of the instruction
	Shared bool
	Times  int // a warp's accesses
	Cost   int
	Least  int
}

// Traffics counts accesses by the line of their instruction; what cp.async does to
// shared memory stands at minus its line.
type Traffics map[int]*Traffic

// counted notes an access of size bytes by the lanes of a mask.
func (w *warp) counted(in *inst, flags uint8, mask uint32, size int, at func(lane int) uint64) {
	if w.cta.Count == nil || mask == 0 {
		return
	}
	shared := flags&toShared != 0 || flags&toGeneric != 0 && at(bits.TrailingZeros32(mask))>>62 == 1
	line := in.line
	if flags&copied != 0 {
		line = -line
	}
	t := w.cta.Count[line]
	if t == nil {
		t = &Traffic{Text: in.text, Shared: shared}
		w.cta.Count[line] = t
	}
	t.Times++
	if shared {
		each := min(lanes, 128/size)
		for from := 0; from < lanes; from += each {
			words := map[uint64]bool{}
			var banks [32]int
			most := 0
			for l := from; l < from+each; l++ {
				if mask>>l&1 == 0 {
					continue
				}
				for a := at(l) &^ 3; a < at(l)+uint64(size); a += 4 {
					if !words[a] {
						words[a] = true
						banks[a/4%32]++
						most = max(most, banks[a/4%32])
					}
				}
			}
			t.Cost += most
			t.Least += min(most, 1)
		}
		return
	}
	sectors, asked := map[uint64]bool{}, map[uint64]bool{}
	for l := range lanes {
		if mask>>l&1 == 0 {
			continue
		}
		for a := at(l); a < at(l)+uint64(size); a++ {
			asked[a] = true
			sectors[a/32] = true
		}
	}
	t.Cost += len(sectors)
	t.Least += (len(asked) + 31) / 32
}
