package frontend

import (
	"slices"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
)

// rowDim is the dimension that counts c's rows here: inside a memory that cuts
// c, the running chunk's.
func (e *elab) rowDim(c *ir.Clock) ir.Dim {
	if e.scan != nil && e.scan.clock.Of == c {
		c = e.scan.clock
	}
	return ir.RowDim(c)
}

// dims gives the dimensions that a shape names.
func (e *elab) dims(x *shape, s *scope) ([]ir.Dim, bool) {
	if x.Rest {
		e.errorf(x.Pos, ".. stands for leading dimensions in a parameter's shape only")
		return nil, false
	}
	var out []ir.Dim
	ok := true
	for _, it := range x.Items {
		d, good := e.dim(it, s)
		if good && slices.ContainsFunc(out, func(o ir.Dim) bool { return o.Name == d.Name }) {
			e.errorf(it.Pos, "two dimensions called %s", d.Name)
			good = false
		}
		ok = ok && good
		out = append(out, d)
	}
	return out, ok
}

func (e *elab) dim(it *dimItem, s *scope) (ir.Dim, bool) {
	v := e.expr(it.Value, s)
	if it.Name != nil {
		return e.sized(it.Value.Pos, it.Name.Text, v)
	}
	switch v := v.(type) {
	case dimV:
		if v.Clock != nil {
			return e.rowDim(v.Clock), true
		}
		return v.Dim, true
	case clockV:
		return e.rowDim(v.Clock), true
	case badV:
		return ir.Dim{}, false
	case intV:
		e.errorf(it.Pos, "a dimension needs a name, found %s; write name: %d, or declare it with `dim` or as a param of type dim", v.what(), int64(v))
	default:
		e.errorf(it.Pos, "expected a dimension, found %s", v.what())
	}
	return ir.Dim{}, false
}

func (e *elab) sized(pos lexer.Position, name string, v value) (ir.Dim, bool) {
	if isBad(v) {
		return ir.Dim{}, false
	}
	k, ok := intOf(v)
	if !ok || k < 1 || k > maxSize {
		e.errorf(pos, "the size of %s must be an integer from 1 to %d, found %s", name, maxSize, v.what())
		return ir.Dim{}, false
	}
	return ir.Dim{Name: name, Size: int(k)}, true
}

// as is x as [dims], the same elements in other dimensions, or x as bf16.
func (e *elab) as(x *asForm, v value, s *scope) value {
	n, ok := e.tensor(x.Pos, v, "what `as` is applied to")
	if !ok {
		return badV{}
	}
	if x.Shape == nil {
		t, ok := e.storageOf(x.Pos, x.Elem, s)
		if !ok {
			return badV{}
		}
		return e.make(x.Pos, "cast", ir.Attr{Elem: t}, n)
	}
	dims, ok := e.dims(x.Shape, s)
	if !ok {
		return badV{}
	}
	if e.scan != nil {
		n = e.scan.part(e, n)
	}
	if slices.EqualFunc(n.Type.Dims, dims, ir.Dim.Same) {
		return tensorV{n}
	}
	return e.make(x.Pos, "view", ir.Attr{Dims: dims}, n)
}

// index is x[d: k], x[d: a..b], rows[m: kind == name], list[k], or in a mask x[i].
func (e *elab) index(x *shape, v value, s *scope) value {
	if x.Rest || len(x.Items) == 0 {
		return e.errorf(x.Pos, "an index says which: x[dim: 3] or x[dim: 0..4]")
	}
	if m, ok := e.rowInt(x, v, s); ok {
		return m
	}
	if l, ok := v.(listV); ok {
		if len(x.Items) != 1 || x.Items[0].Name != nil {
			return e.errorf(x.Pos, "a list has one index")
		}
		i := e.expr(x.Items[0].Value, s)
		if isBad(i) {
			return badV{}
		}
		k, ok := intOf(i)
		if !ok || k < 0 || k >= int64(len(l)) {
			return e.errorf(x.Pos, "the index must be from 0 to %d, found %s", len(l)-1, i.what())
		}
		return l[k]
	}
	n, ok := e.tensor(x.Pos, v, "what is indexed")
	if !ok {
		return badV{}
	}
	for _, it := range x.Items {
		if it.Name == nil {
			return e.errorf(it.Pos, "a tensor's index names its dimension: [dim: which], found %s", n.Type)
		}
		if kind, ok := kindTest(it.Value); ok {
			v = e.rowsOfKind(it, n, kind, s)
		} else {
			v = e.slice(it, n, s)
		}
		t, ok := v.(tensorV)
		if !ok {
			return badV{}
		}
		n = t.Node
	}
	return v
}

func (e *elab) slice(it *dimItem, n *ir.Node, s *scope) value {
	which := e.expr(it.Value, s)
	name := it.Name.Text
	if d, ok := s.find(name); ok {
		if d, ok := d.(dimV); ok {
			name = d.Name // a dimension known here under another name
		}
	}
	at := n.Type.Find(name)
	if at < 0 {
		var have []string
		for _, d := range n.Type.Dims {
			have = append(have, d.Name)
		}
		return e.errorf(it.Pos, "there is no dimension %s in %s%s", name, n.Type, near(name, have))
	}
	size := n.Type.Dims[at].Size
	if !n.Type.Dims[at].Static() {
		return e.errorf(it.Pos, "rows cannot be indexed by number: %s", n.Type)
	}
	switch v := which.(type) {
	case badV:
		return v
	case rangeV:
		if v.lo >= v.hi {
			return e.errorf(it.Pos, "the range %d..%d is empty: its end is not included", v.lo, v.hi)
		}
		if v.lo < 0 || v.hi > int64(size) {
			return e.errorf(it.Pos, "%d..%d is outside dimension %s of %s", v.lo, v.hi, name, n.Type)
		}
		if v.lo == 0 && v.hi == int64(size) {
			return tensorV{n}
		}
		return e.make(it.Pos, "slice", ir.Attr{Dim: name, Start: int(v.lo), Size: int(v.hi - v.lo)}, n)
	}
	k, ok := intOf(which)
	if !ok || k < 0 || k >= int64(size) {
		return e.errorf(it.Pos, "the index of %s must be from 0 to %d, found %s", name, size-1, which.what())
	}
	v := e.make(it.Pos, "slice", ir.Attr{Dim: name, Start: int(k), Size: 1}, n)
	t, ok := v.(tensorV)
	if !ok {
		return v
	}
	return e.make(it.Pos, "view", ir.Attr{Dims: slices.Delete(slices.Clone(t.Type.Dims), at, at+1)}, t.Node)
}
