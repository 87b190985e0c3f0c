package ptx

import (
	"fmt"

	"github.com/memc-lang/memc/ir/kernel"
)

// maxTile bounds the elements of a tile, so that 32-bit places within it and
// the byte counts of all tiles cannot overflow.
const maxTile = 1 << 26

// place is where a tile lives: Offset bytes into shared memory, or, where
// Spilled, into the CTA's slice of the scratch buffer. Rows follow each other
// without gaps.
type place struct {
	offset  int
	spilled bool
}

// places puts every tile into shared memory, and the largest ones into the
// scratch buffer where they do not all fit: largest first, the earlier of two
// of a size. It gives the bytes of both.
func places(tiles []*kernel.Tile, limit int) (at map[*kernel.Tile]place, shared, scratch int, err error) {
	at = map[*kernel.Tile]place{}
	for _, t := range tiles {
		if _, twice := at[t]; twice {
			return nil, 0, 0, fmt.Errorf("the tile %s is listed twice", t.Name)
		}
		if t.Rows < 1 || t.Cols < 1 || t.Rows > maxTile || t.Cols > maxTile/t.Rows {
			return nil, 0, 0, fmt.Errorf("the tile %s has %d x %d elements; a tile has 1 to %d", t.Name, t.Rows, t.Cols, maxTile)
		}
		if t.Elem != kernel.F32 && t.Elem != kernel.I32 && t.Elem != kernel.I64 {
			return nil, 0, 0, fmt.Errorf("the tile %s is of %s; tiles hold f32, i32 or i64", t.Name, t.Elem)
		}
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
	return at, shared, scratch, nil
}

// tileBytes is the room that a tile takes, a multiple of 128 bytes: a line of
// global memory, and once around the banks of shared memory.
func tileBytes(t *kernel.Tile) int { return (t.Rows*t.Cols*t.Elem.Size() + 127) &^ 127 }
