package frontend

import (
	"math"
	"strconv"

	"github.com/alecthomas/participle/v2/lexer"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
)

func (e *elab) expr(x *expr, s *scope) value {
	return e.tree(treeOf(x), s)
}

func (e *elab) tree(t *tree, s *scope) value {
	if !e.step(t.pos) {
		return badV{}
	}
	if t.leaf != nil {
		return e.unary(t.leaf, s)
	}
	a := e.tree(t.left, s)
	// and, or stop at a static left side that decides: the right side may then
	// mean nothing (i - j < window where there is no window).
	if v, ok := a.(boolV); ok && (t.op == "and" && !bool(v) || t.op == "or" && bool(v)) {
		return v
	}
	b := e.tree(t.right, s)
	if isBad(a, b) {
		return badV{}
	}
	return e.binary(t.pos, t.op, a, b)
}

func (e *elab) unary(x *unary, s *scope) value {
	v := e.postfix(x.Post, s)
	for k := len(x.Ops) - 1; k >= 0; k-- {
		if isBad(v) {
			return v
		}
		v = e.prefix(x.Pos, x.Ops[k], v)
	}
	return v
}

func (e *elab) prefix(pos lexer.Position, op string, v value) value {
	if op == "not" {
		switch v := v.(type) {
		case boolV:
			return !v
		case maskV:
			if v.test {
				return maskV{notInts(v.Expr), true}
			}
		case tensorV:
			if v.Type.Elem == elem.Bool {
				return e.make(pos, "not", ir.Attr{}, v.Node)
			}
		}
		return e.errorf(pos, "not takes a test, found %s; a comparison after not needs brackets", v.what())
	}
	switch v := v.(type) {
	case floatV:
		return -v
	case tensorV:
		if !v.Type.Elem.Float() && v.Type.Elem != elem.Bool {
			return e.trace(pos, "-", intV(0), v)
		}
		return e.make(pos, "neg", ir.Attr{}, v.Node)
	case maskV:
		return e.binary(pos, "-", intV(0), v)
	}
	if k, ok := intOf(v); ok && k != math.MinInt64 {
		return intV(-k)
	}
	return e.errorf(pos, "minus takes a number or a tensor, found %s", v.what())
}

// A postfix form is a value and what is done to it; a call takes the at, where
// and per that follow it.
func (e *elab) postfix(x *postfix, s *scope) value {
	if x.Base.Name == "chunk" && len(x.Suffix) > 0 && x.Suffix[0].Field == "index" {
		return e.suffixes(e.chunkIndex(x.Pos), x.Suffix[1:], s)
	}
	return e.suffixes(e.primary(x.Base, s), x.Suffix, s)
}

func (e *elab) suffixes(v value, list []*suffix, s *scope) value {
	for k := 0; k < len(list); k++ {
		x := list[k]
		if isBad(v) {
			return badV{}
		}
		switch {
		case x.Field != "":
			v = e.field(x.Pos, v, x.Field)
		case x.Index != nil:
			v = e.index(x.Index, v, s)
		case x.As != nil:
			v = e.as(x.As, v, s)
		case x.Call != nil:
			c := call{pos: x.Pos, args: x.Call, s: s}
			for ; k+1 < len(list); k++ {
				switch y := list[k+1]; {
				case y.Where != nil:
					c.where = y.Where
					continue
				case y.At != nil:
					c.at = y.At
					continue
				case y.Per != nil:
					c.per = y.Per
					continue
				}
				break
			}
			v = e.call(v, &c)
		default:
			v = e.errorf(x.Pos, "where, at and per follow a call, found %s", v.what())
		}
	}
	return v
}

func (e *elab) primary(x *primary, s *scope) value {
	if !e.step(x.Pos) {
		return badV{}
	}
	switch {
	case x.Float != "":
		f, err := strconv.ParseFloat(x.Float, 64)
		if err != nil {
			return e.errorf(x.Pos, "the number %s is too large", short(x.Float))
		}
		return floatV(f)
	case x.Int != "":
		k, err := strconv.ParseInt(x.Int, 10, 64)
		if err != nil {
			return e.errorf(x.Pos, "the integer %s does not fit into 64 bits", short(x.Int))
		}
		return intV(k)
	case x.Str != "":
		if t, ok := e.text(x.Pos, x.Str, s); ok {
			return strV(t)
		}
		return badV{}
	case x.Bool != "":
		return boolV(x.Bool == "true")
	case x.If != nil:
		return e.ifExpr(x.If, s)
	case x.Each != nil:
		return e.each(x.Each, s)
	case x.Repeat != nil:
		return e.repeat(x.Repeat, s)
	case x.Initial != nil:
		v := e.find(x.Initial.Pos, x.Initial.Text, s)
		if st, ok := v.(stateV); ok {
			return st.initial()
		}
		if isBad(v) {
			return v
		}
		return e.errorf(x.Initial.Pos, "initial takes the name of a state, found %s", v.what())
	case x.Weight != nil:
		return e.weight(x.Weight, s)
	case x.Name != "":
		return e.lookup(x.Pos, x.Name, s)
	case x.List != nil:
		return e.list(x.List.Items, s)
	case len(x.Paren) == 1:
		return e.expr(x.Paren[0], s)
	}
	return e.list(x.Paren, s)
}

func (e *elab) list(items []*expr, s *scope) value {
	out := listV{}
	for _, i := range items {
		v := e.expr(i, s)
		if isBad(v) {
			return badV{}
		}
		out = append(out, v)
	}
	return out
}

// find gives what a name stands for; a state stays a state.
func (e *elab) find(pos lexer.Position, name string, s *scope) value {
	if v, ok := s.find(name); ok {
		return v
	}
	if d := e.decls[name]; d != nil {
		return e.declared(pos, d)
	}
	if isRule(e, name) {
		return ruleV(name)
	}
	if name == "empty" {
		return emptyV{}
	}
	return e.unknown(pos, name, s.names())
}

// unknown reports a name that means nothing, and what may have been meant.
func (e *elab) unknown(pos lexer.Position, name string, local []string) value {
	for n := range e.decls {
		local = append(local, n)
	}
	for n := range rules {
		local = append(local, n)
	}
	return e.errorf(pos, "there is no %s here%s", name, near(name, local))
}

func (e *elab) lookup(pos lexer.Position, name string, s *scope) value {
	v := e.find(pos, name, s)
	if st, ok := v.(stateV); ok {
		switch e.phase {
		case reading:
			return st.old
		case writing:
			return st.now()
		}
		return e.errorf(pos, "the state %s may be named in `read`, `write` and `initial` only: write `read x = …`", name)
	}
	return v
}

func (e *elab) ifExpr(x *ifExpr, s *scope) value {
	test := e.expr(x.Test, s)
	switch c := test.(type) {
	case badV:
		return c
	case boolV:
		if c {
			return e.expr(x.Then, s)
		}
		return e.expr(x.Else, s)
	case maskV:
		if !c.test {
			break
		}
		return e.maskIf(x, c, e.expr(x.Then, s), e.expr(x.Else, s))
	case tensorV:
		a, b := e.expr(x.Then, s), e.expr(x.Else, s)
		if isBad(a, b) {
			return badV{}
		}
		return e.pick(x, c.Node, a, b)
	}
	return e.errorf(x.Test.Pos, "if needs a test, found %s", test.what())
}

// pick is select, field by field for records.
func (e *elab) pick(x *ifExpr, c *ir.Node, a, b value) value {
	if ra, ok := a.(recordV); ok {
		rb, ok := b.(recordV)
		if !ok || rb.of != ra.of {
			return e.errorf(x.Pos, "the two values of if must be alike, found %s and %s", a.what(), b.what())
		}
		out := recordV{of: ra.of}
		for i := range ra.fields {
			out.fields = append(out.fields, e.pick(x, c, ra.fields[i], rb.fields[i]))
		}
		return out
	}
	e.b.At = []ir.Pos{place(x.Pos)}
	ia, oka := e.chosen(a)
	ib, okb := e.chosen(b)
	if !oka || !okb {
		return e.choose(x, c, a, b)
	}
	whole, ok1 := e.make(x.Pos, "select", ir.Attr{}, c, ia, ib).(tensorV)
	real, ok2 := e.choose(x, c, tensorV{e.numbers(ia)}, tensorV{e.numbers(ib)}).(tensorV)
	if !ok1 || !ok2 {
		return badV{}
	}
	e.choices[whole.Node] = real.Node
	return whole
}

// choose is select between two values that are numbers or tensors.
func (e *elab) choose(x *ifExpr, c *ir.Node, a, b value) value {
	na, ok := e.number(x.Then.Pos, a, b)
	if !ok {
		return badV{}
	}
	nb, ok := e.number(x.Else.Pos, b, a)
	if !ok {
		return badV{}
	}
	return e.make(x.Pos, "select", ir.Attr{}, c, na, nb)
}

// chosen gives an arm of a choice as an integer where it is static, or again a
// choice between static integers.
func (e *elab) chosen(v value) (*ir.Node, bool) {
	if t, ok := v.(tensorV); ok {
		return t.Node, e.choices[t.Node] != nil
	}
	k, ok := intOf(v)
	if !ok || k > 1<<53 || k < -1<<53 {
		return nil, false
	}
	n := e.b.I(k)
	e.choices[n] = e.b.F(float64(k))
	return n, true
}

// each i, (x, y) in (a, b): value: the value for each field of records, or for
// each element of lists.
func (e *elab) each(x *eachExpr, s *scope) value {
	in := e.expr(x.In, s)
	if isBad(in) {
		return badV{}
	}
	sources := []value{in}
	if l, ok := in.(listV); ok && len(x.Vars) > 1 {
		sources = l
	}
	if len(sources) != len(x.Vars) {
		return e.errorf(x.Pos, "each binds %d names to %d values", len(x.Vars), len(sources))
	}
	var of *record
	n := -1
	rows := make([][]value, len(sources))
	for k, src := range sources {
		switch v := src.(type) {
		case recordV:
			rows[k], of = v.fields, v.of
		case listV:
			rows[k] = v
		default:
			return e.errorf(x.In.Pos, "each goes over records or lists, found %s", src.what())
		}
		if n >= 0 && n != len(rows[k]) {
			return e.errorf(x.In.Pos, "each goes over values of one length, found %d and %d", n, len(rows[k]))
		}
		n = len(rows[k])
	}
	var out []value
	for i := range n {
		if !e.step(x.Pos) {
			return badV{}
		}
		in := s.inner()
		for k, v := range x.Vars {
			in.vars[v.Text] = rows[k][i]
		}
		if x.Index != nil {
			in.vars[x.Index.Text] = intV(i)
		}
		v := e.expr(x.Value, in)
		if isBad(v) {
			return badV{}
		}
		out = append(out, v)
	}
	if of != nil {
		return recordV{of, out}
	}
	return listV(out)
}

// turns gives the values that a loop goes through.
func (e *elab) turns(pos lexer.Position, v value) ([]value, bool) {
	switch v := v.(type) {
	case badV:
		return nil, false
	case listV:
		return v, true
	case rangeV:
		if v.hi-v.lo > maxTurns {
			e.errorf(pos, "a loop of %d turns; at most %d", v.hi-v.lo, maxTurns)
			return nil, false
		}
		var out []value
		for k := v.lo; k < v.hi; k++ {
			out = append(out, intV(k))
		}
		return out, true
	}
	e.errorf(pos, "a loop goes over a list or a range a..b, found %s", v.what())
	return nil, false
}

// repeat f(x, …) over "path" for i in …: x = f(x, …) at each path.
func (e *elab) repeat(x *repeatExpr, s *scope) value {
	k := len(x.Call.Suffix)
	if k == 0 || x.Call.Suffix[0].Call == nil || len(x.Call.Suffix[0].Call.List) == 0 || x.Call.Suffix[0].Call.List[0].Name != nil {
		return e.errorf(x.Call.Pos, "repeat takes a call whose first argument is what goes round")
	}
	args := x.Call.Suffix[0].Call
	f := e.primary(x.Call.Base, s)
	v := e.expr(args.List[0].Value, s)
	if isBad(f, v) {
		return badV{}
	}
	list, ok := e.turns(x.In.Pos, e.expr(x.In, s))
	if !ok {
		return badV{}
	}
	for _, i := range list {
		in := s.inner()
		in.vars[x.Var.Text] = i
		path, ok := e.text(x.Pos, x.Path, in)
		if !ok || !e.step(x.Pos) {
			return badV{}
		}
		c := call{pos: x.Call.Suffix[0].Pos, args: args, first: v, s: in}
		for _, y := range x.Call.Suffix[1:] {
			if y.Where == nil {
				return e.errorf(y.Pos, "repeat takes a call and where")
			}
			c.where = y.Where
		}
		v = e.within(path, func() value { return e.call(f, &c) })
		if isBad(v) {
			return badV{}
		}
	}
	return v
}

func (e *elab) field(pos lexer.Position, v value, name string) value {
	r, ok := v.(recordV)
	if !ok {
		return e.errorf(pos, "%s has no fields", v.what())
	}
	var names []string
	for i, f := range r.of.fields {
		if f.name == name {
			return r.fields[i]
		}
		names = append(names, f.name)
	}
	return e.errorf(pos, "%s has no field %s%s", r.what(), name, near(name, names))
}
