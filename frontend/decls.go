package frontend

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
)

// A declared name, whose value is found when it is first used.
type declared struct {
	name   string
	decl   *decl
	file   *file
	item   int // of several in one declaration
	value  value
	active bool // being evaluated: a use now goes in a circle
	given  bool
}

// declare enters the names of all files into one space: they must differ.
func (e *elab) declare(files []*file) {
	for _, f := range files {
		for _, d := range f.decls {
			add := func(n *name, item int) {
				if old := e.decls[n.Text]; old != nil {
					e.errorf(n.Pos, "%s is declared twice; the first is at %s", n.Text, place(old.decl.Pos))
					return
				}
				if isRule(e, n.Text) || n.Text == "empty" || n.Text == "i" || n.Text == "j" {
					e.errorf(n.Pos, "%s has a meaning in the language and cannot be declared", n.Text)
					return
				}
				e.decls[n.Text] = &declared{name: n.Text, decl: d, file: f, item: item}
			}
			switch {
			case d.Clock != nil:
				add(d.Clock.Name, 0)
			case d.Param != nil:
				for i, n := range d.Param.Names {
					add(n, i)
				}
			case d.Dim != nil:
				for i, it := range d.Dim.Items {
					add(it.Name, i)
				}
			case d.Type != nil:
				add(d.Type.Name, 0)
			case d.Rows != nil:
				add(d.Rows.Name, 0)
			case d.Fn != nil:
				add(d.Fn.Name, 0)
			}
		}
	}
}

// params gives every parameter its value.
func (e *elab) params(files []*file, set, config map[string]json.RawMessage) {
	e.declare(files)
	names := e.paramNames(files)
	for _, f := range files {
		for _, d := range f.decls {
			if d.Param == nil {
				continue
			}
			for _, n := range d.Param.Names {
				p := e.decls[n.Text]
				if p == nil || p.decl != d {
					continue
				}
				raw, ok := set[n.Text]
				from := "--set"
				if !ok {
					raw, ok = config[n.Text]
					from = "the config"
				}
				if !ok || string(raw) == "null" && from != "--set" {
					continue
				}
				v, good := fromJSON(raw)
				if good {
					v, good = coerce(d.Param.Type, v, n.Text)
				}
				if !good {
					e.errorf(n.Pos, "%s gives the parameter %s the value %s; it must be %s. The spec's parameters: %s", from, n.Text, short(string(raw)), article(d.Param.Type.String()), e.described(e.paramNames(files)))
					v = badV{}
				}
				p.value, p.given = v, true
			}
		}
	}
	var unknown []string
	for k := range set {
		if !slices.Contains(names, k) {
			unknown = append(unknown, k)
		}
	}
	slices.Sort(unknown)
	for _, k := range unknown {
		e.d.plain("--set %s: the spec has no such parameter%s; it has %s", short(k), near(k, slices.Clone(names)), e.described(names))
	}
}

// paramNames lists the parameters in the order of their declaration.
func (e *elab) paramNames(files []*file) []string {
	var names []string
	for _, f := range files {
		for _, d := range f.decls {
			if d.Param != nil {
				for _, n := range d.Param.Names {
					names = append(names, n.Text)
				}
			}
		}
	}
	return names
}

func (e *elab) described(names []string) string {
	if len(names) == 0 {
		return "no parameters"
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n
		if d := e.decls[n]; d != nil && d.decl.Param != nil {
			out[i] += ": " + d.decl.Param.Type.String()
		}
	}
	return strings.Join(out, ", ")
}

// globals evaluates what stands at the top of the files, so that every fault
// there is found.
func (e *elab) globals(files []*file) {
	var missing []string
	for _, f := range files {
		for _, d := range f.decls {
			if d.Param == nil {
				continue
			}
			if !knownType(d.Param.Type) {
				e.errorf(d.Param.Type.Pos, "there is no type %s; a param is int, float, bool, string, dim or a list of one, as [int]%s", d.Param.Type, near(d.Param.Type.Elem, strings.Fields("int float bool string dim")))
				for _, n := range d.Param.Names {
					if p := e.decls[n.Text]; p != nil && p.decl == d {
						p.value = badV{}
					}
				}
				continue
			}
			for _, n := range d.Param.Names {
				if p := e.decls[n.Text]; p != nil && p.decl == d && !p.given && d.Param.Default == nil {
					missing = append(missing, n.Text)
					p.value = badV{}
				}
			}
		}
	}
	if len(missing) > 0 {
		p := e.decls[missing[0]]
		at := p.decl.Param.Names[p.item].Pos
		if len(missing) == 1 {
			e.errorf(at, "the parameter %s has no value and no default: give it with --set or a config", missing[0])
		} else {
			e.errorf(at, "the parameters %s have no value and no default: give them with --set or a config", strings.Join(missing, ", "))
		}
		return
	}
	for _, f := range files {
		for _, d := range f.decls {
			for _, p := range e.decls {
				if p.decl == d {
					e.declared(d.Pos, p)
				}
			}
		}
	}
	for _, f := range files {
		for _, d := range f.decls {
			if d.Require != nil {
				e.require(d.Require, e.global)
			}
		}
	}
}

// declared gives the value of a declared name.
func (e *elab) declared(pos lexer.Position, d *declared) value {
	if d.value != nil {
		return d.value
	}
	if d.active {
		return e.errorf(pos, "%s is declared by itself", d.name)
	}
	d.active = true
	d.value = e.declaredValue(d)
	d.active = false
	return d.value
}

func (e *elab) declaredValue(d *declared) value {
	switch x := d.decl; {
	case x.Clock != nil:
		for _, c := range e.clocks {
			if c.Kind == ir.Base {
				return e.errorf(x.Pos, "a spec has one clock, and %s is another", c.Name)
			}
		}
		c := &ir.Clock{Name: d.name, Kind: ir.Base}
		e.clocks = append(e.clocks, c)
		return clockV{c}
	case x.Param != nil:
		if x.Param.Default == nil {
			return badV{}
		}
		v := e.expr(x.Param.Default, e.global)
		if isBad(v) {
			return v
		}
		c, ok := coerce(x.Param.Type, v, d.name)
		if !ok {
			return e.errorf(x.Param.Default.Pos, "the parameter %s must be %s, found %s", d.name, article(x.Param.Type.String()), v.what())
		}
		return c
	case x.Dim != nil:
		it := x.Dim.Items[d.item]
		v, ok := e.sized(it.Size.Pos, d.name, e.expr(it.Size, e.global))
		if !ok {
			return badV{}
		}
		return dimV{v}
	case x.Type != nil:
		r := &record{name: d.name}
		for _, f := range x.Type.Fields {
			dims, ok := e.dims(f.Shape, e.global)
			if !ok {
				return badV{}
			}
			if slices.ContainsFunc(r.fields, func(o field) bool { return o.name == f.Name.Text }) {
				return e.errorf(f.Pos, "the field %s is named twice", f.Name.Text)
			}
			r.fields = append(r.fields, field{f.Name.Text, dims})
		}
		return typeV{r}
	case x.Rows != nil:
		return e.woven(x.Rows)
	}
	return fnV{d.decl.Fn}
}

func knownType(t *typeName) bool {
	if t.List != "" {
		return slices.Contains([]string{"int", "float", "bool", "string"}, t.List)
	}
	return slices.Contains([]string{"int", "float", "bool", "string", "dim"}, t.Elem)
}

// coerce gives v as a value of type t; name is what a dimension is called.
func coerce(t *typeName, v value, name string) (value, bool) {
	if t.List != "" {
		var out listV
		switch l := v.(type) {
		case listV:
			for _, x := range l {
				y, ok := coerce(&typeName{Elem: t.List}, x, "")
				if !ok {
					return nil, false
				}
				out = append(out, y)
			}
			if out == nil {
				out = listV{}
			}
			return out, true
		case rangeV:
			return l, t.List == "int"
		}
		return nil, false
	}
	switch t.Elem {
	case "int":
		k, ok := intOf(v)
		return intV(k), ok
	case "float":
		f, ok := floatOf(v)
		return floatV(f), ok
	case "bool":
		_, ok := v.(boolV)
		return v, ok
	case "string":
		_, ok := v.(strV)
		return v, ok
	case "dim":
		d, ok := v.(dimV)
		if name == "" {
			return d, ok && d.Static()
		}
		k, ok := intOf(v)
		if !ok || k < 1 || k > maxSize {
			return nil, false
		}
		return dimV{ir.Dim{Name: name, Size: int(k)}}, true
	}
	return nil, false
}

func article(t string) string {
	switch t {
	case "int":
		return "an integer"
	case "float":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	case "dim":
		return fmt.Sprintf("a dimension (a size from 1 to %d)", maxSize)
	}
	return "a list " + t
}

// fromJSON reads a JSON value.
func fromJSON(raw json.RawMessage) (value, bool) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	v, ok := jsonValue(dec, 0)
	return v, ok && !dec.More()
}

func jsonValue(dec *json.Decoder, depth int) (value, bool) {
	t, err := dec.Token()
	if err != nil {
		return nil, false
	}
	switch t := t.(type) {
	case bool:
		return boolV(t), true
	case string:
		return strV(t), len(t) <= 4096
	case json.Number:
		if k, err := t.Int64(); err == nil {
			return intV(k), true
		}
		f, err := t.Float64()
		return floatV(f), err == nil && !math.IsInf(f, 0)
	case json.Delim:
		if t != '[' || depth > 0 {
			return nil, false
		}
		out := listV{}
		for dec.More() {
			v, ok := jsonValue(dec, depth+1)
			if !ok || len(out) >= maxList {
				return nil, false
			}
			out = append(out, v)
		}
		_, err := dec.Token()
		return out, err == nil
	}
	return nil, false
}

// paramList gives the parameters with the values they have here.
func (e *elab) paramList(files []*file) []ir.Param {
	var out []ir.Param
	for _, f := range files {
		for _, d := range f.decls {
			if d.Param == nil {
				continue
			}
			doc := f.trailing(d.Pos.Line)
			if doc == "" {
				doc = f.doc(d.Pos.Line)
			}
			for _, n := range d.Param.Names {
				out = append(out, ir.Param{Name: n.Text, Type: d.Param.Type.String(), Value: toJSON(e.decls[n.Text].value), Doc: doc})
			}
		}
	}
	return out
}

func toJSON(v value) string {
	switch v := v.(type) {
	case listV:
		s := make([]string, len(v))
		for i, x := range v {
			s[i] = toJSON(x)
		}
		return "[" + strings.Join(s, ",") + "]"
	case rangeV:
		var l listV
		for k := v.lo; k < v.hi && k-v.lo < maxList; k++ {
			l = append(l, intV(k))
		}
		return toJSON(l)
	case strV:
		b, _ := json.Marshal(string(v))
		return string(b)
	case boolV:
		return fmt.Sprint(bool(v))
	case floatV:
		b, _ := json.Marshal(float64(v))
		return string(b)
	}
	k, _ := intOf(v)
	return fmt.Sprint(k)
}
