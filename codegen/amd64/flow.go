package amd64

import (
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Control flow: loops test at their end, so that a turn has one branch.

// noted is a branch with a comment line before it.
type noted struct {
	*ir.TermBr
	text string
}

// LLString is the terminator in LLVM syntax, after its comment.
func (n noted) LLString() string { return "; " + n.text + "\n\t" + n.TermBr.LLString() }

// note begins a block whose entry carries a comment.
func (f *fn) note(text string) {
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
	next := f.f.NewBlock("")
	f.cur.Term = noted{ir.NewBr(next), text}
	f.cur = next
}

// loop runs body for i = lo, lo+step, ... below hi, with values carried from
// turn to turn, and gives what is carried out.
func (f *fn) loop(lo, hi value.Value, step int64, carry []value.Value, body func(i value.Value, carry []value.Value) []value.Value) []value.Value {
	a, oka := constInt(lo)
	b, okb := constInt(hi)
	sure := oka && okb && a < b
	if oka && okb && a >= b {
		return carry
	}
	if sure && a+step >= b {
		f.push()
		out := body(lo, carry)
		f.pop()
		return out
	}
	pre, head, exit := f.cur, f.f.NewBlock(""), ir.NewBlock("")
	if sure {
		f.cur.Term = ir.NewBr(head)
	} else {
		f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredSLT, lo, hi), head, exit)
	}
	f.cur = head
	f.push()
	i := ir.NewPhi(ir.NewIncoming(lo, pre))
	f.emit(i)
	phis := make([]*ir.InstPhi, len(carry))
	in := make([]value.Value, len(carry))
	for j, c := range carry {
		phis[j] = ir.NewPhi(ir.NewIncoming(c, pre))
		in[j] = phis[j]
		f.emit(phis[j])
	}
	out := body(i, in)
	f.pop()
	next := f.add(i, constant.NewInt(i.Type().(*types.IntType), step))
	f.cur.Term = ir.NewCondBr(f.icmp(enum.IPredSLT, next, hi), head, exit)
	latch := f.cur
	i.Incs = append(i.Incs, ir.NewIncoming(next, latch))
	for j := range phis {
		if f.same("phi", phis[j], out[j]) {
			phis[j].Incs = append(phis[j].Incs, ir.NewIncoming(out[j], latch))
		}
	}
	exit.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, exit)
	f.cur = exit
	if sure {
		return out
	}
	final := make([]value.Value, len(carry))
	for j, c := range carry {
		p := ir.NewPhi(ir.NewIncoming(c, pre), ir.NewIncoming(out[j], latch))
		f.emit(p)
		final[j] = p
	}
	return final
}

// each index i = lo, lo+step, ... below hi.
func (f *fn) count(lo, hi value.Value, step int64, body func(i value.Value)) {
	f.loop(lo, hi, step, nil, func(i value.Value, _ []value.Value) []value.Value {
		body(i)
		return nil
	})
}

// when runs body if the bit is set.
func (f *fn) when(c value.Value, body func()) {
	if !c.Type().Equal(bit) {
		f.fail("branch on %s", c.Type())
		return
	}
	then, exit := f.f.NewBlock(""), ir.NewBlock("")
	f.cur.Term = ir.NewCondBr(c, then, exit)
	f.cur = then
	f.push()
	body()
	f.pop()
	f.cur.Term = ir.NewBr(exit)
	exit.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, exit)
	f.cur = exit
}

// ret ends the function.
func (f *fn) ret() { f.cur.Term = ir.NewRet(nil) }
