package ir

import "fmt"

func init() {
	register(
		Op{Name: "scan", Doc: "the body for each chunk of the arguments' clock, in order: rows from the states as the last write left them, then, where the chunk is complete, the next states", Operands: []string{"xs"}, Variadic: true, Attrs: []string{"name"}, Rows: Scanned,
			Type: func(n *Node) (Type, error) {
				r := n.Body
				if r == nil || r.Clock == nil || r.Clock.Kind != Chunk || r.Clock.Size < 1 {
					return Type{}, fmt.Errorf("scan needs a body over the chunks of a clock")
				}
				if len(n.Args) != len(r.Params) || len(r.States) != len(r.Init) || len(r.States) != len(r.Next) && r.Write == nil {
					return Type{}, fmt.Errorf("scan has %d arguments for %d parameters, %d states, %d first and %d next values", len(n.Args), len(r.Params), len(r.States), len(r.Init), len(r.Next))
				}
				for i, a := range n.Args {
					t := a.Type
					if t.Clock() != r.Clock.Of {
						return t, fmt.Errorf("argument %d must have rows over %s, found %s", i, r.Clock.Of.Name, t)
					}
					if want := withRows(t, RowDim(r.Clock)); !r.Params[i].Type.Equal(want) {
						return t, fmt.Errorf("parameter %d is %s for an argument %s", i, r.Params[i].Type, t)
					}
				}
				for i, s := range r.States {
					if r.Init[i].Type.Clock() != nil {
						return s.Type, fmt.Errorf("the first value of %s has rows over a clock: %s", s.Attr.Name, r.Init[i].Type)
					}
					if r.Write == nil && r.Next[i] != nil && !sameState(r.Next[i].Type, s.Type) {
						return s.Type, fmt.Errorf("the write gives %s to the state %s, which is %s", r.Next[i].Type, s.Attr.Name, s.Type)
					}
				}
				for _, o := range r.Rows {
					if o.Type.Clock() != r.Clock {
						return o.Type, fmt.Errorf("a scan returns rows of its chunk, found %s", o.Type)
					}
				}
				return Type{}, nil
			}, Special: "the interpreter runs its body", NoGrad: "a reverse scan with checkpoints; only training the outer weights needs it"},
		Op{Name: "result", Doc: "the scan's rows number start, over the clock that it cut", Operands: []string{"scan"}, Attrs: []string{"start"}, Rows: Rowwise,
			Type: func(n *Node) (Type, error) {
				s := n.Args[0]
				if s.Op.Name != "scan" || n.Attr.Start < 0 || n.Attr.Start >= len(s.Body.Rows) {
					return Type{}, fmt.Errorf("there is no result %d", n.Attr.Start)
				}
				return withRows(s.Body.Rows[n.Attr.Start].Type, RowDim(s.Body.Clock.Of)), nil
			}, Special: "the interpreter runs its body", NoGrad: "see scan"},
	)
}

// sameState reports whether a next value fits a state: equal but for the length
// of a bounded dimension, which the region's lengths describe.
func sameState(next, state Type) bool {
	if len(next.Dims) != len(state.Dims) || next.Elem.Float() != state.Elem.Float() {
		return false
	}
	for i, d := range next.Dims {
		s := state.Dims[i]
		if d.Name != s.Name || d.Clock != nil || d.Size > s.Size || s.Len == nil && (d.Size != s.Size || d.Len != nil) {
			return false
		}
	}
	return true
}
