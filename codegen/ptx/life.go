package ptx

import (
	"slices"

	"github.com/memc-lang/memc/ir/kernel"
)

// access is one use of a tile.
type access struct {
	s     kernel.Stmt
	write bool
	at    int // number of the statement
	part  int
	path  []*kernel.For // the loops around it
	body  int           // number of the list of statements that it stands in
}

func (p *placer) walk(part int, body []kernel.Stmt, path []*kernel.For) {
	p.bodies++
	here := p.bodies
	for _, s := range body {
		p.count++
		a := access{s: s, at: p.count, part: part, path: path, body: here}
		switch s := s.(type) {
		case *kernel.For:
			first := p.count
			for _, l := range leading(p.k, s) {
				p.ahead[l] = true
			}
			p.walk(part, s.Body, append(slices.Clip(path), s))
			p.ends[s] = [2]int{first, p.count}
			continue
		case *kernel.When:
			p.walk(part, s.Body, path)
			continue
		case *kernel.Store:
			p.stores = append(p.stores, a)
		}
		reads, writes := kernel.Touches(s)
		for _, t := range reads {
			if t != nil {
				p.uses[t] = append(p.uses[t], a)
			}
		}
		a.write = true
		for _, t := range writes {
			if t != nil {
				p.uses[t] = append(p.uses[t], a)
			}
		}
	}
}

// leading lists the loads that a loop with stages may begin one turn early: those
// at the start of its body, or of the one condition in it, that are copies by 16
// bytes, in a loop that stores nothing.
func leading(k *kernel.Kernel, f *kernel.For) []*kernel.Load {
	if f.Stages < 2 || anyStore(f.Body) {
		return nil
	}
	var out []*kernel.Load
	for _, s := range inner(f) {
		l, ok := s.(*kernel.Load)
		if !ok {
			break
		}
		if _, ok := copyable(k, l); ok {
			out = append(out, l)
		}
	}
	return out
}

// inner is the body of a loop, seen through a condition that is all of it.
func inner(f *kernel.For) []kernel.Stmt {
	if len(f.Body) == 1 {
		if w, ok := f.Body[0].(*kernel.When); ok {
			return w.Body
		}
	}
	return f.Body
}

func anyStore(body []kernel.Stmt) bool {
	return slices.ContainsFunc(body, func(s kernel.Stmt) bool {
		switch s := s.(type) {
		case *kernel.Store:
			return true
		case *kernel.For:
			return anyStore(s.Body)
		case *kernel.When:
			return anyStore(s.Body)
		}
		return false
	})
}

// partOf is the one part that uses a tile, or -1.
func (p *placer) partOf(t *kernel.Tile) int {
	part := -1
	for _, a := range p.uses[t] {
		if part >= 0 && part != a.part {
			return -1
		}
		part = a.part
	}
	return part
}

// moments is when a tile in registers holds some of them: statement i reads at
// 2i and has written at 2i+1. A map goes element by element, so that its result
// takes the registers of an operand that nothing reads any more.
func (p *placer) moments(t *kernel.Tile) (from, to int) {
	lo, hi := p.life(t)
	from, to = 2*lo, 2*hi+1
	us := p.uses[t]
	if m, ok := us[0].s.(*kernel.Map); ok && us[0].at == lo && m.Dst == t && us[0].write {
		from++
	}
	if m, ok := us[len(us)-1].s.(*kernel.Map); ok && us[len(us)-1].at == hi && m.Dst != t && m.Dst.Rows == t.Rows && m.Dst.Cols == t.Cols {
		to--
	}
	return from, to
}

// crowded gives the moment at which the most elements are alive, and how many.
func (p *placer) crowded() (at, alive int) {
	sum := make([]int, 2*p.count+4)
	for _, t := range p.k.Tiles {
		if p.at[t].home != atRegs || len(p.uses[t]) == 0 {
			continue
		}
		n := p.parts[p.partOf(t)].held(t)
		from, to := p.moments(t)
		for i := from; i <= to; i++ {
			sum[i] += n
		}
	}
	for i, n := range sum {
		if n > alive {
			at, alive = i, n
		}
	}
	return at, alive
}

func (p *placer) alive(t *kernel.Tile, at int) bool {
	if len(p.uses[t]) == 0 {
		return false
	}
	from, to := p.moments(t)
	return from <= at && at <= to
}

// life is the first and last statement at which a tile has a value that counts:
// around a loop where it is used both inside and outside, or read in it first.
func (p *placer) life(t *kernel.Tile) (lo, hi int) {
	us := p.uses[t]
	lo, hi = us[0].at, us[0].at
	for _, a := range us {
		lo, hi = min(lo, a.at), max(hi, a.at)
	}
	for _, a := range us {
		for _, f := range a.path {
			e := p.ends[f]
			outside := slices.ContainsFunc(us, func(b access) bool { return b.at < e[0] || b.at > e[1] })
			first := us[slices.IndexFunc(us, func(b access) bool { return b.at >= e[0] })]
			// Written under a condition, it may be that of an earlier turn.
			scattered := slices.ContainsFunc(us, func(b access) bool { return b.at >= e[0] && b.at <= e[1] && b.body != first.body })
			if outside || !first.write || scattered {
				lo, hi = min(lo, e[0]), max(hi, e[1])
			}
		}
	}
	return lo, hi
}

// together reports whether two tiles have values that count at one time. One that
// is padded keeps its zeros, and one with two copies is filled ahead of its turn.
func (p *placer) together(a, b *kernel.Tile) bool {
	for _, t := range []*kernel.Tile{a, b} {
		if p.at[t].padded || p.at[t].copies > 1 {
			return true
		}
	}
	al, ah := p.life(a)
	bl, bh := p.life(b)
	return al <= bh && bl <= ah
}
