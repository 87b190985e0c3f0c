package frontend

import "github.com/alecthomas/participle/v2/lexer"

// Printing of each kind of syntax. A level says how deep a place is nested: a
// long line is broken at the least first.

func (w *writer) decl(x *decl) {
	switch {
	case x.Import != nil:
		w.glue("import " + x.Import.Path)
	case x.Clock != nil:
		w.glue("clock " + x.Clock.Name.Text)
	case x.Param != nil:
		w.glue("param ")
		w.names(x.Param.Names)
		w.glue(": " + x.Param.Type.String())
		if x.Param.Default != nil {
			w.glue(" =")
			w.glue(" ")
			w.expr(x.Param.Default, 10)
		}
	case x.Dim != nil:
		w.dims(x.Dim)
	case x.Type != nil:
		w.glue("type " + x.Type.Name.Text + " = {")
		for k, f := range x.Type.Fields {
			if k > 0 {
				w.glue(",")
			}
			w.put(" "+f.Name.Text, 1)
			w.shape(f.Shape, 10)
		}
		w.glue(" }")
	case x.Rows != nil:
		w.rows(x.Rows)
	case x.Require != nil:
		w.require(x.Require)
	case x.Fn != nil:
		w.fn(x.Fn)
	case x.Entry != nil:
		e := x.Entry
		w.glue("entry " + e.Name.Text + "(")
		w.params(e.Params)
		w.glue(") ->")
		for k, r := range e.Results {
			if k > 0 {
				w.glue(",")
			}
			w.put(" "+r.Name.Text+" "+r.Elem, 4)
			w.shape(r.Shape, 40)
		}
		w.value(e.Value, e.Body)
	}
}

// value prints = value or a body.
func (w *writer) value(x *expr, b *block) {
	if b != nil {
		w.block(b.Pos, b.Stmts, w.closing(b.Pos))
		return
	}
	w.glue(" =")
	w.broken(x, 1)
}

// broken prints a value after a break of that level.
func (w *writer) broken(x *expr, level int) {
	w.put(" ", level)
	w.expr(x, 10)
}

func (w *writer) names(list []*name) {
	for k, n := range list {
		if k > 0 {
			w.glue(", ")
		}
		w.glue(n.Text)
	}
}

func (w *writer) dims(x *dimDecl) {
	w.glue("dim ")
	for k, it := range x.Items {
		if k > 0 {
			w.glue(",")
			w.put(" ", 1)
		}
		w.glue(it.Name.Text + " = ")
		w.expr(it.Size, 10)
	}
}

func (w *writer) require(x *requireStmt) {
	w.glue("require ")
	w.expr(x.Test, 10)
	w.glue(",")
	w.broken(x.Message, 1)
}

func (w *writer) rows(x *rowsDecl) {
	w.glue("rows " + x.Name.Text + " from " + x.From.Text + " every ")
	w.expr(x.Every, 10)
	// The declaration's own { is the first after its size.
	var brace lexer.Position
	for _, t := range w.f.toks[w.at:] {
		if t.Value == "{" && t.Pos.Offset > x.Every.Pos.Offset {
			brace = t.Pos
			break
		}
	}
	refs := func(list []*rowRef) {
		w.glue(" {")
		for k, r := range list {
			if k > 0 {
				w.glue(";")
			}
			w.glue(" " + r.Name.Text)
			if r.Count != nil {
				w.glue("[")
				w.expr(r.Count, 100)
				w.glue("]")
			}
		}
		w.glue(" }")
	}
	end := w.closing(brace)
	w.open(brace)
	w.line(x.Group.Pos, w.lineEnd(x.Group.Pos), func() {
		w.glue("group ")
		w.expr(x.Group, 100)
		refs(x.In)
	})
	if len(x.End) > 0 {
		w.line(x.End[0].Pos, w.lineEnd(x.End[0].Pos), func() {
			w.glue("end")
			refs(x.End)
		})
	}
	w.close(end)
}

// lineEnd is the line of the first } behind a place.
func (w *writer) lineEnd(pos lexer.Position) int {
	for _, t := range w.f.toks[w.at:] {
		if t.Value == "}" && t.Pos.Offset > pos.Offset {
			return t.Pos.Line
		}
	}
	return pos.Line
}

// line prints a part of a declaration that has a line of its own.
func (w *writer) line(pos lexer.Position, end int, print func()) {
	w.before(pos.Offset, w.depth+1)
	w.depth++
	w.newline(pos.Line, w.depth)
	print()
	w.flush()
	w.last = end
	w.trailing(end)
	w.depth--
}

func (w *writer) fn(x *fnDecl) {
	w.glue(x.Kind + " " + x.Name.Text)
	if len(x.Any) > 0 {
		w.glue("[")
		w.names(x.Any)
		w.glue("]")
	}
	w.glue("(")
	w.params(x.Params)
	w.glue(")")
	if x.Where != nil {
		w.glue(" where " + x.Where.Text)
	}
	if x.Chunk != nil {
		w.glue(" chunk ")
		if x.Chunk.Size != nil {
			w.expr(x.Chunk.Size, 100)
			w.glue(" ")
		}
		w.glue("of " + x.Chunk.Of.Text)
	}
	w.value(x.Value, x.Body)
}

func (w *writer) params(list []*par) {
	for k, p := range list {
		if k > 0 {
			w.glue(",")
			w.put(" ", 3)
		}
		w.glue(p.Name.Text)
		if p.Type != nil {
			w.glue(": " + p.Type.String())
		}
		if p.Elem != "" {
			w.glue(" " + p.Elem)
		}
		if p.Shape != nil {
			w.shape(p.Shape, 30)
		}
		if p.Default != nil {
			w.glue(" = ")
			w.expr(p.Default, 100)
		}
	}
}

func (w *writer) shape(x *shape, level int) {
	w.glue("[")
	if x.Rest {
		w.glue("..")
		if len(x.Items) > 0 {
			w.glue(", ")
		}
	}
	for k, it := range x.Items {
		if k > 0 {
			w.glue(",")
			w.put(" ", level+9)
		}
		if it.Name != nil {
			w.glue(it.Name.Text + ": ")
		}
		w.expr(it.Value, level+10)
	}
	w.glue("]")
}

func (w *writer) stmt(x *stmt, level int) {
	switch {
	case x.State != nil:
		s := x.State
		w.glue("state " + s.Name.Text)
		if s.Record != nil {
			w.glue(": " + s.Record.Text)
		} else {
			w.shape(s.Shape, level+20)
		}
		if s.Elem != "" {
			w.glue(" as " + s.Elem)
		}
		if s.Len != nil {
			w.glue(" len " + s.Len.Text)
		}
		w.glue(" =")
		w.broken(s.Init, level+1)
	case x.Read != nil:
		w.glue("read ")
		w.bind(x.Read, level)
	case x.Write != nil:
		w.glue("write")
		w.block(x.Write.Pos, x.Write.Stmts, w.closing(x.Write.Pos))
	case x.Return != nil:
		w.glue("return")
		w.list(" ", x.Return.Values, level+1)
	case x.Probe != nil:
		w.glue("probe " + x.Probe.Name.Text + " =")
		w.broken(x.Probe.Value, level+1)
	case x.If != nil:
		w.ifs(x.If)
	case x.For != nil:
		w.glue("for " + x.For.Var.Text + " in ")
		w.expr(x.For.In, level+10)
		w.block(x.For.Body.Pos, x.For.Body.Stmts, w.closing(x.For.Body.Pos))
	case x.Dim != nil:
		w.dims(x.Dim)
	case x.Require != nil:
		w.require(x.Require)
	case x.Bind != nil:
		w.bind(x.Bind, level)
	}
}

func (w *writer) ifs(x *ifStmt) {
	w.glue("if ")
	w.expr(x.Test, 10)
	w.block(x.Then.Pos, x.Then.Stmts, w.closing(x.Then.Pos))
	switch {
	case x.Elif != nil:
		w.glue(" else ")
		w.ifs(x.Elif)
	case x.Else != nil:
		w.glue(" else")
		w.block(x.Else.Pos, x.Else.Stmts, w.closing(x.Else.Pos))
	}
}

func (w *writer) bind(x *bindStmt, level int) {
	for k, t := range x.Names {
		if k > 0 {
			w.glue(", ")
		}
		w.glue(t.Name.Text)
		if t.Shape != nil {
			w.shape(t.Shape, level+30)
		}
	}
	w.glue(" =")
	w.list(" ", x.Values, level+1)
}

// list prints values with commas, the first after a break.
func (w *writer) list(first string, list []*expr, level int) {
	for k, v := range list {
		if k > 0 {
			w.glue(",")
			first = " "
		}
		w.put(first, level)
		w.expr(v, level+10)
	}
}

func (w *writer) expr(x *expr, level int) {
	w.unary(x.First, level+9)
	for _, b := range x.Rest {
		if b.Op == ".." {
			w.glue("..")
		} else {
			w.glue(" " + b.Op)
			w.put(" ", level+precedence[b.Op])
		}
		w.unary(b.Right, level+9)
	}
}

func (w *writer) unary(x *unary, level int) {
	for _, op := range x.Ops {
		w.glue(op)
		if op == "not" {
			w.glue(" ")
		}
	}
	w.postfix(x.Post, level)
}

func (w *writer) postfix(x *postfix, level int) {
	w.primary(x.Base, level)
	for _, s := range x.Suffix {
		switch {
		case s.Field != "":
			w.glue("." + s.Field)
		case s.Index != nil:
			w.shape(s.Index, level)
		case s.Call != nil:
			w.args(s.Call, level)
		case s.As != nil && s.As.Shape != nil:
			w.glue(" as ")
			w.shape(s.As.Shape, level)
		case s.As != nil:
			w.glue(" as " + s.As.Elem)
		case s.Where != nil:
			w.put(" where ", level)
			w.expr(s.Where, level+1)
		case s.At != nil:
			w.glue(" at ")
			w.primary(s.At, level)
		case s.Per != nil:
			w.glue(" per " + s.Per.Text)
		}
	}
}

func (w *writer) args(x *args, level int) {
	w.glue("(")
	for k, a := range x.List {
		if k > 0 {
			w.glue(",")
			w.put(" ", level+2)
		}
		if a.Name != nil {
			w.glue(a.Name.Text + ": ")
		}
		w.expr(a.Value, level+10)
	}
	if len(x.Over) > 0 {
		w.glue(" over ")
		w.names(x.Over)
	}
	w.glue(")")
}

func (w *writer) primary(x *primary, level int) {
	switch {
	case x.If != nil:
		w.glue("if ")
		w.expr(x.If.Test, level+10)
		w.glue(" then")
		w.put(" ", level)
		w.expr(x.If.Then, level+10)
		w.put(" else ", level)
		w.expr(x.If.Else, level+10)
	case x.Each != nil:
		w.glue("each ")
		if x.Each.Index != nil {
			w.glue(x.Each.Index.Text + ", ")
		}
		if len(x.Each.Vars) > 1 {
			w.glue("(")
			w.names(x.Each.Vars)
			w.glue(")")
		} else {
			w.names(x.Each.Vars)
		}
		w.glue(" in ")
		w.expr(x.Each.In, level+10)
		w.glue(":")
		w.broken(x.Each.Value, level)
	case x.Repeat != nil:
		w.glue("repeat ")
		w.postfix(x.Repeat.Call, level+10)
		w.put(" over "+x.Repeat.Path, level)
		w.glue(" for " + x.Repeat.Var.Text + " in ")
		w.expr(x.Repeat.In, level+10)
	case x.Initial != nil:
		w.glue("initial " + x.Initial.Text)
	case x.Weight != nil:
		y := x.Weight
		w.glue("weight(")
		w.expr(y.Name, level+10)
		w.glue(")")
		if y.Shape != nil {
			w.shape(y.Shape, level+10)
		}
		if y.Elem != "" {
			w.glue(" as " + y.Elem)
		}
		if y.Init != nil {
			w.glue(" init " + y.Init.Kind.Text)
			if y.Init.Value != nil {
				w.glue("(")
				w.expr(y.Init.Value, level+10)
				w.glue(")")
			}
		}
	case x.List != nil:
		w.glue("[")
		w.items(x.List.Items, level)
		w.glue("]")
	case len(x.Paren) > 0:
		w.glue("(")
		w.items(x.Paren, level)
		w.glue(")")
	default:
		w.glue(x.Float + x.Int + x.Str + x.Bool + x.Name)
	}
}

func (w *writer) items(list []*expr, level int) {
	for k, v := range list {
		if k > 0 {
			w.glue(",")
			w.put(" ", level+2)
		}
		w.expr(v, level+10)
	}
}
