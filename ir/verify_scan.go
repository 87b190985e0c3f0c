package ir

import (
	"fmt"
	"slices"

	"github.com/memc-lang/memc/ir/ints"
)

// scan checks a scan's body, its lengths, its states, and its write.
func (v *verifier) scan(s *scope, n *Node, around []*Region) {
	r := n.Body
	if r.Clock == nil || len(r.States) != len(r.Init) {
		return // its type says so
	}
	around = append(slices.Clone(around), r)
	v.verifyLengths(n, r)
	body := s.body(r)
	v.block(body, around, slices.Concat(r.Params, r.States, r.Roots()))

	// What mixes rows belongs to the write.
	rows := map[*Node]bool{}
	for _, x := range Postorder(slices.Concat(r.Rows, r.Kept)...) {
		rows[x] = true
	}
	for _, x := range Postorder(r.Roots()...) {
		name := mixes(x)
		if name == "" || !body.varies(x) {
			continue
		}
		switch c := mixed(x); {
		case rows[x] || r.Write != nil:
			v.fault(x, "mixes rows of %s before the chunk is complete: cannot stream", name)
		case c != nil && !body.follows(c):
			v.fault(x, "mixes rows of %s: cannot stream", name)
		}
	}
	if r.Block > 0 && r.Write == nil {
		v.fault(n, "blocks of rows, and no write that stands apart")
	}
	from := r
	if r.Write != nil {
		from = r.Write
		v.write(s, n, around)
	}
	if len(from.Next) != len(r.States) {
		v.fault(n, "%d states have %d next values", len(r.States), len(from.Next))
		return
	}
	for i, st := range r.States {
		v.verifyState(n, r, st, r.Init[i], from.Next[i])
	}
	for _, p := range from.Probes {
		if len(p.Value.Type.Dims) > 0 {
			v.fault(p.Value, "the probe %s is no scalar: %s", p.Name, p.Value.Type)
		}
	}
}

// mixed is the clock whose rows n mixes.
func mixed(n *Node) *Clock {
	for _, a := range n.Args {
		if c := a.Type.Clock(); c != nil {
			return c
		}
	}
	return nil
}

// write checks a write that stands apart from the rows.
func (v *verifier) write(s *scope, n *Node, around []*Region) {
	r := n.Body
	w := s.write(r)
	v.block(w, around, r.Write.Roots())
	keeps := map[string]*Node{}
	for _, x := range Postorder(slices.Concat(r.Rows, r.Kept)...) {
		if x.Op.Name == "keep" {
			keeps[x.Attr.Name] = x
			if b := x.Attr.Keep.Block; b != 0 && (b != r.Block || x.Attr.Keep.Ring != r.Clock.Size || x.Type.Clock() != r.Clock) {
				v.fault(x, "it keeps %s of a chunk of %d rows in blocks of %d", x.Attr.Keep, r.Clock.Size, r.Block)
			}
		}
	}
	for _, x := range Postorder(r.Write.Roots()...) {
		switch c := x.Type.Clock(); {
		case !w.varies(x):
		case c != nil && (r.Block == 0 || c != r.Clock):
			v.fault(x, "a write that stands apart reads rows of %s that are not kept", x.Type.Dims[0].Name)
		case x.Op.Name == "kept":
			k := keeps[x.Attr.Name]
			if k == nil {
				v.fault(x, "the scan keeps no rows called %s", x.Attr.Name)
			} else if len(k.Type.Dims) != len(x.Type.Dims) || k.Type.Elem != x.Type.Elem || !slices.EqualFunc(k.Type.Dims[1:], x.Type.Dims[1:], Dim.Same) || (c != nil) != (k.Attr.Keep.Block > 0) {
				v.fault(x, "the rows kept as %s are %s, not %s", x.Attr.Name, k.Type, x.Type)
			}
		case r.Block > 0 && mixes(x) != "" && mixed(x) == r.Clock && x.Op.Name != "accumulate":
			v.fault(x, "mixes rows of %s, of which a write has the last blocks only", mixes(x))
		}
	}
	v.sums(n, r)
}

// sums checks what blocks of a chunk's rows add to.
func (v *verifier) sums(n *Node, r *Region) {
	if r.Block == 0 && len(r.Write.Sums) == 0 {
		return
	}
	if r.Block > r.Clock.Size || len(r.Write.Sums) != len(r.States) {
		v.fault(n, "blocks of %d rows of a chunk of %d add to %d of %d states", r.Block, r.Clock.Size, len(r.Write.Sums), len(r.States))
		return
	}
	for i, x := range r.Write.Sums {
		if x != nil && !sameState(x.Type, r.States[i].Type) {
			v.fault(x, "blocks give %s to the state %s, which is %s", x.Type, r.States[i].Attr.Name, r.States[i].Type)
		}
	}
	for _, x := range Postorder(r.Write.Adds()...) {
		if x.Op.Name == "kept" && x.Type.Clock() == nil {
			v.fault(x, "the rows kept as %s are added before the chunk is complete", x.Attr.Name)
		}
	}
}

// verifyLengths checks that every length stays in its bounds.
func (v *verifier) verifyLengths(n *Node, r *Region) {
	env := v.ranges([]*Region{r})
	for i, l := range r.Lens {
		if slices.ContainsFunc(r.Lens[:i], func(m Length) bool { return m.Name == l.Name }) {
			v.fault(n, "two lengths are called %s", l.Name)
		}
		if l.Start < 0 || l.Start > l.Max {
			v.fault(n, "the length %s starts as %d, not in 0 to %d", l.Name, l.Start, l.Max)
		}
		if l.Next == nil {
			v.fault(n, "the length %s has no next value", l.Name)
			continue
		}
		for name := range varsOf(l.Next) {
			if _, ok := env[name]; !ok {
				v.fault(n, "the length %s becomes %s, but there is no length %s", l.Name, l.Next, name)
			}
		}
		if got := l.Next.Interval(env); got.Lo < 0 || got.Hi > l.Max {
			v.fault(n, "the length %s becomes %s, which may be from %d to %d, not 0 to %d", l.Name, l.Next, got.Lo, got.Hi, l.Max)
		}
	}
}

// verifyState checks a state's first and next value.
func (v *verifier) verifyState(n *Node, r *Region, st, first, next *Node) {
	t := st.Type
	for _, d := range first.Type.Dims {
		i := t.Find(d.Name)
		if i < 0 || d.Size != t.Dims[i].Size && t.Dims[i].Len == nil {
			v.fault(n, "the state %s is %s, which %s cannot begin", st.Attr.Name, t, first.Type)
			break
		}
	}
	if first.Type.Elem.Float() != t.Elem.Float() {
		v.fault(n, "the state %s is %s, which %s cannot begin", st.Attr.Name, t, first.Type)
	}
	if next == nil {
		return
	}
	if !sameState(next.Type, t) {
		v.fault(next, "the write gives %s to the state %s, which is %s", next.Type, st.Attr.Name, t)
		return
	}
	for i, d := range t.Dims {
		if d.Len == nil {
			continue
		}
		if at := lengthsDiffer(r, d.Len, LenOf(next.Type.Dims[i])); at != "" {
			v.fault(next, "the write gives %s to the state %s, whose rows %s the lengths count otherwise%s", next.Type, st.Attr.Name, d.Name, at)
		}
	}
}

// lengthsDiffer looks for lengths at which a state's rows after the write are
// not those that it was given; it tries all, or, where they are many, the ends.
func lengthsDiffer(r *Region, rows, given *ints.Expr) string {
	next := map[string]*ints.Expr{}
	for _, l := range r.Lens {
		if l.Next == nil {
			return ""
		}
		next[l.Name] = l.Next
	}
	rows = rows.Subst(next)
	if ints.Equal(rows, given) {
		return ""
	}
	var lens []Length
	total := int64(1)
	for _, l := range r.Lens {
		if rows.Has(l.Name) || given.Has(l.Name) {
			lens = append(lens, l)
			total = min(total*(l.Max+1), 1<<20)
		}
	}
	if len(lens) > 4 {
		return ": they depend on more than 4 lengths"
	}
	env := map[string]int64{}
	var try func(i int) string
	try = func(i int) string {
		if i == len(lens) {
			a, errA := rows.Eval(env)
			b, errB := given.Eval(env)
			if errA != nil || errB != nil || a != b {
				return fmt.Sprintf(": %d rows for %d at %v", b, a, env)
			}
			return ""
		}
		l := lens[i]
		for k := int64(0); k <= l.Max; k++ {
			if total > 1<<16 && k == 3 && l.Max > 6 {
				k = l.Max - 2
			}
			env[l.Name] = k
			if s := try(i + 1); s != "" {
				return s
			}
		}
		return ""
	}
	return try(0)
}
