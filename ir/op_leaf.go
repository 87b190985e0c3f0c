package ir

import (
	"fmt"

	"github.com/memc-lang/memc/ir/elem"
)

func leafType(n *Node) (Type, error) {
	dims, err := rowsFirst(n.Attr.Dims)
	if err != nil {
		return Type{}, err
	}
	seen := map[string]bool{}
	for _, d := range dims {
		if seen[d.Name] {
			return Type{}, fmt.Errorf("two dimensions called %s", d.Name)
		}
		seen[d.Name] = true
		if d.Clock == nil && d.Size < 0 || d.Static() && d.Size == 0 {
			return Type{}, fmt.Errorf("dimension %s has size %d; it must be at least 1", d.Name, d.Size)
		}
	}
	t := Type{Elem: n.Attr.Elem, Dims: dims}
	if t.Elem.Quantised() && n.Op.Name != "weight" && n.Op.Name != "param" {
		return t, fmt.Errorf("%s is a way to store weights, and the keys and values of attention", t.Elem)
	}
	return t, quantisable(t)
}

func init() {
	const leaf = "a leaf: the gradient stops here"
	register(
		Op{Name: "input", Doc: "an input of the entry point", Attrs: []string{"name", "elem", "dims"}, Rows: NoRows, Type: leafType, Special: "the caller gives it", NoGrad: leaf},
		Op{Name: "weight", Doc: "a tensor of the checkpoint, or drawn from init", Attrs: []string{"name", "elem", "dims", "init"}, Rows: NoRows, Type: leafType, Special: "the weights give it", NoGrad: leaf},
		Op{Name: "state", Doc: "inside a scan: a state as the last write left it", Attrs: []string{"name", "elem", "dims"}, Rows: NoRows, Type: leafType, Special: "the scan gives it", NoGrad: leaf},
		Op{Name: "param", Doc: "inside a scan: the running chunk's rows of an argument", Attrs: []string{"name", "elem", "dims"}, Rows: NoRows, Type: leafType, Special: "the scan gives it", NoGrad: leaf},
		Op{Name: "kept", Doc: "inside a write: all rows of the completed chunk, kept under that name", Attrs: []string{"name", "elem", "dims"}, Rows: NoRows, Type: leafType, Special: "the scan gives it", NoGrad: leaf},
		Op{Name: "const", Doc: "value, a scalar", Eval: evalConst, Attrs: []string{"value", "elem"}, Rows: NoRows,
			Type: func(n *Node) (Type, error) { return Type{Elem: n.Attr.Elem}, nil }, NoGrad: leaf},
		Op{Name: "table", Doc: "constant data: floats or ints, row-major over dims", Eval: evalTable, Attrs: []string{"elem", "dims", "ints", "floats"}, Rows: NoRows,
			Type: func(n *Node) (Type, error) {
				t, err := leafType(n)
				if err != nil {
					return t, err
				}
				if have := len(n.Attr.Ints) + len(n.Attr.Floats); have != t.Count() {
					return t, fmt.Errorf("a table of %s needs %d values, found %d", t, t.Count(), have)
				}
				return t, nil
			}, NoGrad: leaf},
		Op{Name: "iota", Doc: "0, 1, 2, … along the one dimension dims[0], static or bounded", Eval: evalIota, Attrs: []string{"dims"}, Rows: NoRows,
			Type: func(n *Node) (Type, error) {
				if len(n.Attr.Dims) != 1 || n.Attr.Dims[0].Clock != nil {
					return Type{}, fmt.Errorf("iota needs one static dimension")
				}
				return Type{Elem: elem.I64, Dims: n.Attr.Dims}, nil
			}, NoGrad: leaf},
		Op{Name: "index", Doc: "the number of each row of clock: from the stream's start for a base or woven clock, from the chunk's start for a chunk, from the first prefixed row for a prefixed one", Eval: evalIndex, Attrs: []string{"clock"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				return Type{Elem: elem.I64, Dims: []Dim{RowDim(n.Attr.Clock)}}, nil
			}, NoGrad: leaf},
		Op{Name: "chunk.index", Doc: "inside a scan: the number of the running chunk, from 0", Eval: evalChunkIndex, Attrs: []string{"clock"}, Rows: NoRows,
			Type:   func(n *Node) (Type, error) { return Type{Elem: elem.I64}, nil },
			NoGrad: leaf},
	)
}

// RowDim is the dimension that counts the rows of a clock. A chunk's rows carry
// the name of the clock that is cut, as the spec wrote it.
func RowDim(c *Clock) Dim {
	name := c
	for name.Kind == Chunk || name.Kind == Prefixed {
		name = name.Of
	}
	return Dim{Name: name.Name, Clock: c}
}
