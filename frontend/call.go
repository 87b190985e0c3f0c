package frontend

import (
	"math"
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

// A call as it is written, in the scope of the caller.
type call struct {
	pos   lexer.Position
	args  *args
	first value // the first argument, where repeat has it already
	s     *scope
	where *expr
	at    *primary
	per   *name
}

func (e *elab) call(f value, c *call) value {
	switch f := f.(type) {
	case fnV:
		return e.callFn(f.fnDecl, c)
	case ruleV:
		return e.callRule(string(f), c)
	case typeV:
		return e.construct(f.record, c)
	}
	return e.errorf(c.pos, "only functions can be called, found %s", f.what())
}

// bound gives the arguments in the order of the parameter names, nil where one
// is left out.
func (e *elab) bound(c *call, what string, names []string) ([]value, bool) {
	out := make([]value, len(names))
	ok := true
	for k, a := range c.args.List {
		at := k
		if a.Name != nil {
			at = slices.Index(names, a.Name.Text)
			if at < 0 {
				e.errorf(a.Pos, "%s has no parameter %s%s", what, a.Name.Text, near(a.Name.Text, slices.Clone(names)))
				ok = false
				continue
			}
		} else if at >= len(names) {
			e.errorf(a.Pos, "%s takes %d arguments (%s), found %d", what, len(names), strings.Join(names, ", "), len(c.args.List))
			return nil, false
		}
		if out[at] != nil {
			e.errorf(a.Pos, "%s is given %s twice", what, names[at])
			ok = false
			continue
		}
		if k == 0 && c.first != nil {
			out[at] = c.first
		} else {
			out[at] = e.expr(a.Value, c.s)
		}
		ok = ok && !isBad(out[at])
	}
	return out, ok
}

func (e *elab) callFn(f *fnDecl, c *call) value {
	what := f.Kind + " " + f.Name.Text
	if len(e.calls) >= maxCalls {
		if !e.stopped {
			e.stopped = true
			e.errorf(c.pos, "%s: calls are nested more than %d deep; a function cannot call itself", what, maxCalls)
		}
		return badV{}
	}
	if len(c.args.Over) > 0 {
		return e.errorf(c.args.Over[0].Pos, "%s takes no dimensions after over", what)
	}
	if c.per != nil {
		return e.errorf(c.per.Pos, "per follows grad, not a call of %s", what)
	}
	if f.Chunk != nil && f.Kind != "memory" {
		return e.errorf(f.Chunk.Pos, "a memory cuts a clock into chunks, and %s is none", what)
	}
	names := make([]string, len(f.Params))
	for i, p := range f.Params {
		names[i] = p.Name.Text
	}
	vals, ok := e.bound(c, what, names)
	if !ok {
		return badV{}
	}
	s := &scope{vars: map[string]value{}}
	for i, p := range f.Params {
		v := vals[i]
		if v == nil {
			if p.Default == nil {
				return e.errorf(c.pos, "%s needs an argument for %s", what, p.Name.Text)
			}
			v = e.expr(p.Default, s)
		}
		pos := c.pos
		for k, a := range c.args.List {
			if a.Name != nil && a.Name.Text == p.Name.Text || a.Name == nil && k == i {
				pos = a.Value.Pos
			}
		}
		if v = e.fit(pos, what, f.Any, p, v, s); isBad(v) {
			return badV{}
		}
		s.vars[p.Name.Text] = v
	}
	for _, a := range f.Any {
		if _, ok := s.vars[a.Text]; !ok {
			return e.errorf(a.Pos, "no parameter of %s says what %s is", what, a.Text)
		}
	}
	switch {
	case f.Where != nil && c.where == nil:
		return e.errorf(c.pos, "%s needs a mask: %s(…) where …", what, f.Name.Text)
	case f.Where == nil && c.where != nil:
		return e.errorf(c.where.Pos, "%s takes no mask", what)
	case f.Where != nil:
		m, ok := e.masked(c.where, c.s)
		if !ok {
			return badV{}
		}
		s.vars[f.Where.Text] = maskV{m, true}
	}
	path := ""
	if c.at != nil {
		if f.Kind == "fn" {
			return e.errorf(c.at.Pos, "at names the place of a layer or a memory; %s has none of its own", what)
		}
		p, ok := e.primary(c.at, c.s).(strV)
		if !ok {
			return e.errorf(c.at.Pos, "at takes a string")
		}
		path = string(p)
	}
	e.calls = append(e.calls, c.pos)
	defer func() { e.calls = e.calls[:len(e.calls)-1] }()
	return e.within(path, func() value {
		if f.Kind == "memory" {
			return e.memory(f, c.pos, s)
		}
		if f.Value != nil {
			return e.expr(f.Value, s)
		}
		return e.body(f.Body, s)
	})
}

// fit checks a value against a parameter and gives it as the function sees it.
func (e *elab) fit(pos lexer.Position, what string, free []*name, p *par, v value, s *scope) value {
	if isBad(v) {
		return v
	}
	if p.Type != nil {
		return e.typed(pos, what, p.Name.Text, p.Type, v)
	}
	if p.Shape == nil {
		return v
	}
	n, ok := e.tensor(pos, v, "the argument "+p.Name.Text)
	if !ok {
		return badV{}
	}
	if p.Elem != "" {
		t, ok := e.elemOf(p.Pos, p.Elem, s)
		if !ok {
			return badV{}
		}
		if t.Float() {
			n = e.numbers(n)
		}
		if n.Type.Elem != t && !(n.Type.Elem.Float() && t.Float()) {
			return e.errorf(pos, "%s wants %s to be %s, found %s", what, p.Name.Text, t, n.Type)
		}
	}
	return e.shaped(pos, what+" wants "+p.Name.Text, free, p.Shape, n, s)
}

// shaped checks a tensor against a shape; names in free that mean nothing yet
// come to mean the dimensions found there.
func (e *elab) shaped(pos lexer.Position, what string, free []*name, x *shape, n *ir.Node, s *scope) value {
	if e.scan != nil {
		n = e.scan.part(e, n)
	}
	have := n.Type.Dims
	var want []string
	good := len(have) == len(x.Items) || x.Rest && len(have) > len(x.Items)
	skip := len(have) - len(x.Items)
	for k, it := range x.Items {
		var d ir.Dim
		at := k + skip
		if name := freeName(it, free); name != "" {
			if v, ok := s.vars[name].(dimV); ok {
				d = v.Dim
			} else {
				want = append(want, name)
				if good {
					s.vars[name] = dimV{have[at]}
				}
				continue
			}
		} else {
			var ok bool
			if d, ok = e.dim(it, s); !ok {
				return badV{}
			}
		}
		want = append(want, d.String())
		good = good && e.alike(have[at], d)
	}
	if !good {
		rest := ""
		if x.Rest {
			rest = ".., "
		}
		return e.errorf(pos, "%s[%s%s], found %s", what, rest, strings.Join(want, ", "), n.Type)
	}
	return tensorV{n}
}

// alike compares dimensions; rows of a clock that a memory cuts are rows of
// its chunks.
func (e *elab) alike(a, b ir.Dim) bool {
	if e.scan != nil {
		for _, d := range []*ir.Dim{&a, &b} {
			if d.Clock != nil && d.Clock == e.scan.clock.Of {
				*d = ir.RowDim(e.scan.clock)
			}
		}
	}
	return a.Same(b)
}

func freeName(it *dimItem, free []*name) string {
	if it.Name != nil || len(it.Value.Rest) > 0 || len(it.Value.First.Ops) > 0 || len(it.Value.First.Post.Suffix) > 0 {
		return ""
	}
	id := it.Value.First.Post.Base.Name
	if slices.ContainsFunc(free, func(a *name) bool { return a.Text == id }) {
		return id
	}
	return ""
}

// typed checks a static value against the type of a parameter.
func (e *elab) typed(pos lexer.Position, what, param string, t *typeName, v value) value {
	if r, ok := e.recordType(t); ok {
		if x, ok := v.(recordV); ok && x.of == r {
			return v
		}
		return e.errorf(pos, "%s wants %s to be %s, found %s", what, param, r.name, v.what())
	}
	if x, ok := coerce(t, v, ""); ok {
		return x
	}
	if !knownType(t) {
		return e.errorf(t.Pos, "there is no type %s", t)
	}
	hint := ""
	if _, ok := v.(intV); ok && t.Elem == "dim" {
		hint = "; give it a name with `dim`"
	}
	return e.errorf(pos, "%s wants %s to be %s, found %s%s", what, param, article(t.String()), v.what(), hint)
}

func (e *elab) recordType(t *typeName) (*record, bool) {
	if d := e.decls[t.Elem]; d != nil && d.decl.Type != nil {
		v, ok := e.declared(t.Pos, d).(typeV)
		return v.record, ok
	}
	return nil, false
}

// construct is Net(w0: x, w1: y).
func (e *elab) construct(r *record, c *call) value {
	names := make([]string, len(r.fields))
	for i, f := range r.fields {
		names[i] = f.name
	}
	vals, ok := e.bound(c, r.name, names)
	if !ok {
		return badV{}
	}
	for i, v := range vals {
		if v == nil {
			return e.errorf(c.pos, "%s needs a value for %s", r.name, names[i])
		}
		n, ok := e.tensor(c.pos, v, r.name+"."+names[i])
		if !ok {
			return badV{}
		}
		if !slices.EqualFunc(n.Type.Dims, r.fields[i].dims, ir.Dim.Same) {
			return e.errorf(c.pos, "%s.%s is %s, found %s", r.name, names[i], dimsText(r.fields[i].dims), n.Type)
		}
	}
	return recordV{r, vals}
}

// weight is weight("name")[dims], or weight(Net): a record of weights called
// after its fields.
func (e *elab) weight(x *weightExpr, s *scope) value {
	arg := e.expr(x.Name, s)
	et, ok := elem.F32, true
	if x.Elem != "" {
		if et, ok = e.storageOf(x.Pos, x.Elem, s); !ok {
			return badV{}
		}
		if !et.Float() {
			return e.errorf(x.Pos, "a weight is f32, bf16, f16, q8 or q4, found %s", et)
		}
	}
	one := func(name string, dims []ir.Dim) value {
		if e.full(name) == "" {
			return e.errorf(x.Pos, "a weight needs a name, or a place that names it: at \"name\"")
		}
		init, ok := e.initOf(x, dims, s)
		if !ok {
			return badV{}
		}
		v := e.make(x.Pos, "weight", ir.Attr{Name: e.full(name), Elem: et, Dims: dims, Init: init})
		if t, ok := v.(tensorV); ok {
			old := e.weights[t.Attr.Name]
			if old != nil && old != t.Node {
				return e.errorf(x.Pos, "the weight %s is %s, init %s here, and %s, init %s at %s", t.Attr.Name, t.Type, t.Attr.Init, old.Type, old.Attr.Init, old.Pos()[0])
			}
			e.weights[t.Attr.Name] = t.Node
		}
		return v
	}
	switch v := arg.(type) {
	case typeV:
		if x.Shape != nil {
			return e.errorf(x.Shape.Pos, "the type %s has the shapes of its weights", v.name)
		}
		out := recordV{of: v.record}
		for _, f := range v.fields {
			w := one(f.name, f.dims)
			if isBad(w) {
				return w
			}
			out.fields = append(out.fields, w)
		}
		return out
	case strV:
		if x.Shape == nil {
			return e.errorf(x.Pos, "a weight needs its dimensions: weight(%q)[…]", string(v))
		}
		dims, ok := e.dims(x.Shape, s)
		if !ok {
			return badV{}
		}
		for _, d := range dims {
			if !d.Static() {
				return e.errorf(x.Shape.Pos, "a weight has static dimensions, found %s", d)
			}
		}
		return one(string(v), dims)
	case badV:
		return v
	}
	return e.errorf(x.Name.Pos, "weight takes a name or a record type, found %s", arg.what())
}

// initOf is how a weight is drawn; normal(fan_in) where the spec does not say.
func (e *elab) initOf(x *weightExpr, dims []ir.Dim, s *scope) (ir.Init, bool) {
	fan := 1.0
	if len(dims) > 0 {
		fan = float64(dims[len(dims)-1].Size)
	}
	in := s.inner()
	in.vars["fan_in"] = floatV(pow(fan, -0.5))
	if x.Init == nil {
		return ir.Init{Kind: "normal", Scale: pow(fan, -0.5)}, true
	}
	kind, scale := x.Init.Kind.Text, 1.0
	switch kind {
	case "zeros", "ones":
		if x.Init.Value != nil {
			e.errorf(x.Init.Value.Pos, "init %s takes no value", kind)
			return ir.Init{}, false
		}
		if kind == "zeros" {
			return ir.Init{Kind: "zeros"}, true
		}
		return ir.Init{Kind: "const", Scale: 1}, true
	case "const", "normal", "uniform":
		if x.Init.Value == nil {
			e.errorf(x.Init.Pos, "init %s needs a value: %s(0.02)", kind, kind)
			return ir.Init{}, false
		}
		v := e.expr(x.Init.Value, in)
		f, ok := floatOf(v)
		if !ok {
			if !isBad(v) {
				e.errorf(x.Init.Value.Pos, "init %s takes a number, found %s", kind, v.what())
			}
			return ir.Init{}, false
		}
		scale = f
		if kind != "const" && scale < 0 {
			e.errorf(x.Init.Value.Pos, "init %s takes a number that is not negative, found %v", kind, scale)
			return ir.Init{}, false
		}
		if math.Abs(scale) > math.MaxFloat32 {
			e.errorf(x.Init.Value.Pos, "init %s takes a number that f32 holds, found %v", kind, scale)
			return ir.Init{}, false
		}
		return ir.Init{Kind: kind, Scale: scale}, true
	}
	e.errorf(x.Init.Pos, "a weight is drawn as zeros, ones, const(x), normal(x) or uniform(x), not %s%s", kind, near(kind, []string{"zeros", "ones", "const", "normal", "uniform"}))
	return ir.Init{}, false
}
