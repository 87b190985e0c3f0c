package frontend

import (
	"fmt"
	"strings"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/ints"
)

// A value of elaboration. Numbers, strings, lists and dimensions are static:
// known when the spec is read. A tensor is a node of the graph.
type value interface {
	what() string // as a message calls it
}

type (
	intV    int64
	floatV  float64
	boolV   bool
	strV    string
	listV   []value
	rangeV  struct{ lo, hi int64 } // lo..hi, hi not included
	dimV    struct{ ir.Dim }
	clockV  struct{ *ir.Clock }
	tensorV struct{ *ir.Node }
	recordV struct {
		of     *record
		fields []value
	}
	typeV struct{ *record }
	// maskV is an integer, or where test is set a predicate, over i and j.
	maskV struct {
		*ints.Expr
		test bool
	}
	lenV   struct{ *ints.Expr } // rows of a bounded value
	fnV    struct{ *fnDecl }
	ruleV  string // a builtin
	stateV struct{ *state }
	emptyV struct{}
	badV   struct{} // a fault already reported
)

// A record type of tensors.
type record struct {
	name   string
	fields []field
}

type field struct {
	name string
	dims []ir.Dim
}

func (v intV) what() string   { return fmt.Sprintf("the integer %d", int64(v)) }
func (v floatV) what() string { return fmt.Sprintf("the number %v", float64(v)) }
func (v boolV) what() string  { return fmt.Sprint(bool(v)) }
func (v strV) what() string   { return fmt.Sprintf("the string %q", short(string(v))) }
func (v listV) what() string  { return fmt.Sprintf("a list of %d", len(v)) }
func (v rangeV) what() string { return fmt.Sprintf("the range %d..%d", v.lo, v.hi) }
func (v dimV) what() string   { return "the dimension " + v.Dim.String() }
func (v clockV) what() string { return "the clock " + v.Name }
func (v tensorV) what() string {
	return "a tensor " + v.Type.String()
}
func (v recordV) what() string { return "a record " + v.of.name }
func (v typeV) what() string   { return "the type " + v.name }
func (v maskV) what() string {
	if v.test {
		return "a test of i and j"
	}
	return "an integer made of i and j"
}
func (v lenV) what() string   { return "a number of rows" }
func (v fnV) what() string    { return "the " + v.Kind + " " + v.Name.Text }
func (v ruleV) what() string  { return "the function " + string(v) }
func (v stateV) what() string { return "the state " + v.name }
func (emptyV) what() string   { return "empty" }
func (badV) what() string     { return "a faulty value" }

func isBad(vs ...value) bool {
	for _, v := range vs {
		if _, ok := v.(badV); ok || v == nil {
			return true
		}
	}
	return false
}

func short(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

// intOf gives the integer that v stands for: a dimension is its size.
func intOf(v value) (int64, bool) {
	switch v := v.(type) {
	case intV:
		return int64(v), true
	case dimV:
		if v.Static() {
			return int64(v.Size), true
		}
	}
	return 0, false
}

// floatOf gives the number that v stands for.
func floatOf(v value) (float64, bool) {
	if f, ok := v.(floatV); ok {
		return float64(f), true
	}
	k, ok := intOf(v)
	return float64(k), ok
}

func dimsText(dims []ir.Dim) string {
	s := make([]string, len(dims))
	for i, d := range dims {
		s[i] = d.String()
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// A scope holds names; what is not here is looked up further out.
type scope struct {
	vars map[string]value
	out  *scope
}

func (s *scope) inner() *scope { return &scope{map[string]value{}, s} }

func (s *scope) find(name string) (value, bool) {
	for ; s != nil; s = s.out {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) names() []string {
	var out []string
	for ; s != nil; s = s.out {
		for n := range s.vars {
			out = append(out, n)
		}
	}
	return out
}
