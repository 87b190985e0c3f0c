package ir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/elem"
)

// RowRule says how an output row depends on the operands' rows over a clock: it
// is what streaming is derived from.
type RowRule uint8

// The row rules.
const (
	Rowwise  RowRule = iota // row i of the result needs row i of the operands
	NoRows                  // operands have no rows over a clock, or the result is a leaf
	Masked                  // attend: the mask says which rows
	Shifted                 // shift: an earlier row
	Mixing                  // rows are mixed: only legal where a whole chunk is at hand
	Scanned                 // scan: chunk by chunk
	Stepwise                // linear recurrences and running sums: all rows before it
	Renumber                // rows of one clock become rows of another
)

// Op defines an operator whole.
type Op struct {
	Name     string
	Doc      string   // the meaning, with the mathematics
	Operands []string // names, in order
	Variadic bool     // any number of operands of the last name
	Attrs    []string // the attributes it reads, as printed
	Rows     RowRule
	// Type checks operands and attributes and gives the result's type.
	Type func(n *Node) (Type, error)
	// Eval computes the value in float64; nil where Special says who does.
	Eval func(n *Node, in []*Tensor, e *Env) (*Tensor, error)
	// Special is the reason why Eval is nil.
	Special string
	// Grad gives the gradient of each operand from the result's (nil: none).
	Grad func(b *Builder, n *Node, dy *Node) []*Node
	// NoGrad is the reason why Grad is nil.
	NoGrad string
	// Flops is how many floating-point operations one element of the result
	// takes; a product counts 2 for each term by its own rule in cost.go.
	Flops int
}

// Ops is the table of operators, filled by the op_*.go files.
var Ops = map[string]*Op{}

func register(ops ...Op) {
	for _, o := range ops {
		if Ops[o.Name] != nil {
			panic("ir: op " + o.Name + " twice")
		}
		Ops[o.Name] = &o
	}
}

// join gives the dimensions of an element-wise result: those of all operands,
// matched by name, a clock's rows first, then in order of appearance.
func join(args []*Node) ([]Dim, error) {
	var dims []Dim
	for _, a := range args {
		for _, d := range a.Type.Dims {
			i := slices.IndexFunc(dims, func(e Dim) bool { return e.Name == d.Name })
			switch {
			case i < 0:
				dims = append(dims, d)
			case !dims[i].Same(d):
				return nil, fmt.Errorf("dimension %s is %s in one operand and %s in another: %s", d.Name, dims[i], d, shapes(args))
			}
		}
	}
	return rowsFirst(dims)
}

// rowsFirst moves the dimension over a clock to the front; two are an error.
func rowsFirst(dims []Dim) ([]Dim, error) {
	at := -1
	for i, d := range dims {
		if d.Clock != nil {
			if at >= 0 {
				return nil, fmt.Errorf("mixes rows of %s with rows of %s: cannot stream", dims[at].Name, d.Name)
			}
			at = i
		}
	}
	if at > 0 {
		d := dims[at]
		dims = slices.Insert(slices.Delete(slices.Clone(dims), at, at+1), 0, d)
	}
	return dims, nil
}

func shapes(args []*Node) string {
	s := make([]string, len(args))
	for i, a := range args {
		s[i] = a.Type.String()
	}
	return strings.Join(s, " and ")
}

func wantElem(n *Node, i int, ok func(elem.Type) bool, what string) error {
	if t := n.Args[i].Type; !ok(t.Elem) {
		hint := ""
		if isInt(t.Elem) && ok(elem.F32) {
			hint = "; say `as f32`"
		}
		return fmt.Errorf("operand %s must be %s, found %s%s", operand(n, i), what, t, hint)
	}
	return nil
}

func operand(n *Node, i int) string {
	return n.Op.Operands[min(i, len(n.Op.Operands)-1)]
}

func isFloat(e elem.Type) bool { return e.Float() }
func isInt(e elem.Type) bool   { return e == elem.I32 || e == elem.I64 }
func isBool(e elem.Type) bool  { return e == elem.Bool }

// MixesRows reports whether n joins rows of a clock into one value, which needs
// all of them at hand: legal only in a scan, for its complete chunks.
func MixesRows(n *Node) bool {
	if n.Op.Rows == Mixing {
		return true
	}
	for _, o := range n.Attr.Over {
		for _, a := range n.Args {
			if i := a.Type.Find(o); i >= 0 && a.Type.Dims[i].Clock != nil {
				return true
			}
		}
	}
	return false
}
