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

// touches gives the tiles that a statement reads and writes, nil standing for
// memory.
func touches(s kernel.Stmt) (reads, writes []*kernel.Tile) {
	tiles := func(t ...*kernel.Tile) []*kernel.Tile { return t }
	switch s := s.(type) {
	case *kernel.Load:
		if s.Gather != nil {
			return tiles(nil, s.Gather), tiles(s.Dst)
		}
		return tiles(nil), tiles(s.Dst)
	case *kernel.Store:
		return tiles(s.Src), tiles(nil)
	case *kernel.Map:
		return refs(s.Expr), tiles(s.Dst)
	case *kernel.Dot:
		return tiles(s.A, s.B), tiles(s.Dst)
	case *kernel.Reduce:
		return tiles(s.Src), tiles(s.Dst)
	case *kernel.Transpose:
		return tiles(s.Src), tiles(s.Dst)
	case *kernel.Slice:
		return tiles(s.Src), tiles(s.Dst)
	case *kernel.Paste:
		return tiles(s.Src), tiles(s.Dst)
	}
	return nil, nil
}

// refs lists the tiles of an expression, each once.
func refs(v *kernel.Val) []*kernel.Tile {
	var tiles []*kernel.Tile
	seen := map[*kernel.Val]bool{}
	have := map[*kernel.Tile]bool{}
	var walk func(v *kernel.Val)
	walk = func(v *kernel.Val) {
		if seen[v] {
			return
		}
		seen[v] = true
		if v.Op == kernel.Ref && !have[v.Tile] {
			have[v.Tile] = true
			tiles = append(tiles, v.Tile)
		}
		for _, a := range v.Args {
			walk(a)
		}
	}
	walk(v)
	return tiles
}
