package ptx

import (
	"slices"

	"github.com/memc-lang/memc/ir/kernel"
)

// ordered gives the statements of a body in an order in which registers hold fewer
// tiles: a store comes as soon as its tile has been computed, and so does a map
// whose tile is only stored. Nothing moves out of a loop or a condition.
func ordered(k *kernel.Kernel) *kernel.Kernel {
	read := map[*kernel.Tile]bool{} // by what is no store
	var walk func(body []kernel.Stmt)
	walk = func(body []kernel.Stmt) {
		for _, s := range body {
			if _, store := s.(*kernel.Store); !store {
				reads, _ := kernel.Touches(s)
				for _, t := range reads {
					read[t] = true
				}
			}
			walk(bodyOf(s))
		}
	}
	for _, part := range k.Parts {
		walk(part.Body)
	}
	out := *k
	out.Parts = slices.Clone(k.Parts)
	for i := range out.Parts {
		out.Parts[i].Body = early(k.Parts[i].Body, read)
	}
	return &out
}

func bodyOf(s kernel.Stmt) []kernel.Stmt {
	switch s := s.(type) {
	case *kernel.For:
		return s.Body
	case *kernel.When:
		return s.Body
	}
	return nil
}

func early(body []kernel.Stmt, read map[*kernel.Tile]bool) []kernel.Stmt {
	var out []kernel.Stmt
	for _, s := range body {
		at := len(out)
		switch t := s.(type) {
		case *kernel.For:
			inner := *t
			inner.Body = early(t.Body, read)
			s = &inner
		case *kernel.When:
			inner := *t
			inner.Body = early(t.Body, read)
			s = &inner
		case *kernel.Map:
			for !read[t.Dst] && at > 0 && passes(s, out[at-1]) {
				at--
			}
		case *kernel.Store:
			for at > 0 && passes(s, out[at-1]) {
				at--
			}
		}
		out = slices.Insert(out, at, s)
	}
	return out
}

// passes reports whether a statement may run before one that it follows.
func passes(s, before kernel.Stmt) bool {
	if len(bodyOf(before)) > 0 {
		return !slices.ContainsFunc(bodyOf(before), func(b kernel.Stmt) bool { return !passes(s, b) })
	}
	reads, writes := kernel.Touches(s)
	r, w := kernel.Touches(before)
	clash := func(a, b []*kernel.Tile) bool {
		return slices.ContainsFunc(a, func(t *kernel.Tile) bool { return t != nil && slices.Contains(b, t) })
	}
	if clash(reads, w) || clash(writes, r) || clash(writes, w) {
		return false
	}
	x, y := bufOf(s), bufOf(before)
	return x == nil || y == nil || apart(x, y)
}

// bufOf is the buffer that a statement accesses.
func bufOf(s kernel.Stmt) *kernel.Buf {
	switch s := s.(type) {
	case *kernel.Load:
		return s.Buf
	case *kernel.Store:
		return s.Buf
	}
	return nil
}

// apart reports whether two buffers are surely different memory, as far as that
// counts: one that is not written has none of another one that is.
func apart(a, b *kernel.Buf) bool {
	return !a.Write || !b.Write || a != b && a.Elem == b.Elem && a.Panel == b.Panel && a.Pairs == b.Pairs && slices.Equal(a.Dims, b.Dims)
}
