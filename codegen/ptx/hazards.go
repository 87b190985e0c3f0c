package ptx

import (
	"maps"

	"github.com/memc-lang/memc/ir/kernel"
)

// hazards are the tiles that threads may have read or written since the last
// barrier. The nil tile stands for the buffers, all of them: two may be one
// piece of memory.
type hazards struct {
	read, written map[*kernel.Tile]bool
}

// meets reports whether a statement must wait: it reads what was written, or
// writes what was read or written.
func (h hazards) meets(reads, writes []*kernel.Tile) bool {
	for _, t := range reads {
		if h.written[t] {
			return true
		}
	}
	for _, t := range writes {
		if h.read[t] || h.written[t] {
			return true
		}
	}
	return false
}

func (h *hazards) add(reads, writes []*kernel.Tile) {
	if h.read == nil {
		h.read, h.written = map[*kernel.Tile]bool{}, map[*kernel.Tile]bool{}
	}
	for _, t := range reads {
		h.read[t] = true
	}
	for _, t := range writes {
		h.written[t] = true
	}
}

// or is what may be read or written after either of two ways.
func (h hazards) or(other hazards) hazards {
	both := hazards{map[*kernel.Tile]bool{}, map[*kernel.Tile]bool{}}
	for _, w := range []hazards{h, other} {
		maps.Copy(both.read, w.read)
		maps.Copy(both.written, w.written)
	}
	return both
}
