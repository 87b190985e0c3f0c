package passes

import (
	"slices"

	"github.com/memc-lang/memc/ir"
)

// How a group's dimensions are laid on a kernel. Everything that one block of
// the grid computes is a tile: at most two dimensions of more than one element.
type axisKind uint8

const (
	axisOne   axisKind = iota // one index a block
	axisRows                  // cut into blocks, down a tile's rows
	axisCols                  // cut into blocks, along a tile's columns
	axisLocal                 // whole inside a block
	axisSeq                   // walked through by every block, in steps
)

type axis struct {
	dim  ir.Dim
	kind axisKind
	step int // axisRows, axisCols, axisSeq
}

// layout says how a group is laid on a grid.
type layout struct {
	axes []axis // grid axes first, slowest first
	kind string // the schedule's name
}

func (l *layout) find(name string) *axis {
	for i := range l.axes {
		if l.axes[i].dim.Name == name {
			return &l.axes[i]
		}
	}
	return nil
}

// Tiling is the tile sizes that schedules choose from, by machine.
type Tiling struct {
	Rows      int  // token rows of a product's tile
	Cols      int  // columns of a product's tile
	MapElems  int  // about how many elements a tile of a map has
	AttendQ   int  // query rows of an attention tile
	RecurRows int  // token rows of a scan body's tile
	Panel     int  // columns of a packed panel
	Pairs     bool // panels of bf16 weights have pairs of ks
	Codes     int  // the same of quantised weights whose rows are whole groups; 0: Panel
	CodedRows bool // products take rows of codes as they lie
	MaxNear   int  // the most elements that one tile may have
	MaxSums   int  // the most elements of a sum over rows in one block, and a quarter of it of all sums beside other work
	Resident  int  // the most elements of fast weights that stay near one block from chunk to chunk; 0: none do
}

// mostOperand is the most elements of a product's operand in one tile: where the
// dimension summed is very long, the tile has fewer rows or columns.
const mostOperand = 1 << 21

// fewestCols is a multiple of all that targets multiply at once.
const fewestCols = 32

// columns is how many of a product's columns, of so many, a tile has where it sums k
// elements for each: whole panels, since a part of one takes longer than all of it, and is
// summed in another order where weights are codes.
func (t Tiling) columns(of, k int) int {
	panel := max(t.Panel, fewestCols)
	if k > mostTile/panel {
		return min(of, max(1, mostOperand/k)) // slow, but one tile
	}
	return min(of, max(panel, min(t.Cols, mostOperand/max(1, k))/panel*panel))
}

// set is the nodes of a group under construction with what the layout needs.
type set struct {
	nodes map[*ir.Node]bool
	outs  []*ir.Node // nodes that the group must store
}

// inside gives the dimensions that n sums or cuts inside a tile.
func inside(n *ir.Node) []string {
	switch n.Op.Name {
	case "sum", "maximum", "dot", "accumulate":
		return n.Attr.Over
	case "slice", "pad", "concat", "turns":
		return []string{n.Attr.Dim}
	}
	return nil
}

func isDot(n *ir.Node) bool {
	return n.Op.Name == "dot" || n.Op.Name == "accumulate" && len(n.Args) == 3
}

// terms gives what a product multiplies.
func terms(n *ir.Node) []*ir.Node {
	if n.Op.Name == "accumulate" {
		return n.Args[1:]
	}
	return n.Args
}

// rank counts n's dimensions that are more than one element inside a tile.
func (l *layout) rank(n *ir.Node) int {
	r := 0
	for _, d := range n.Type.Dims {
		if a := l.find(d.Name); a == nil || a.kind != axisOne {
			if d.Static() && d.Size == 1 {
				continue
			}
			r++
		}
	}
	return r
}

// lay lays a group of maps and products on a grid, or says that it cannot.
// chain allows products of values that the group itself computes; seq, where
// given, is a dimension that every block walks through in steps, and over which
// it may sum.
func lay(s *set, t Tiling, chain bool, seq string) (*layout, bool) {
	// A chain of products keeps their rows and columns whole if they fit: cut,
	// they would be products of a matrix and a vector. One alone can be cut as any.
	if chain {
		if l, ok := layOut(s, t, true, true, seq); ok {
			return l, true
		}
	}
	return layOut(s, t, chain && len(s.nodes) > 1, false, seq)
}

// layOut is lay with a choice: whole keeps what a product does not share whole.
func layOut(s *set, t Tiling, chain, whole bool, seq string) (*layout, bool) {
	var order []*ir.Node
	for n := range s.nodes {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b *ir.Node) int { return a.ID - b.ID })

	local := map[string]bool{}
	dims := map[string]ir.Dim{}
	var names []string
	dots := 0
	note := func(d ir.Dim) bool {
		if old, ok := dims[d.Name]; ok {
			if old.Static() && d.Static() {
				if old.Size != d.Size {
					local[d.Name] = true // sliced: whole inside a tile
					if d.Size > old.Size {
						dims[d.Name] = d
					}
				}
				return true
			}
			return old.Same(d)
		}
		dims[d.Name] = d
		names = append(names, d.Name)
		return true
	}
	for _, n := range order {
		for _, d := range n.Type.Dims {
			if !note(d) {
				return nil, false
			}
		}
		for _, a := range n.Args {
			if in := inside(n); len(in) > 0 {
				for _, d := range a.Type.Dims {
					if slices.Contains(in, d.Name) && !note(d) {
						return nil, false
					}
				}
			}
		}
		for _, d := range inside(n) {
			if d != seq {
				local[d] = true
			} else if n.Op.Name != "sum" && n.Op.Name != "accumulate" && !isDot(n) {
				return nil, false
			}
		}
		if (n.Op.Name == "gather" || n.Op.Name == "take") && s.nodes[n.Args[0]] {
			return nil, false // rows by number are read from memory
		}
		if isDot(n) {
			dots++
			for _, a := range n.Args {
				if s.nodes[a] && !chain {
					return nil, false
				}
			}
		}
	}
	for _, d := range names {
		if local[d] && !dims[d].Static() {
			return nil, false
		}
	}
	// Every stored value must tell the blocks apart: a dimension that one of them
	// lacks is whole inside a block.
	for _, o := range s.outs {
		for _, d := range names {
			if o.Type.Find(d) < 0 && !local[d] && d != seq {
				if !dims[d].Static() {
					return nil, false
				}
				local[d] = true
			}
		}
	}
	if whole {
		for _, n := range order {
			if !isDot(n) {
				continue
			}
			for _, d := range n.Type.Dims {
				x := terms(n)
				one := (x[0].Type.Find(d.Name) >= 0) != (x[1].Type.Find(d.Name) >= 0)
				if one && d.Static() && d.Name != seq {
					local[d.Name] = true
				}
			}
		}
	}
	var par []string
	for _, d := range names {
		if !local[d] && d != seq {
			par = append(par, d)
		}
	}
	l := &layout{kind: "map"}
	if dots > 0 {
		l.kind = "contract"
	}
	locals := 1
	var localNames []string
	for _, d := range names {
		if local[d] {
			localNames = append(localNames, d)
			locals = max(locals, dims[d].Size)
		}
	}
	// The rows of a tile: the clock, or else the longest dimension. The columns:
	// the whole one, or else the last one, cut.
	row, col := "", ""
	for _, d := range par {
		if !dims[d].Static() {
			row = d
		}
	}
	if row == "" && !chain {
		for _, d := range par {
			if dims[d].Size > 1 && (row == "" || dims[d].Size > dims[row].Size) {
				row = d
			}
		}
	}
	wholeCol := len(localNames) > 0 && (dots == 0 || slices.ContainsFunc(order, func(n *ir.Node) bool {
		return slices.ContainsFunc(n.Type.Dims, func(d ir.Dim) bool { return local[d.Name] })
	}))
	if !wholeCol && !chain {
		for _, d := range par {
			if d != row && dims[d].Size > 1 {
				col = d
			}
		}
	}
	try := func(row, col string) bool {
		l.axes = nil
		for _, d := range par {
			a := axis{dim: dims[d], kind: axisOne}
			switch d {
			case row:
				a.kind = axisRows
				a.step = min(t.Rows, max(1, mostOperand/locals))
				if chain {
					a.step = t.RecurRows
				} else if dots > 0 && dims[d].Static() {
					a.step = t.columns(dims[d].Size, 1) // a weight's
				} else if dots == 0 {
					width := locals
					if col != "" {
						width = min(dims[col].Size, 256)
					}
					a.step = max(1, min(64, t.MapElems/max(width, 16)))
				}
			case col:
				a.kind, a.step = axisCols, t.columns(dims[d].Size, locals)
				if dots == 0 {
					a.step = min(256, dims[d].Size)
				}
			}
			l.axes = append(l.axes, a)
		}
		if d, ok := dims[seq]; ok {
			step := t.RecurRows
			if d.Static() {
				step = min(step, d.Size)
			} else { // whole blocks
				step = (step + blockRows - 1) / blockRows * blockRows
			}
			l.axes = append(l.axes, axis{dim: d, kind: axisSeq, step: step})
		}
		for _, d := range localNames {
			l.axes = append(l.axes, axis{dim: dims[d], kind: axisLocal})
		}
		for _, n := range order {
			if l.rank(n) > 2 {
				return false
			}
			if isDot(n) && !l.dotFits(n) {
				return false
			}
			if !isDot(n) && seq != "" && slices.Contains(n.Attr.Over, seq) && l.rank(n) > 1 {
				return false // the walked rows take one side of the tile that is summed
			}
			for i, a := range n.Args {
				if i == 0 && (n.Op.Name == "gather" || n.Op.Name == "take") {
					continue // rows by number, one dimension at a time
				}
				if !s.nodes[a] && !l.reads(a) {
					return false
				}
			}
		}
		return !slices.ContainsFunc(s.outs, func(n *ir.Node) bool { return !l.reads(n) })
	}
	if !try(row, col) && !tryAll(par, dims, try) && !try(row, "") && !try("", "") {
		return nil, false
	}
	// Tiles must stay near.
	sums, most := 0, t.MaxSums
	if len(order) > 1 {
		most /= 4
	}
	for _, n := range order {
		elems := 1
		for _, d := range n.Type.Dims {
			switch a := l.find(d.Name); a.kind {
			case axisLocal:
				elems *= d.Size
				if dots > 0 && !chain && d.Size > 128 {
					return nil, false // its columns are for other workers
				}
			case axisRows, axisCols, axisSeq:
				elems *= a.step
			}
		}
		if n.Op.Name == "accumulate" {
			sums += elems
		}
		if elems > t.MaxNear || sums > most {
			return nil, false
		}
	}
	return l, true
}

// tryAll asks for every choice of a tile's rows and columns.
func tryAll(par []string, dims map[string]ir.Dim, try func(row, col string) bool) bool {
	for _, row := range par {
		for _, col := range par {
			if row != col && dims[col].Static() && dims[col].Size > 1 && try(row, col) {
				return true
			}
		}
	}
	return false
}

// reads reports whether memory holds a value so that a tile's rows or columns
// are adjacent: of two dimensions inside a tile, one is its last.
func (l *layout) reads(n *ir.Node) bool {
	var inTile []string
	last := ""
	for _, d := range n.Type.Dims {
		if d.Static() && d.Size == 1 {
			continue
		}
		last = d.Name
		if a := l.find(d.Name); a == nil || a.kind != axisOne {
			inTile = append(inTile, d.Name)
		}
	}
	return len(inTile) < 2 || len(inTile) == 2 && slices.Contains(inTile, last)
}

// dotFits reports whether a product is one of tiles: at most one dimension of
// each operand beside the summed one, and what both share is one index a block.
func (l *layout) dotFits(n *ir.Node) bool {
	fs := terms(n)
	for _, d := range n.Type.Dims {
		if fs[0].Type.Find(d.Name) >= 0 && fs[1].Type.Find(d.Name) >= 0 {
			if a := l.find(d.Name); a.kind != axisOne && d.Size != 1 {
				return l.rank(n) <= 1 && len(n.Attr.Over) == 1 // row by row: a product and a sum
			}
		}
	}
	if len(n.Attr.Over) != 1 {
		return false
	}
	for _, x := range fs {
		if l.rank(x) > 2 {
			return false
		}
	}
	return true
}
