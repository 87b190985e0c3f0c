package amd64

import (
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
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

// merge gives what body does where c holds, and no elsewhere.
func (f *fn) merge(c value.Value, body func() value.Value, no value.Value) value.Value {
	pre, yes, exit := f.cur, f.f.NewBlock(""), ir.NewBlock("")
	pre.Term = ir.NewCondBr(c, yes, exit)
	f.cur = yes
	f.push()
	v := body()
	f.pop()
	f.cur.Term = ir.NewBr(exit)
	out := ir.NewPhi(ir.NewIncoming(v, f.cur), ir.NewIncoming(no, pre))
	exit.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, exit)
	f.cur = exit
	f.emit(out)
	return out
}

// carryOn runs body for k = 0, turn, 2*turn, ... below n.
func (f *fn) carryOn(n, turn value.Value, body func(k value.Value)) {
	pre, head, exit := f.cur, f.f.NewBlock(""), ir.NewBlock("")
	pre.Term = ir.NewCondBr(f.icmp(predicate[ints.Lt], c64(0), n), head, exit)
	f.cur = head
	k := ir.NewPhi(ir.NewIncoming(c64(0), pre))
	f.emit(k)
	body(k)
	next := f.add(k, turn)
	f.cur.Term = ir.NewCondBr(f.icmp(predicate[ints.Lt], next, n), head, exit)
	k.Incs = append(k.Incs, ir.NewIncoming(next, f.cur))
	exit.Parent = f.f
	f.f.Blocks = append(f.f.Blocks, exit)
	f.cur = exit
}

// advance runs body n > 0 times, with pointers that take a step each time.
func (f *fn) advance(n value.Value, heads, steps, carry []value.Value, body func(heads, carry []value.Value) []value.Value) []value.Value {
	pre, head, exit := f.cur, f.f.NewBlock(""), f.f.NewBlock("")
	pre.Term = ir.NewBr(head)
	f.cur = head
	var phis []*ir.InstPhi
	phi := func(from []value.Value) (in []value.Value) {
		for _, v := range from {
			p := ir.NewPhi(ir.NewIncoming(v, pre))
			f.emit(p)
			phis, in = append(phis, p), append(in, p)
		}
		return in
	}
	left := phi([]value.Value{n})[0]
	at := phi(heads)
	out := body(at, phi(carry))
	next := []value.Value{f.sub(left, c64(1))}
	for i, p := range at {
		next = append(next, f.at(p, steps[i]))
	}
	f.cur.Term = ir.NewCondBr(f.icmp(predicate[ints.Ne], next[0], c64(0)), head, exit)
	for i, v := range append(next, out...) {
		phis[i].Incs = append(phis[i].Incs, ir.NewIncoming(v, f.cur))
	}
	f.cur = exit
	return out
}
