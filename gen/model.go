package gen

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
)

// model is an artifact as Go sees it.
type model struct {
	manifest artifact.Manifest
	pkg      string
	targets  []string
	params   []Param
	entries  []entry
	weights  bool  // the program reads some
	bytes    int64 // of weights and states
	state    int64 // bytes of the states
	grows    bool  // some states do, with the stream
}

// entry is an entry point as a method of Session.
type entry struct {
	number  int
	spec    artifact.Entry
	method  string
	in, out []port
	clock   string // that of the inputs' rows

	receiver, ins, outs, rows string // what the method's code calls them
}

// port is an input or output as an argument or result.
type port struct {
	artifact.Port
	name  string
	typ   string // its type in Go
	below int64  // values of an input of integers are from 0 to this, exclusively; 0: any
	rows  bool   // the first dim is a clock's
	dims  []int  // the others
	per   int    // their product
}

func newModel(a *artifact.Artifact, o Options) (*model, error) {
	m := &model{manifest: a.Manifest, pkg: o.Package, params: o.Params}
	for _, t := range a.Targets {
		m.targets = append(m.targets, t.Name)
	}
	p, err := plan.Parse(a.Targets[0].Plan)
	if err != nil {
		return nil, fmt.Errorf("target %s: the plan: %w", a.Targets[0].Name, err)
	}
	for _, b := range p.Buffers {
		switch b.Class {
		case plan.Weight:
			m.weights = true
			m.bytes += b.Bytes
		case plan.State:
			m.grows = m.grows || b.Grow != nil
			m.state += b.Bytes
			m.bytes += b.Bytes
		}
	}
	taken := newNames("Entry", methods)
	for i, e := range a.Manifest.Entries {
		if i >= len(p.Entries) || p.Entries[i].Name != e.Name || len(p.Entries[i].Inputs) != len(e.Inputs) || len(p.Entries[i].Outputs) != len(e.Outputs) {
			return nil, fmt.Errorf("target %s: the plan's entry points are not those of the manifest", a.Targets[0].Name)
		}
		g, err := newEntry(i, e, p.Entries[i], taken.pick(exported(e.Name)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		m.entries = append(m.entries, g)
	}
	return m, nil
}

func newEntry(number int, e artifact.Entry, p plan.Entry, method string) (entry, error) {
	g := entry{number: number, spec: e, method: method}
	scope := newNames("_", fixed)
	for i, in := range e.Inputs {
		o, err := newPort(in, scope.pick(local(in.Name)), inputTypes)
		if err != nil {
			return g, fmt.Errorf("the input %s: %w", in.Name, err)
		}
		o.below = p.Inputs[i].Below
		if o.rows && g.clock == "" {
			g.clock = in.Dims[0]
		}
		g.in = append(g.in, o)
	}
	if g.clock == "" {
		return g, fmt.Errorf("no input has rows of a clock")
	}
	scope.suffix = "Out" // the result of an argument's name
	for _, out := range e.Outputs {
		o, err := newPort(out, scope.pick(local(out.Name)), outputTypes)
		if err != nil {
			return g, fmt.Errorf("the output %s: %w", out.Name, err)
		}
		g.out = append(g.out, o)
	}
	scope.suffix = "_"
	g.receiver, g.ins, g.outs, g.rows = scope.pick("s"), scope.pick("in"), scope.pick("out"), scope.pick("rows")
	return g, nil
}

// The Go types of ports. What Go has no slice for, a type or a
// single value, travels as a tensor.
const tensor = "runtime.Tensor"

var (
	inputTypes  = map[string]string{"f32": "[]float32", "i32": "[]int32", "bf16": tensor, "f16": tensor, "i64": tensor, "bool": tensor}
	outputTypes = map[string]string{"f32": "[]float32", "i32": "[]int32", "bf16": "[]float32", "f16": "[]float32", "i64": tensor, "bool": tensor}
	goTypes     = map[string]string{"[]float32": "Float32", "[]int32": "Int32"} // how package runtime's functions for them end
)

func newPort(p artifact.Port, name string, types map[string]string) (port, error) {
	o := port{Port: p, name: name, typ: types[p.Elem], per: 1}
	if o.typ == "" {
		return o, fmt.Errorf("there is no element type %s", p.Elem)
	}
	if len(p.Dims) == 0 {
		o.typ = tensor
	}
	for i, d := range p.Dims {
		n, err := strconv.Atoi(d)
		if err != nil && i == 0 {
			o.rows = true
			continue
		}
		if err != nil || n < 1 {
			return o, fmt.Errorf("its dimension %q is neither a size nor, in front, a clock", d)
		}
		o.dims = append(o.dims, n)
		o.per *= n
	}
	return o, nil
}

// checked reports whether the length of an argument can be wrong in itself.
func (p port) checked() bool { return p.typ != tensor && (!p.rows || p.per != 1) }

// shape is the port's type as the spec writes it.
func (p port) shape() string { return p.Elem + "[" + strings.Join(p.Dims, ", ") + "]" }

// about says in words what the values are.
func (p port) about() string {
	var s []string
	switch {
	case p.rows && p.per == 1:
		s = append(s, "one value a row")
	case p.rows:
		s = append(s, fmt.Sprintf("%d values a row", p.per))
	case p.per == 1:
		s = append(s, "one value")
	default:
		s = append(s, fmt.Sprintf("%d values", p.per))
	}
	if p.below > 0 {
		s = append(s, fmt.Sprintf("each from 0 to %d", p.below-1))
	}
	if doc := strings.Join(strings.Fields(p.Doc), " "); doc != "" {
		s = append(s, doc)
	}
	return strings.Join(s, ", ")
}

// constant gives a parameter's value as a constant of Go, where it can be one.
func constant(p Param) (string, bool) {
	switch p.Type {
	case "int", "dim":
		n, err := strconv.ParseInt(p.Value, 10, 64)
		return strconv.FormatInt(n, 10), err == nil
	case "float":
		f, err := strconv.ParseFloat(p.Value, 64)
		s := strconv.FormatFloat(f, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s, err == nil
	case "bool":
		return p.Value, p.Value == "true" || p.Value == "false"
	case "string":
		var s string
		err := json.Unmarshal([]byte(p.Value), &s)
		return strconv.Quote(s), err == nil
	}
	return "", false
}

// columns sets rows of cells under each other, as preformatted text of a comment.
func columns(rows [][]string) string {
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len(c))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		b.WriteString("\t")
		for i, c := range r {
			if i == len(r)-1 {
				b.WriteString(c)
			} else {
				fmt.Fprintf(&b, "%-*s  ", width[i], c)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// list joins words: a, b and c.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// portNames are the arguments' or results' names in Go.
func portNames(ports []port) []string {
	var s []string
	for _, p := range ports {
		s = append(s, p.name)
	}
	return slices.Clip(s)
}
