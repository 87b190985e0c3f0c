package kernel

import "slices"

// Touches gives the tiles that a statement, and none inside it, reads and writes;
// nil stands for a buffer.
func Touches(s Stmt) (reads, writes []*Tile) {
	tiles := func(t ...*Tile) []*Tile { return t }
	switch s := s.(type) {
	case *Load:
		if s.Gather != nil {
			return tiles(nil, s.Gather), tiles(s.Dst)
		}
		return tiles(nil), tiles(s.Dst)
	case *Store:
		return tiles(s.Src), tiles(nil)
	case *Map:
		return Refs(s.Expr), tiles(s.Dst)
	case *Dot:
		return tiles(s.A, s.B), tiles(s.Dst)
	case *Reduce:
		return tiles(s.Src), tiles(s.Dst)
	case *Transpose:
		return tiles(s.Src), tiles(s.Dst)
	case *Slice:
		return tiles(s.Src), tiles(s.Dst)
	case *Paste:
		return tiles(s.Src), tiles(s.Dst)
	}
	return nil, nil
}

// Refs lists the tiles of an expression, each once.
func Refs(v *Val) []*Tile {
	var tiles []*Tile
	seen := map[*Val]bool{}
	have := map[*Tile]bool{}
	var walk func(v *Val)
	walk = func(v *Val) {
		if seen[v] {
			return
		}
		seen[v] = true
		if v.Op == Ref && !have[v.Tile] {
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

// Has reports whether an integer expression inside v uses a variable.
func (v *Val) Has(name string) bool {
	return v.I != nil && v.I.Has(name) || slices.ContainsFunc(v.Args, func(a *Val) bool { return a.Has(name) })
}

// Each calls f for all statements of a body, those inside others behind these.
func Each(body []Stmt, f func(s Stmt)) {
	for _, s := range body {
		f(s)
		switch s := s.(type) {
		case *For:
			Each(s.Body, f)
		case *When:
			Each(s.Body, f)
		}
	}
}
