package ptx

import (
	"slices"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// lay chooses how tiles in memory lie.
func (p *placer) lay() {
	for _, t := range p.k.Tiles {
		pl := p.at[t]
		if pl.home != atShared {
			continue
		}
		dots, alone := p.products(t)
		pl.operand = len(dots) > 0
		var loads []*kernel.Load
		summed := false // by statements that store floats
		for _, a := range p.uses[t] {
			if l, ok := a.s.(*kernel.Load); ok && a.write {
				loads = append(loads, l)
			} else if a.write {
				loads = append(loads, nil)
				switch a.s.(type) {
				case *kernel.Dot, *kernel.Paste, *kernel.Reduce:
					summed = true
				}
			}
		}
		if len(loads) == 1 && loads[0] != nil {
			if v, ok := copyable(p.k, loads[0]); ok {
				pl.flip = v == kernel.Row && t.Rows > 1
				if p.ahead[loads[0]] && p.stays(t) {
					pl.copies = 2
				}
			}
		}
		if alone && len(loads) > 0 && !summed {
			rounded := !slices.ContainsFunc(dots, func(d *kernel.Dot) bool { return d.Operands != kernel.BF16 })
			values := t.Elem
			if loads[0] != nil && half(loads[0].Buf.Elem) {
				values = loads[0].Buf.Elem
			}
			for _, l := range loads {
				if l == nil || l.Buf.Elem != values {
					values = t.Elem
				}
				if l != nil && l.Buf.Elem != kernel.BF16 {
					if _, ok := copyable(p.k, l); ok {
						rounded = false // copied as it is, rounded when read
					}
				}
			}
			pl.values = values
			if rounded {
				pl.elem = kernel.BF16
			} else if half(values) {
				pl.elem = values
			}
		}
		p.size(t, &pl, dots)
		p.at[t] = pl
	}
}

// stays reports whether a tile is used within one loop alone.
func (p *placer) stays(t *kernel.Tile) bool {
	us := p.uses[t]
	f := us[0].path
	if len(f) == 0 {
		return false
	}
	e := p.ends[f[len(f)-1]]
	return !slices.ContainsFunc(us, func(a access) bool { return a.at < e[0] || a.at > e[1] })
}

// size gives a tile in memory its lines. For products it has whole fragments, and
// lines of a length at which the 8 rows of a matrix, or the 8 x 4 places of a
// fragment of floats, lie in different banks.
func (p *placer) size(t *kernel.Tile, pl *place, dots []*kernel.Dot) {
	rows, cols := t.Rows, t.Cols
	along := false // k runs along a line
	for _, d := range dots {
		sp := p.parts[max(0, p.partOf(t))].spread
		kRows := t == d.A && d.TransA || t == d.B && !d.TransB
		f := streamOf(d, p.at, sp)
		other := 32 * max(1, (16*sp.down+31)/32)
		if p.at[d.Dst].home == atRegs || f.bytes > 0 {
			other = 16 * sp.down
			if t == d.B {
				other = 16 * ((8*sp.across + 15) / 16)
			}
		}
		if t == d.A && t == d.B {
			other = max(32, 16*sp.down, 16*sp.across)
		}
		terms := 16
		if f.bytes > 0 {
			terms = f.k
		}
		if kRows {
			rows, cols = max(rows, up(t.Rows, terms)), max(cols, up(t.Cols, other))
		} else {
			rows, cols = max(rows, up(t.Rows, other)), max(cols, up(t.Cols, terms))
		}
		along = along || kRows == pl.flip
	}
	pl.padded = rows > t.Rows || cols > t.Cols
	pl.lines, pl.ld = rows, cols
	if pl.flip {
		pl.lines, pl.ld = cols, rows
	}
	pl.ld = lineOf(pl.ld, pl.elem, pl.operand, along)
	if p.joined(t) && !pl.operand && !pl.flip {
		pl.ld |= 1
	}
}

// joined reports whether threads go along a row each of a tile that no copy brings:
// their banks differ where a line is odd.
func (p *placer) joined(t *kernel.Tile) (some bool) {
	for _, a := range p.uses[t] {
		switch s := a.s.(type) {
		case *kernel.Load:
			return false
		case *kernel.Reduce:
			some = some || s.Src == t && !s.OverRows && t.Rows > 1
		}
	}
	return some
}

// lineOf is the least line of n elements or more without bank conflicts.
func lineOf(n int, e kernel.Elem, operand, along bool) int {
	switch {
	case !operand:
		return n
	case half(e): // 16 bytes an odd number of times
		return up(n, 8) + (up(n, 8)/8+1)%2*8
	}
	n = up(n, 4)
	for along && n%16 != 8 || !along && n%8 != 4 {
		n += 4
	}
	return n
}

func up(n, to int) int { return (n + to - 1) / to * to }

// divides reports whether an expression is surely a multiple of n: axes and loops
// go in steps.
func divides(e *ints.Expr, n int64, steps map[string]int64) bool {
	if k, ok := e.IsConst(); ok {
		return k%n == 0
	}
	all := func(args []*ints.Expr) bool {
		return !slices.ContainsFunc(args, func(a *ints.Expr) bool { return !divides(a, n, steps) })
	}
	switch e.Op {
	case ints.Var:
		return steps[e.Name]%n == 0 && steps[e.Name] > 0
	case ints.Mul:
		for i, a := range e.Args {
			if k, ok := a.IsConst(); ok && k != 0 {
				for m := n; m > 1; m /= 2 {
					if k%m == 0 {
						return m == n || divides(e.Args[1-i], n/m, steps)
					}
				}
			}
		}
		return divides(e.Args[0], n, steps) || divides(e.Args[1], n, steps)
	case ints.Add, ints.Sub, ints.Min, ints.Max:
		return all(e.Args)
	case ints.Select:
		return all(e.Args[1:])
	case ints.Mod:
		return all(e.Args)
	case ints.Div:
		return false
	}
	return n == 1
}
