package frontend

import "github.com/alecthomas/participle/v2/lexer"

// A speller finds names that mean nothing in functions, also in those that no
// entry calls and in branches that these parameters do not take. It knows no
// values: what a name stands for, elaboration finds out.
type speller struct {
	e     *elab
	known []map[string]bool // names of the function, innermost last
}

// spellAll checks every function and entry of the files.
func (e *elab) spellAll(files []*file) {
	for _, f := range files {
		for _, d := range f.decls {
			w := &speller{e: e}
			switch {
			case d.Fn != nil:
				x := d.Fn
				w.enter()
				for _, n := range x.Any {
					w.add(n)
				}
				for _, p := range x.Params {
					w.shape(p.Shape)
					w.expr(p.Default)
					w.add(p.Name)
				}
				if x.Where != nil {
					w.add(x.Where)
				}
				if x.Chunk != nil {
					w.expr(x.Chunk.Size)
				}
				w.block(x.Body)
				w.expr(x.Value)
			case d.Entry != nil:
				x := d.Entry
				w.enter()
				for _, p := range x.Params {
					w.shape(p.Shape)
					w.add(p.Name)
				}
				for _, r := range x.Results {
					w.shape(r.Shape)
				}
				w.block(x.Body)
				w.expr(x.Value)
			}
		}
	}
}

func (w *speller) enter(names ...string) {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	w.known = append(w.known, m)
}

func (w *speller) leave()      { w.known = w.known[:len(w.known)-1] }
func (w *speller) add(n *name) { w.known[len(w.known)-1][n.Text] = true }

func (w *speller) name(pos lexer.Position, text string) {
	for _, m := range w.known {
		if m[text] {
			return
		}
	}
	if w.e.decls[text] != nil || isRule(w.e, text) || text == "empty" {
		return
	}
	var all []string
	for _, m := range w.known {
		all = append(all, keys(m)...)
	}
	w.e.unknown(pos, text, all)
}

// block first enters the names that its statements bind: a name that is used
// before it is bound, elaboration reports.
func (w *speller) block(b *block) {
	if b == nil {
		return
	}
	for _, s := range b.Stmts {
		for _, x := range []*bindStmt{s.Bind, s.Read} {
			if x != nil {
				for _, t := range x.Names {
					w.add(t.Name)
				}
			}
		}
		switch {
		case s.State != nil:
			w.add(s.State.Name)
			if s.State.Len != nil {
				w.add(s.State.Len)
			}
		case s.Dim != nil:
			for _, it := range s.Dim.Items {
				w.add(it.Name)
			}
		case s.For != nil:
			w.add(s.For.Var)
		}
	}
	for _, s := range b.Stmts {
		w.stmt(s)
	}
}

func (w *speller) stmt(s *stmt) {
	for _, x := range []*bindStmt{s.Bind, s.Read} {
		if x != nil {
			for _, t := range x.Names {
				w.shape(t.Shape)
			}
			w.exprs(x.Values)
		}
	}
	switch {
	case s.State != nil:
		w.shape(s.State.Shape)
		w.expr(s.State.Init)
	case s.Write != nil:
		w.block(s.Write)
	case s.Return != nil:
		w.exprs(s.Return.Values)
	case s.Probe != nil:
		w.expr(s.Probe.Value)
	case s.If != nil:
		for x := s.If; x != nil; x = x.Elif {
			w.expr(x.Test)
			w.block(x.Then)
			w.block(x.Else)
		}
	case s.For != nil:
		w.expr(s.For.In)
		w.block(s.For.Body)
	case s.Dim != nil:
		for _, it := range s.Dim.Items {
			w.expr(it.Size)
		}
	case s.Require != nil:
		w.expr(s.Require.Test)
		w.expr(s.Require.Message)
	}
}

func (w *speller) exprs(list []*expr) {
	for _, x := range list {
		w.expr(x)
	}
}

func (w *speller) shape(x *shape) {
	if x == nil {
		return
	}
	for _, it := range x.Items {
		if _, ok := kindTest(it.Value); !ok {
			w.expr(it.Value)
		}
	}
}

func (w *speller) expr(x *expr) {
	if x == nil {
		return
	}
	w.postfix(x.First.Post)
	for _, b := range x.Rest {
		w.postfix(b.Right.Post)
	}
}

func (w *speller) postfix(x *postfix) {
	if x.Base.Name != "chunk" || len(x.Suffix) == 0 || x.Suffix[0].Field != "index" {
		w.primary(x.Base)
	}
	for _, s := range x.Suffix {
		w.shape(s.Index)
		switch {
		case s.Call != nil:
			for _, a := range s.Call.List {
				w.expr(a.Value)
			}
		case s.As != nil:
			w.shape(s.As.Shape)
		case s.Where != nil:
			w.enter("i", "j")
			w.expr(s.Where)
			w.leave()
		case s.At != nil:
			w.primary(s.At)
		}
	}
}

func (w *speller) primary(x *primary) {
	switch {
	case x.If != nil:
		w.expr(x.If.Test)
		w.expr(x.If.Then)
		w.expr(x.If.Else)
	case x.Each != nil:
		w.expr(x.Each.In)
		w.enter()
		if x.Each.Index != nil {
			w.add(x.Each.Index)
		}
		for _, n := range x.Each.Vars {
			w.add(n)
		}
		w.expr(x.Each.Value)
		w.leave()
	case x.Repeat != nil:
		w.expr(x.Repeat.In)
		w.enter(x.Repeat.Var.Text)
		w.postfix(x.Repeat.Call)
		w.leave()
	case x.Initial != nil:
		w.name(x.Initial.Pos, x.Initial.Text)
	case x.Weight != nil:
		w.expr(x.Weight.Name)
		w.shape(x.Weight.Shape)
		if x.Weight.Init != nil {
			w.enter("fan_in")
			w.expr(x.Weight.Init.Value)
			w.leave()
		}
	case x.Name != "":
		w.name(x.Pos, x.Name)
	case x.List != nil:
		w.exprs(x.List.Items)
	}
	w.exprs(x.Paren)
}
