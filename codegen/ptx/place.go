package ptx

import "github.com/memc-lang/memc/ir/kernel"

// place is where a tile lives: Offset bytes into shared memory, or, where
// Spilled, into the CTA's slice of the scratch buffer. Rows follow each other
// without gaps.
type place struct {
	offset  int
	spilled bool
}

// places puts every tile into shared memory, and the largest ones into the
// scratch buffer where they do not all fit: largest first, the earlier of two
// of a size. It gives the bytes of both, which a displacement of 32 bits can span:
// Verify bounds the elements of all tiles.
func places(tiles []*kernel.Tile, limit int) (at map[*kernel.Tile]place, shared, scratch int) {
	at = map[*kernel.Tile]place{}
	for _, t := range tiles {
		at[t] = place{}
		shared += tileBytes(t)
	}
	for shared > limit {
		var big *kernel.Tile
		for _, t := range tiles {
			if !at[t].spilled && (big == nil || tileBytes(t) > tileBytes(big)) {
				big = t
			}
		}
		at[big] = place{spilled: true}
		shared -= tileBytes(big)
	}
	next := 0
	for _, t := range tiles {
		p := at[t]
		if p.spilled {
			p.offset, scratch = scratch, scratch+tileBytes(t)
		} else {
			p.offset, next = next, next+tileBytes(t)
		}
		at[t] = p
	}
	return at, shared, scratch
}

// tileBytes is the room that a tile takes, a multiple of 128 bytes: a line of
// global memory, and once around the banks of shared memory.
func tileBytes(t *kernel.Tile) int { return (t.Rows*t.Cols*t.Elem.Size() + 127) &^ 127 }
