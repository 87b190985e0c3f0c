package ptx

import (
	"slices"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// A product whose blocks are of 128 rows and columns is slow where a call brings one
// row: few blocks, and most of what they compute is of rows that are not there. Such a
// part is therefore printed twice, and the call's rows choose: up to 16 of them run as
// blocks of 16 rows and fewer columns. Both have the same bits, as an element's sums
// depend on k alone.
const fewRows = 16

// Columns of a block of few rows: a warp has 8. Where codes let warps share a sum's
// groups there are fewer, so that there are more blocks.
const (
	fewCols   = 64
	sharedCol = 16
)

// withFew gives a kernel with another part for few rows behind each part of products
// that can be cut so.
func withFew(k *kernel.Kernel) *kernel.Kernel {
	out := *k
	out.Parts, out.Tiles = slices.Clone(k.Parts), slices.Clone(k.Tiles)
	for i, part := range k.Parts {
		f := cutter{k: k, axes: map[*kernel.Tile][2]string{}, tiles: map[*kernel.Tile]*kernel.Tile{}}
		few, rows, ok := f.cut(part)
		if !ok {
			continue
		}
		is := ints.Bin(ints.Le, rows.Extent, ints.C(fewRows))
		at := func(p kernel.Part, when *ints.Expr) kernel.Part {
			p.Grid = slices.Clone(p.Grid)
			for j, a := range p.Grid {
				if a.Var == rows.Var {
					p.Grid[j].Extent = ints.If(when, a.Extent, ints.C(0))
				}
			}
			return p
		}
		out.Parts[i] = at(part, ints.No(is))
		out.Parts = append(out.Parts, at(few, is))
		for _, t := range k.Tiles {
			if n := f.tiles[t]; n != nil {
				out.Tiles = append(out.Tiles, n)
			}
		}
	}
	if len(out.Parts) == len(k.Parts) || len(out.Verify()) > 0 {
		return k
	}
	return &out
}

// cutter makes a part of smaller blocks. axes are the axes of the grid that a tile's
// rows and columns go along, where they do.
type cutter struct {
	k     *kernel.Kernel
	axes  map[*kernel.Tile][2]string
	tiles map[*kernel.Tile]*kernel.Tile
	steps map[string][2]int // of an axis: what it was, and what it becomes
}

// cut gives the part, and the axis of its rows as it was. Its statements are loads,
// stores, maps and products alone.
func (f *cutter) cut(part kernel.Part) (few kernel.Part, rows kernel.Axis, ok bool) {
	var dots []*kernel.Dot
	for _, s := range part.Body {
		switch s := s.(type) {
		case *kernel.Load, *kernel.Store, *kernel.Map:
		case *kernel.Dot:
			if !tensor(s) || s.TransA {
				return few, rows, false
			}
			dots = append(dots, s)
		default:
			return few, rows, false
		}
	}
	if len(dots) == 0 || !f.follow(part) {
		return few, rows, false
	}
	axis := func(name string) (kernel.Axis, bool) {
		i := slices.IndexFunc(part.Grid, func(a kernel.Axis) bool { return a.Var == name })
		if i < 0 {
			return kernel.Axis{}, false
		}
		return part.Grid[i], true
	}
	along := f.axes[dots[0].Dst]
	rows, ok = axis(along[0])
	if !ok || rows.Step <= fewRows {
		return few, rows, false
	}
	if _, known := rows.Extent.IsConst(); known {
		return few, rows, false
	}
	f.steps = map[string][2]int{rows.Var: {rows.Step, fewRows}}
	width := sharedCol
	for _, d := range dots {
		if f.axes[d.Dst] != along || f.axes[d.A] != [2]string{along[0], ""} {
			return few, rows, false
		}
		if !f.shares(d) {
			width = fewCols
		}
	}
	if cols, ok := axis(along[1]); ok && cols.Step > width && cols.Step%width == 0 {
		f.steps[cols.Var] = [2]int{cols.Step, width}
	} else if width == fewCols && dots[0].Dst.Cols < fewCols {
		return few, rows, false // most warps would have no columns
	}
	few.Grid = slices.Clone(part.Grid)
	for i, a := range few.Grid {
		if s, ok := f.steps[a.Var]; ok {
			few.Grid[i].Step = s[1]
		}
	}
	for _, s := range part.Body {
		few.Body = append(few.Body, f.statement(s))
	}
	return few, rows, f.narrowed()
}

// shares reports whether warps may share the groups of a product's codes.
func (f *cutter) shares(d *kernel.Dot) bool {
	return slices.ContainsFunc(f.k.Parts, func(p kernel.Part) bool {
		return slices.ContainsFunc(p.Body, func(s kernel.Stmt) bool {
			l, ok := s.(*kernel.Load)
			if !ok || l.Dst != d.B || !d.B.Elem.Float() {
				return false
			}
			_, coded := codesOf(l, stepsOf(f.k))
			return coded && sharable(d)
		})
	})
}

// follow finds which axes tiles go along, from the elements that loads and stores
// name; false where something else looks at where a block is.
func (f *cutter) follow(part kernel.Part) bool {
	vars := []string{kernel.Row, kernel.Col}
	ok, again := true, true
	set := func(t *kernel.Tile, dim int, axis string) {
		have := f.axes[t]
		if axis == "" || have[dim] == axis {
			return
		}
		ok = ok && have[dim] == ""
		have[dim] = axis
		f.axes[t], again = have, true
	}
	join := func(a *kernel.Tile, i int, b *kernel.Tile, j int) {
		set(a, i, f.axes[b][j])
		set(b, j, f.axes[a][i])
	}
	access := func(t *kernel.Tile, idx []*ints.Expr) {
		for _, e := range idx {
			for _, a := range part.Grid {
				if a.Step == 1 || !e.Has(a.Var) {
					continue
				}
				c, rest, linear := e.Coeff(a.Var)
				found := false
				if !linear || c != 1 {
					ok = false
					continue
				}
				for dim, v := range vars {
					if n, _, alone := rest.Coeff(v); alone && n == 1 {
						found = true
						set(t, dim, a.Var)
					}
				}
				ok = ok && found
			}
		}
	}
	for again && ok {
		again = false
		for _, s := range part.Body {
			switch s := s.(type) {
			case *kernel.Load:
				ok = ok && s.Gather == nil
				access(s.Dst, s.Idx)
			case *kernel.Store:
				access(s.Src, s.Idx)
			case *kernel.Map:
				for _, t := range kernel.Refs(s.Expr) {
					if t.Rows == s.Dst.Rows {
						join(s.Dst, 0, t, 0)
					}
					if t.Cols == s.Dst.Cols {
						join(s.Dst, 1, t, 1)
					}
				}
				ok = ok && !places(s.Expr, part.Grid)
			case *kernel.Dot:
				join(s.Dst, 0, s.A, 0)
				n := 1
				if s.TransB {
					n = 0
				}
				join(s.Dst, 1, s.B, n)
			}
		}
	}
	return ok
}

// places reports whether an expression names an axis.
func places(v *kernel.Val, grid []kernel.Axis) bool {
	if v.I != nil && slices.ContainsFunc(grid, func(a kernel.Axis) bool { return v.I.Has(a.Var) }) {
		return true
	}
	return slices.ContainsFunc(v.Args, func(a *kernel.Val) bool { return places(a, grid) })
}

// tile is the smaller tile that stands for one.
func (f *cutter) tile(t *kernel.Tile) *kernel.Tile {
	if t == nil {
		return nil
	}
	if n, ok := f.tiles[t]; ok {
		return n
	}
	n := *t
	n.Name += "_few"
	along := f.axes[t]
	n.Rows, n.ValidRows = f.size(t.Rows, t.ValidRows, along[0])
	n.Cols, n.ValidCols = f.size(t.Cols, t.ValidCols, along[1])
	f.tiles[t] = &n
	return &n
}

func (f *cutter) size(n int, valid *ints.Expr, axis string) (int, *ints.Expr) {
	s, ok := f.steps[axis]
	if !ok || n != s[0] {
		return n, valid
	}
	if valid == nil {
		return s[1], nil
	}
	// min(128, n - i) becomes min(16, n - i).
	return s[1], ints.Least(ints.C(int64(s[1])), valid)
}

// narrowed reports whether every tile that goes along an axis has become smaller
// with it.
func (f *cutter) narrowed() bool {
	for t := range f.tiles {
		for dim, n := range []int{t.Rows, t.Cols} {
			if s, ok := f.steps[f.axes[t][dim]]; ok && n != s[0] {
				return false
			}
		}
	}
	return true
}

func (f *cutter) statement(s kernel.Stmt) kernel.Stmt {
	switch s := s.(type) {
	case *kernel.Load:
		n := *s
		n.Dst = f.tile(s.Dst)
		return &n
	case *kernel.Store:
		n := *s
		n.Src = f.tile(s.Src)
		return &n
	case *kernel.Map:
		n := *s
		n.Dst, n.Expr = f.tile(s.Dst), f.value(s.Expr, map[*kernel.Val]*kernel.Val{})
		return &n
	case *kernel.Dot:
		n := *s
		n.Dst, n.A, n.B = f.tile(s.Dst), f.tile(s.A), f.tile(s.B)
		return &n
	}
	return s
}

// value is an expression over the smaller tiles; what occurs twice stays one.
func (f *cutter) value(v *kernel.Val, known map[*kernel.Val]*kernel.Val) *kernel.Val {
	if n, ok := known[v]; ok {
		return n
	}
	n := *v
	n.Tile = f.tile(v.Tile)
	n.Args = nil
	for _, a := range v.Args {
		n.Args = append(n.Args, f.value(a, known))
	}
	known[v] = &n
	return &n
}
