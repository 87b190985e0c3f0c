package frontend

import (
	"fmt"
	"math"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Bounds on what a spec may ask of the compiler.
const (
	maxSteps = 2_000_000 // expressions evaluated
	maxTurns = 100_000   // turns of one loop
	maxCalls = 100       // calls inside calls
	maxNodes = 200_000   // nodes made
	maxPorts = 64        // inputs, and results, of an entry: what a call keeps count of
	maxMask  = 5_000     // operators of a mask, of a length
	maxCount = 1 << 40   // elements of a tensor, of a row where it has rows
	maxList  = 1 << 20   // elements of a list
	maxSize  = math.MaxInt32
)

// An elab turns declarations into graphs.
type elab struct {
	d       *Diagnostics
	b       *ir.Builder
	global  *scope
	decls   map[string]*declared
	clocks  []*ir.Clock // base and woven, parents first
	weights map[string]*ir.Node
	rowInts map[string]rowInt             // what the variables of masks stand for, beside i and j
	tests   map[*ints.Expr]lexer.Position // where the comparisons of masks stand
	choices map[*ir.Node]*ir.Node         // a choice between static integers, and the same between numbers
	steps   int
	stopped bool

	// Where elaboration stands.
	path  string           // prefix of weight names
	calls []lexer.Position // that are running, outermost first
	scan  *scanning
	phase phase
	used  map[string]*ir.Node // names of attends, shifts and scans of this entry
	memo  map[string][]value  // results of memories
}

// phase says what a state stands for at this place of a memory.
type phase uint8

const (
	outside phase = iota // no state may be named
	reading              // the value that the last write left
	writing              // the value that this write has made so far
)

func (e *elab) errorf(pos lexer.Position, format string, args ...any) badV {
	n := len(e.d.List)
	e.d.add(pos, format, args...)
	if len(e.d.List) > n {
		for k := len(e.calls) - 1; k >= max(0, len(e.calls)-3); k-- {
			e.d.List[n].From = append(e.d.List[n].From, place(e.calls[k]))
		}
	}
	return badV{}
}

// step counts work; false means that the spec asks too much, which is reported.
func (e *elab) step(pos lexer.Position) bool {
	if e.steps++; e.steps > maxSteps && !e.stopped {
		e.stopped = true
		e.errorf(pos, "the spec takes more than %d steps to elaborate", maxSteps)
	}
	return !e.stopped
}

// charge counts work that goes with the amount of data.
func (e *elab) charge(pos lexer.Position, n int) bool {
	e.steps += n / 16
	return e.step(pos)
}

func countInts(x *ints.Expr) int {
	n := 1
	for _, a := range x.Args {
		n += countInts(a)
	}
	return n
}

func place(pos lexer.Position) ir.Pos {
	return ir.Pos{File: pos.Filename, Line: pos.Line, Col: pos.Column}
}

// make gives a node. Inside a memory, an operand with rows of the clock that is
// cut becomes the running chunk's part of it.
func (e *elab) make(pos lexer.Position, op string, attr ir.Attr, args ...*ir.Node) value {
	e.b.At = []ir.Pos{place(pos)}
	for i, a := range args {
		if e.scan != nil {
			args[i] = e.scan.part(e, a)
		}
		if c := args[i].Type.Clock(); c != nil && !e.visible(c) {
			return e.errorf(pos, "rows of %s mean nothing here: the memory that cuts them has ended", c.Name)
		}
	}
	n, err := e.b.Make(op, attr, args...)
	if err != nil {
		return e.errorf(pos, "%v", err)
	}
	size := 1
	for _, d := range n.Type.Dims {
		if d.Size > 0 && size > maxCount/d.Size {
			return e.errorf(pos, "a tensor %s has more than %d elements", n.Type, maxCount)
		}
		size *= max(d.Size, 1)
		if d.Len != nil && countInts(d.Len) > maxMask {
			return e.errorf(pos, "the number of rows of %s is made of too many parts", d.Name)
		}
	}
	if n.ID > maxNodes && !e.stopped {
		e.stopped = true
		return e.errorf(pos, "the spec makes more than %d nodes", maxNodes)
	}
	return tensorV{n}
}

func (e *elab) visible(c *ir.Clock) bool {
	if c.Kind == ir.Base || c.Kind == ir.Woven {
		return true
	}
	if e.scan == nil {
		return false
	}
	return c == e.scan.clock || c.Of == e.scan.clock
}

// numbers gives a choice between static integers as one between numbers, for
// where these are wanted, and any other node as it is.
func (e *elab) numbers(n *ir.Node) *ir.Node {
	if m := e.choices[n]; m != nil {
		return m
	}
	return n
}

// number gives a node for an operand of arithmetic; a static number, and a choice
// between static integers, take the kind of the other operand.
func (e *elab) number(pos lexer.Position, v value, other value) (*ir.Node, bool) {
	t, traced := other.(tensorV)
	switch v := v.(type) {
	case tensorV:
		if _, static := other.(floatV); static || traced && t.Type.Elem.Float() {
			return e.numbers(v.Node), true
		}
		return v.Node, true
	case badV:
		return nil, false
	case boolV:
		e.b.At = []ir.Pos{place(pos)}
		return e.b.Must("const", ir.Attr{Value: map[boolV]float64{true: 1}[v], Elem: elem.Bool}), true
	}
	e.b.At = []ir.Pos{place(pos)}
	if traced && (t.Type.Elem == elem.I64 || t.Type.Elem == elem.I32) {
		if k, ok := intOf(v); ok {
			if k > 1<<53 || k < -1<<53 {
				e.errorf(pos, "an integer beside a tensor lies between -2^53 and 2^53, found %d", k)
				return nil, false
			}
			return e.b.I(k), true
		}
		if e.choices[t.Node] == nil {
			e.errorf(pos, "expected an integer, found %s", v.what())
			return nil, false
		}
	}
	if f, ok := floatOf(v); ok {
		return e.b.F(f), true
	}
	e.errorf(pos, "expected a number or a tensor, found %s", v.what())
	return nil, false
}

// tensor gives the node of a value that must be one.
func (e *elab) tensor(pos lexer.Position, v value, what string) (*ir.Node, bool) {
	switch v := v.(type) {
	case tensorV:
		return v.Node, true
	case badV, nil:
		return nil, false
	case intV, floatV:
		return e.number(pos, v, nil)
	}
	e.errorf(pos, "%s must be a tensor, found %s", what, v.what())
	return nil, false
}

// full gives the name of something called name at the running path.
func (e *elab) full(name string) string {
	switch {
	case e.path == "":
		return name
	case name == "":
		return e.path
	}
	return e.path + "." + name
}

// unique gives a name to a node that owns rows (an attend, a shift): the path,
// and where another one has it already, the path with a number.
func (e *elab) unique(base string, mk func(name string) value) value {
	for k := 1; ; k++ {
		name := base
		if k > 1 {
			name = fmt.Sprintf("%s.%d", base, k)
		}
		v := mk(name)
		t, ok := v.(tensorV)
		if !ok {
			return v
		}
		if old := e.used[name]; old == nil || old == t.Node {
			e.used[name] = t.Node
			return v
		}
		if k > 1000 {
			return badV{}
		}
	}
}

// within evaluates f at the path p below the running one.
func (e *elab) within(p string, f func() value) value {
	old := e.path
	if p != "" {
		e.path = e.full(p)
	}
	defer func() { e.path = old }()
	return f()
}

// text gives the value of a string literal, with {name} replaced.
func (e *elab) text(pos lexer.Position, lit string, s *scope) (string, bool) {
	lit = strings.Trim(lit, `"`)
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(lit, "{")
		out.WriteString(before)
		if !ok {
			break
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			e.errorf(pos, "the string has { without }")
			return "", false
		}
		v := e.lookup(pos, strings.TrimSpace(name), s)
		switch v := v.(type) {
		case strV:
			out.WriteString(string(v))
		case badV:
			return "", false
		default:
			k, ok := intOf(v)
			if !ok {
				e.errorf(pos, "{%s} must be an integer or a string, found %s", name, v.what())
				return "", false
			}
			fmt.Fprint(&out, k)
		}
		lit = after
	}
	if out.Len() > 4096 {
		e.errorf(pos, "the string is longer than 4096 bytes")
		return "", false
	}
	return out.String(), true
}

var elems = map[string]elem.Type{"f32": elem.F32, "f16": elem.F16, "bf16": elem.BF16, "i32": elem.I32, "i64": elem.I64, "q8": elem.Q8, "q4": elem.Q4}

// elemOf is storageOf where values are wanted: quantised types are none.
func (e *elab) elemOf(pos lexer.Position, name string, s *scope) (elem.Type, bool) {
	t, ok := e.storageOf(pos, name, s)
	if ok && t.Quantised() {
		e.errorf(pos, "%s is a way to store weights, and the keys and values of attention: `as %s` stands behind them", t, t)
		return 0, false
	}
	return t, ok
}

// storageOf finds an element type by its name, or by a string parameter's value.
func (e *elab) storageOf(pos lexer.Position, name string, s *scope) (elem.Type, bool) {
	if t, ok := elems[name]; ok {
		return t, true
	}
	word := name
	if d := e.decls[name]; d != nil {
		v, ok := e.lookup(pos, name, s).(strV)
		if !ok {
			e.errorf(pos, "%s is no element type", name)
			return 0, false
		}
		if t, ok := elems[string(v)]; ok {
			return t, true
		}
		word = string(v)
	}
	e.errorf(pos, "there is no element type %s; there are f32, f16, bf16, i32 and i64, and to store as q8 and q4", short(word))
	return 0, false
}
