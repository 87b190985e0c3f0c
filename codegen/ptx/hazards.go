package ptx

import (
	"fmt"
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
// memory, and checks that its tiles and buffers are the kernel's own and that
// no statement but a map reads the tile it writes.
func (p *printer) touches(s kernel.Stmt) (reads, writes []*kernel.Tile, err error) {
	var buf *kernel.Buf
	switch s := s.(type) {
	case *kernel.Load:
		reads, writes, buf = []*kernel.Tile{nil}, []*kernel.Tile{s.Dst}, s.Buf
		if s.Gather != nil {
			reads = append(reads, s.Gather)
		}
	case *kernel.Store:
		reads, writes, buf = []*kernel.Tile{s.Src}, []*kernel.Tile{nil}, s.Buf
		if !s.Buf.Write {
			return nil, nil, fmt.Errorf("a store to the buffer %s, which is read only", s.Buf.Name)
		}
	case *kernel.Map:
		reads, writes = refs(s.Expr), []*kernel.Tile{s.Dst}
	case *kernel.Dot:
		reads, writes = []*kernel.Tile{s.A, s.B}, []*kernel.Tile{s.Dst}
	case *kernel.Reduce:
		reads, writes = []*kernel.Tile{s.Src}, []*kernel.Tile{s.Dst}
	case *kernel.Transpose:
		reads, writes = []*kernel.Tile{s.Src}, []*kernel.Tile{s.Dst}
	case *kernel.Slice:
		reads, writes = []*kernel.Tile{s.Src}, []*kernel.Tile{s.Dst}
	case *kernel.Paste:
		reads, writes = []*kernel.Tile{s.Src}, []*kernel.Tile{s.Dst}
	default:
		return nil, nil, fmt.Errorf("a statement of the unknown type %T", s)
	}
	if buf != nil {
		if _, ours := p.bufs[buf]; !ours {
			return nil, nil, fmt.Errorf("the buffer %s is not one of the kernel's", buf.Name)
		}
	}
	for _, tiles := range [][]*kernel.Tile{reads, writes} {
		for _, t := range tiles {
			if _, ours := p.places[t]; t != nil && !ours {
				return nil, nil, fmt.Errorf("the tile %s is not one of the kernel's", t.Name)
			}
		}
	}
	if _, isMap := s.(*kernel.Map); !isMap {
		for _, t := range reads {
			if t != nil && t == writes[0] {
				return nil, nil, fmt.Errorf("%s: it reads the tile that it writes", kernel.Text(s))
			}
		}
	}
	return reads, writes, nil
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
