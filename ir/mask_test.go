package ir

import (
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/elem"
)

// TestPossible: what a mask excludes whatever the rows' integers are.
func TestPossible(t *testing.T) {
	for where, want := range map[string]string{
		"j <= i && i - j < 8":                           "j <= i && i - j < 8",
		"j <= i && i.0 == j.1":                          "j <= i",
		"j <= i && (i - j < 8 || j.0 == 3)":             "j <= i",
		"j <= i && (i - j < 8 || j.0 == 3 && j < 4)":    "j <= i && (i - j < 8 || j < 4)",
		"j <= i && !(i - j >= 8 || i.0 != j.1)":         "j <= i && !(8 <= i - j)",
		"!!(i.0 < j)":                                   "1",
		"j <= i && select(i.0 < 3, i - j < 4, j < 2)":   "j <= i && (i - j < 4 || j < 2)",
		"j <= i && select(i < 3, i.0 == 1, i - j < 2)":  "j <= i && select(i < 3, 1, i - j < 2)",
		"j <= i && !select(i < 3, i.0 == 1, i - j < 2)": "j <= i && select(i < 3, 1, !(i - j < 2))",
		"j <= min(i, i.0)":                              "1",
		"j <= i && (i.0 == 1) == (j < 3)":               "j <= i",
		"j <= i && i.0":                                 "j <= i",
	} {
		e := mustParse(where)
		p := Possible(e)
		if p.String() != want {
			t.Errorf("%s is possible where %s, want %s", where, p, want)
		}
		m, err := NewMask(e)
		wide, errWide := NewMask(p)
		if err != nil || errWide != nil {
			t.Fatalf("%s: %v, %v", where, err, errWide)
		}
		for i := range int64(12) {
			for j := range int64(12) {
				for a := int64(-2); a < 14; a++ {
					for b := int64(-2); b < 14; b++ {
						v, err := e.Eval(map[string]int64{"i": i, "j": j, "i.0": a, "j.0": a, "j.1": b})
						if err != nil || (v != 0) != m.Holds(i, j, a, b) {
							t.Fatalf("%s at %d, %d with %d and %d: %v, %v", where, i, j, a, b, v, err)
						}
						if v != 0 && !wide.Holds(i, j) {
							t.Fatalf("%s holds at %d, %d with %d and %d, where %s does not", where, i, j, a, b, p)
						}
					}
				}
			}
		}
	}
}

// TestMaskOperands: every variable of a mask has an operand of its clock, and
// every operand a variable.
func TestMaskOperands(t *testing.T) {
	clock := &Clock{Name: "t", Kind: Base}
	other := &Clock{Name: "u", Kind: Base}
	b := NewBuilder()
	in := func(name string, e elem.Type, c *Clock, dims ...Dim) *Node {
		return b.Must("input", Attr{Name: name, Elem: e, Dims: append([]Dim{RowDim(c)}, dims...)})
	}
	x := in("x", elem.F32, clock, dim("h", 2), dim("d", 2))
	doc := in("doc", elem.I32, clock)
	kept := b.Must("keep", Attr{Name: "k", Keep: Keep{All: true}}, doc)
	past := b.Must("keep", Attr{Name: "x", Keep: Keep{All: true}}, x)
	for _, c := range []struct {
		where string
		keys  *Node
		rows  []*Node
		want  string
	}{
		{"j <= i && i.0 == j.1", x, []*Node{doc, doc}, ""},
		{"j <= i && i.0 == j.1", past, []*Node{doc, kept}, ""},
		{"j <= i && i.0 == j.1", x, []*Node{doc}, "the mask names j.1, but there are 1 operands behind q, k and v"},
		{"j <= i && i.0 == j.0", x, []*Node{doc}, "names both i.0 and j.0"},
		{"j <= i && i.1 == 1", x, []*Node{doc, doc}, "names neither i.0 nor j.0"},
		{"j <= i && k.0 == 1", x, []*Node{doc}, "not k.0"},
		{"j <= i && i.00 == 1", x, []*Node{doc}, "not i.00"},
		{"j <= i && i.0 == j.1", x, []*Node{doc, kept}, "j.1 must be an integer in each row of t, found i32[t:past t]"},
		{"j <= i && i.0 == j.1", past, []*Node{doc, doc}, "j.1 must be an integer in each row of t:past t, found i32[t]"},
		{"j <= i && i.0 == 1", x, []*Node{in("f", elem.F32, clock)}, "i.0 must be an integer in each row of t, found f32[t]"},
		{"j <= i && i.0 == 1", x, []*Node{in("two", elem.I32, clock, dim("n", 2))}, "i.0 must be an integer in each row of t, found i32[t, n:2]"},
		{"j <= i && i.0 == 1", x, []*Node{in("u", elem.I32, other)}, "i.0 must be an integer in each row of t, found i32[u]"},
	} {
		_, err := b.Make("attend", Attr{Name: "a", Where: mustParse(c.where), Value: 1}, append([]*Node{x, c.keys, c.keys}, c.rows...)...)
		if got := ""; err != nil || c.want != "" {
			if err != nil {
				got = err.Error()
			}
			if c.want == "" || !strings.Contains(got, c.want) {
				t.Errorf("%s of %d: %q, want %q", c.where, len(c.rows), got, c.want)
			}
		}
	}
}
