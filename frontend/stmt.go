package frontend

import (
	"slices"

	"github.com/memc-lang/memc/ir"
)

// body runs a function's statements and gives what they return.
func (e *elab) body(b *block, s *scope) value {
	v := e.stmts(b, s, nil)
	if v == nil {
		return e.errorf(b.Pos, "the body returns nothing: it must end with return")
	}
	return v
}

// stmts runs statements; the value is that of a return, or nil. m is the memory
// whose own statements these are, nil in a function.
func (e *elab) stmts(b *block, s *scope, m *scanning) value {
	for k, x := range b.Stmts {
		if !e.step(x.Pos) {
			return badV{}
		}
		v := e.stmt(x, s, m)
		if v == nil {
			continue
		}
		if k+1 < len(b.Stmts) {
			if _, bad := v.(badV); !bad {
				return e.errorf(b.Stmts[k+1].Pos, "nothing after return is ever reached")
			}
		}
		return v
	}
	return nil
}

func (e *elab) stmt(x *stmt, s *scope, m *scanning) value {
	switch own := x.State != nil || x.Read != nil || x.Write != nil; {
	case m == nil && (own || x.Probe != nil):
		return e.errorf(x.Pos, "state, read, write and probe are statements of a memory's own body")
	case own && e.phase == writing:
		return e.errorf(x.Pos, "state, read and write stand outside the write")
	case x.Probe != nil && e.phase != writing:
		return e.errorf(x.Pos, "a probe shows what a write did: it stands inside the write")
	}
	switch {
	case x.State != nil:
		e.declareState(x.State, s, m)
	case x.Read != nil:
		if m.written {
			return e.errorf(x.Pos, "a read comes before the write")
		}
		e.phase = reading
		e.bind(x.Read, s)
		e.phase = outside
	case x.Write != nil:
		if m.written {
			return e.errorf(x.Pos, "a memory has one write")
		}
		m.written = true
		e.phase = writing
		e.stmts(x.Write, s.inner(), m)
		e.phase = outside
	case x.Return != nil:
		if m != nil && e.phase == writing {
			return e.errorf(x.Pos, "a write returns nothing")
		}
		if len(x.Return.Values) == 1 {
			return e.expr(x.Return.Values[0], s)
		}
		return e.list(x.Return.Values, s)
	case x.Probe != nil:
		e.probe(x.Probe, s)
	case x.If != nil:
		return e.ifStmt(x.If, s, m)
	case x.For != nil:
		list, ok := e.turns(x.For.In.Pos, e.expr(x.For.In, s))
		if !ok {
			return badV{}
		}
		for _, v := range list {
			s.vars[x.For.Var.Text] = v
			if r := e.stmts(x.For.Body, s, m); r != nil {
				return r
			}
		}
	case x.Dim != nil:
		for _, it := range x.Dim.Items {
			d, ok := e.sized(it.Size.Pos, it.Name.Text, e.expr(it.Size, s))
			if !ok {
				s.vars[it.Name.Text] = badV{}
				continue
			}
			s.vars[it.Name.Text] = dimV{d}
		}
	case x.Require != nil:
		e.require(x.Require, s)
	case x.Bind != nil:
		e.bind(x.Bind, s)
	}
	return nil
}

func (e *elab) ifStmt(x *ifStmt, s *scope, m *scanning) value {
	test := e.expr(x.Test, s)
	c, ok := test.(boolV)
	switch {
	case isBad(test):
		return test
	case !ok:
		return e.errorf(x.Test.Pos, "the statement if needs a static test, found %s; choose between values with if … then … else", test.what())
	case bool(c):
		return e.stmts(x.Then, s, m)
	case x.Elif != nil:
		return e.ifStmt(x.Elif, s, m)
	case x.Else != nil:
		return e.stmts(x.Else, s, m)
	}
	return nil
}

func (e *elab) require(x *requireStmt, s *scope) {
	test := e.expr(x.Test, s)
	c, ok := test.(boolV)
	if isBad(test) {
		return
	}
	if !ok {
		e.errorf(x.Test.Pos, "require needs a static test, found %s", test.what())
		return
	}
	if !c {
		if msg, ok := e.expr(x.Message, s).(strV); ok {
			e.errorf(x.Test.Pos, "%s", string(msg))
		} else {
			e.errorf(x.Message.Pos, "require takes a test and a string")
		}
	}
}

// bind is a, b = x, y, or a, b = f(x) where f returns two values.
func (e *elab) bind(x *bindStmt, s *scope) {
	var vals []value
	if len(x.Values) == 1 {
		v := e.expr(x.Values[0], s)
		vals = []value{v}
		if l, ok := v.(listV); ok && len(x.Names) > 1 {
			vals = l
		}
		if isBad(v) {
			vals = slices.Repeat([]value{badV{}}, len(x.Names))
		}
	} else {
		for _, y := range x.Values {
			vals = append(vals, e.expr(y, s))
		}
	}
	if len(vals) != len(x.Names) {
		e.errorf(x.Pos, "%d names for %d values", len(x.Names), len(vals))
		vals = slices.Repeat([]value{badV{}}, len(x.Names))
	}
	for k, t := range x.Names {
		v := vals[k]
		if t.Shape != nil && !isBad(v) {
			if n, ok := e.tensor(t.Pos, v, t.Name.Text); ok {
				v = e.shaped(t.Pos, "expected "+t.Name.Text, nil, t.Shape, n, s)
			} else {
				v = badV{}
			}
		}
		e.assign(t, v, s)
	}
}

func (e *elab) assign(t *target, v value, s *scope) {
	name := t.Name.Text
	if old, ok := s.find(name); ok {
		if st, ok := old.(stateV); ok {
			if e.phase != writing {
				e.errorf(t.Pos, "the state %s can change in `write` only", name)
				return
			}
			e.writeState(t, st.state, v)
			return
		}
	}
	s.vars[name] = v
}

// conform gives n the dimensions dims: what it lacks is repeated, and their
// order becomes that of dims.
func (e *elab) conform(x *target, n *ir.Node, dims []ir.Dim) value {
	if slices.EqualFunc(n.Type.Dims, dims, ir.Dim.Same) {
		return tensorV{n}
	}
	return e.make(x.Pos, "expand", ir.Attr{Dims: dims}, n)
}
