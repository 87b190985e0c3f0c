// Package ir is the graph: pure dataflow over tensors with named dimensions and
// clocks, and one region op, the scan over chunks. It knows nothing of machines.
package ir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Dim is one named dimension. A static one has Size elements. A dimension over
// a clock has as many rows as the clock has in the stream (before streaming is
// derived) or in the call (after it); a bounded one has Len rows, at most Size.
type Dim struct {
	Name  string
	Size  int        // static: the size; bounded: the most rows; over a clock: 0
	Clock *Clock     // the clock whose rows it counts
	Past  bool       // with Clock: every row kept so far, not the call's alone
	Len   *ints.Expr // bounded: the number of valid rows, over the names of lengths
}

// Static reports whether the size is a constant.
func (d Dim) Static() bool { return d.Clock == nil && d.Len == nil }

// Same reports whether two dimensions have one name and one extent.
func (d Dim) Same(e Dim) bool {
	return d.Name == e.Name && d.Size == e.Size && d.Clock == e.Clock && d.Past == e.Past && ints.Equal(d.Len, e.Len)
}

func (d Dim) String() string {
	switch {
	case d.Clock != nil && d.Past:
		return d.Name + ":past " + d.Clock.Name
	case d.Clock != nil && d.Name == d.Clock.Name:
		return d.Name
	case d.Clock != nil:
		return d.Name + ":" + d.Clock.Name
	case d.Len != nil:
		return fmt.Sprintf("%s:(%s)<=%d", d.Name, d.Len, d.Size)
	}
	return fmt.Sprintf("%s:%d", d.Name, d.Size)
}

// Type is an element type and dimensions, outermost first. At most one
// dimension is over a clock, and it is the first.
type Type struct {
	Elem elem.Type
	Dims []Dim
}

func (t Type) String() string {
	s := make([]string, len(t.Dims))
	for i, d := range t.Dims {
		s[i] = d.String()
	}
	return t.Elem.String() + "[" + strings.Join(s, ", ") + "]"
}

// Find gives the place of the dimension of that name, or -1.
func (t Type) Find(name string) int {
	return slices.IndexFunc(t.Dims, func(d Dim) bool { return d.Name == name })
}

// Clock gives the clock that t's rows follow, or nil.
func (t Type) Clock() *Clock {
	if len(t.Dims) > 0 {
		return t.Dims[0].Clock
	}
	return nil
}

// Equal reports whether two types are the same.
func (t Type) Equal(u Type) bool {
	return t.Elem == u.Elem && slices.EqualFunc(t.Dims, u.Dims, Dim.Same)
}

// Without is t less the named dimensions.
func (t Type) Without(names []string) Type {
	r := Type{Elem: t.Elem}
	for _, d := range t.Dims {
		if !slices.Contains(names, d.Name) {
			r.Dims = append(r.Dims, d)
		}
	}
	return r
}

// Count is the number of elements with every dimension static.
func (t Type) Count() int {
	n := 1
	for _, d := range t.Dims {
		n *= d.Size
	}
	return n
}

// ClockKind says where the rows of a clock come from.
type ClockKind uint8

// The kinds of clock.
const (
	Base     ClockKind = iota // the stream's tokens
	Woven                     // tokens with extra rows between them, by a static pattern
	Chunk                     // inside a scan: the rows of one chunk of the clock Of
	Prefixed                  // inside a scan: rows of the state, then those of the chunk Of
)

// Clock counts rows. Clocks are compared by identity.
type Clock struct {
	Name string
	Kind ClockKind
	Of   *Clock
	// Chunk: rows of Of in a complete chunk. Woven: rows of this clock that
	// Every rows of Of become.
	Size    int
	Pattern *Pattern   // Woven
	Prefix  *ints.Expr // Prefixed: the number of rows put before, over lengths
	Most    int        // Prefixed: the most rows put before
}

// Pattern is the row template of one chunk of a woven clock.
type Pattern struct {
	Every int      // rows of the parent clock in a chunk
	Kinds []string // names of the literal kinds, in the order of their numbers
	// From says what each row of a complete chunk is: v >= 0, the chunk's row v
	// of the parent; v < 0, literal row -1-v of the concatenated literals.
	From []int64
	Kind []int64 // the kind of each row: 0 for the parent's rows, else 1 + its place in Kinds
	// Rows[τ] is how many rows there are after τ rows of the parent (Every+1
	// values); a partial chunk is the pattern's prefix.
	Rows []int64
	Row  []int64 // the row at which the parent's row τ stands (Every values)
}

// Init says how a weight is drawn where no file gives it.
type Init struct {
	Kind  string // "zeros", "const", "normal" (standard deviation Scale), "uniform" (bound Scale)
	Scale float64
}

func (i Init) String() string {
	if i.Kind == "zeros" {
		return i.Kind
	}
	return fmt.Sprintf("%s(%v)", i.Kind, i.Scale)
}

// Pos is a place in a spec.
type Pos struct {
	File      string
	Line, Col int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }
