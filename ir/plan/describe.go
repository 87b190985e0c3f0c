package plan

import (
	"errors"
	"fmt"
	"maps"

	"github.com/memc-lang/memc/ir/ints"
)

// Describer evaluates the integers of calls: compiled once from a plan, used
// for every call without allocating. It is not safe for concurrent use.
type Describer struct {
	// Lens holds the carried lengths of all loops, in the order of Loops and
	// their Carry, as the next call finds them. The caller may set it. Next
	// holds them as the last described call leaves them.
	Lens, Next []int64

	// Records holds the last described call's records, Record values each: the
	// call's, then the turns of each loop in the order of Loops.
	Records []int64

	// Turns and First hold, for each loop, the number of turns in the last
	// described call and the record of the first of them; Done holds, for each
	// record, whether it is a turn that completes its chunk.
	Turns, First []int64
	Done         []bool

	plan  *Plan
	vals  []int64 // the variables: pos, n, lengths, slots; see place
	stack []int64
	slots []rule // the call's slots that have a value before the loops' turns are known
	loops []loopRules
	base  scope // names of the call level
	errs  []error
}

// rule computes one variable.
type rule struct {
	to   int
	what string // for errors
	code Code
}

// loopRules computes the turns of one loop.
type loopRules struct {
	turns       rule
	first, many int // the call slots "l.first" and "l.turns", or -1
	turn, done  int // variables
	lens        int // the first of the loop's lengths in Lens
	held        []int
	slots       []rule // in order, then Done
	slot        int    // the variable of the loop's first slot
	finish      []rule // the lengths after a turn that completes its chunk
}

// scope gives the variable behind each name.
type scope map[string]int

// Code is a compiled expression.
type Code []instr

type instr struct {
	op   ints.Op
	k    int64 // Const: the value; Var: the variable
	data []int64
	e    *ints.Expr // for errors
}

// Lengths is the number of the plan's carried lengths.
func (p *Plan) Lengths() int {
	n := 0
	for i := range p.Loops {
		n += len(p.Loops[i].Carry)
	}
	return n
}

// LengthNames are the names of the carried lengths in the order of
// Describer.Lens.
func (p *Plan) LengthNames() []string {
	var names []string
	for i := range p.Loops {
		for _, c := range p.Loops[i].Carry {
			names = append(names, c.Name)
		}
	}
	return names
}

// LengthRanges are the values that the carried lengths can take, in the order of
// LengthNames: whatever is read, a length stays in its range. Where nothing
// bounds a length, its range ends with ints.Unknown's.
func (p *Plan) LengthRanges() []ints.Range {
	names := p.LengthNames()
	env := map[string]ints.Range{"pos": {Hi: ints.Unknown.Hi}, "n": {Lo: 1, Hi: int64(p.Slab)}}
	for _, name := range names {
		env[name] = ints.Range{Hi: ints.Unknown.Hi} // a number of rows
	}
	// What a step can make of values inside the ranges is inside the next
	// ranges: each round may narrow them and none loses a value.
	for range len(names) + 1 {
		next := maps.Clone(env)
		for i := range p.Loops {
			for _, c := range p.Loops[i].Carry {
				was, r := env[c.Name], c.Next.Interval(env)
				next[c.Name] = ints.Range{
					Lo: max(was.Lo, min(r.Lo, c.Start)),
					Hi: min(was.Hi, max(r.Hi, c.Start)),
				}
			}
		}
		if maps.Equal(env, next) {
			break
		}
		env = next
	}
	out := make([]ints.Range, len(names))
	for i, name := range names {
		out[i] = env[name]
	}
	return out
}

// Variables lie in one array: pos, n, the lengths as the call finds them, the
// call's slots, and then for each loop turn, done, its lengths and its slots.
const (
	varPos = iota
	varN
	varLens
)

// Describer compiles the plan's expressions and makes room for the records of
// its largest call. An error joins all that is wrong with the expressions; the
// plan's sizes must have passed Verify.
func (p *Plan) Describer() (*Describer, error) {
	d, errs := p.compile()
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	records := 1
	for i := range p.Loops {
		records += p.Loops[i].Max
	}
	lens := p.Lengths()
	d.Lens, d.Next = make([]int64, lens), make([]int64, lens)
	d.Records = make([]int64, 0, records*p.Record)
	d.Turns, d.First = make([]int64, len(p.Loops)), make([]int64, len(p.Loops))
	d.Done = make([]bool, records)
	d.Start()
	return d, nil
}

// compile numbers the variables and compiles every expression.
func (p *Plan) compile() (*Describer, []error) {
	d := &Describer{plan: p, base: scope{"pos": varPos, "n": varN}, stack: make([]int64, 1)}
	v := varLens
	for i := range p.Loops {
		for _, c := range p.Loops[i].Carry {
			d.base[c.Name] = v
			v++
		}
	}
	// The slots that the turns fill are known only after all others.
	late := map[string]bool{}
	for i := range p.Loops {
		late[p.Loops[i].Name+".first"], late[p.Loops[i].Name+".turns"] = true, true
	}
	callSlots := v
	v += len(p.Slots)
	for i, s := range p.Slots {
		if s.Expr == nil && late[s.Name] {
			continue
		}
		d.slots = append(d.slots, d.rule(callSlots+i, "slot "+s.Name, s.value(), d.base))
		d.base[s.Name] = callSlots + i
	}
	d.loops = make([]loopRules, len(p.Loops))
	for i := range p.Loops {
		d.loops[i].turns = d.rule(-1, "turns of loop "+p.Loops[i].Name, p.Loops[i].Turns, d.base)
	}
	for i, s := range p.Slots {
		if s.Expr == nil && late[s.Name] {
			d.base[s.Name] = callSlots + i
		}
	}
	held := 0
	for i := range p.Loops {
		l, r := &p.Loops[i], &d.loops[i]
		r.first, r.many = -1, -1
		if k := p.SlotIndex(l.Name + ".first"); k >= 0 {
			r.first = callSlots + k
		}
		if k := p.SlotIndex(l.Name + ".turns"); k >= 0 {
			r.many = callSlots + k
		}
		r.lens = held
		held += len(l.Carry)
		v = d.loop(l, r, v)
	}
	d.vals = make([]int64, v)
	return d, d.errs
}

// value is the slot's expression, which is the variable of its own name where
// it has none.
func (s *Slot) value() *ints.Expr {
	if s.Expr == nil {
		return ints.V(s.Name)
	}
	return s.Expr
}

// loop compiles one loop whose variables begin at v; it gives the next free one.
func (d *Describer) loop(l *Loop, lr *loopRules, v int) int {
	in := scope{}
	for k, x := range d.base {
		in[k] = x
	}
	lr.turn, lr.done = v, v+1
	in["turn"] = v
	v += 2
	for _, c := range l.Carry {
		lr.held = append(lr.held, v)
		in[c.Name] = v
		v++
	}
	lr.slot = v
	doneSlot := -1
	for i, s := range l.Slots {
		if s.Name == "done" && s.Expr == nil {
			doneSlot = i // filled last: Done may read every other slot
			continue
		}
		lr.slots = append(lr.slots, d.rule(lr.slot+i, "slot "+s.Name+" of loop "+l.Name, s.value(), in))
		in[s.Name] = lr.slot + i
	}
	lr.slots = append(lr.slots, d.rule(lr.done, "done of loop "+l.Name, l.Done, in))
	if doneSlot >= 0 {
		in["done"] = lr.slot + doneSlot
		copied := Code{{op: ints.Var, k: int64(lr.done)}}
		lr.slots = append(lr.slots, rule{to: lr.slot + doneSlot, what: "slot done of loop " + l.Name, code: copied})
	}
	for i, c := range l.Carry {
		lr.finish = append(lr.finish, d.rule(lr.lens+i, "length "+c.Name+" of loop "+l.Name, c.Next, in))
	}
	return v + len(l.Slots)
}

func (d *Describer) rule(to int, what string, e *ints.Expr, in scope) rule {
	code, err := d.code(e, in)
	if err != nil {
		d.errs = append(d.errs, fmt.Errorf("%s: %w", what, err))
	}
	return rule{to: to, what: what, code: code}
}

// Compile prepares an expression over the call's slots, pos, n and the carried
// lengths as the call finds them, for Value.
func (d *Describer) Compile(e *ints.Expr) (Code, error) { return d.code(e, d.base) }

// code gives the expression in postfix order.
func (d *Describer) code(e *ints.Expr, in scope) (Code, error) {
	if e == nil {
		return nil, errors.New("the expression is missing")
	}
	var code Code
	depth, deepest := 0, 0
	var walk func(e *ints.Expr) error
	walk = func(e *ints.Expr) error {
		if err := sound(e); err != nil {
			return err
		}
		for _, a := range e.Args {
			if err := walk(a); err != nil {
				return err
			}
		}
		i := instr{op: e.Op, k: e.K, data: e.Data, e: e}
		if e.Op == ints.Var {
			v, ok := in[e.Name]
			if !ok {
				return fmt.Errorf("%s is not defined here", e.Name)
			}
			i.k = int64(v)
		}
		code = append(code, i)
		depth += 1 - len(e.Args)
		deepest = max(deepest, depth)
		return nil
	}
	if err := walk(e); err != nil {
		return nil, err
	}
	if deepest > len(d.stack) {
		d.stack = make([]int64, deepest)
	}
	return code, nil
}

// sound finds an operator with the wrong operands, and a division by the
// constant zero.
func sound(e *ints.Expr) error {
	want := 2
	switch e.Op {
	case ints.Const, ints.Var:
		want = 0
	case ints.Not, ints.Table:
		want = 1
	case ints.Select:
		want = 3
	}
	if e.Op > ints.Table || len(e.Args) != want || e.Op == ints.Table && len(e.Data) == 0 {
		return errors.New("an operator has the wrong operands")
	}
	if e.Op == ints.Div || e.Op == ints.Mod {
		if k, ok := e.Args[1].IsConst(); ok && k == 0 {
			return fmt.Errorf("division by zero in %s", e)
		}
	}
	return nil
}

// Value computes a compiled expression with the last described call's values.
func (d *Describer) Value(c Code) (int64, error) {
	st, n := d.stack, 0
	for i := range c {
		in := &c[i]
		switch in.op {
		case ints.Const:
			st[n] = in.k
			n++
			continue
		case ints.Var:
			st[n] = d.vals[in.k]
			n++
			continue
		case ints.Not:
			st[n-1] = bit(st[n-1] == 0)
			continue
		case ints.Table:
			st[n-1] = in.data[min(max(st[n-1], 0), int64(len(in.data))-1)]
			continue
		case ints.Select:
			if st[n-3] != 0 {
				st[n-3] = st[n-2]
			} else {
				st[n-3] = st[n-1]
			}
			n -= 2
			continue
		}
		a, b := st[n-2], st[n-1]
		n--
		switch in.op {
		case ints.Add:
			a += b
		case ints.Sub:
			a -= b
		case ints.Mul:
			a *= b
		case ints.Div, ints.Mod:
			if b == 0 {
				return 0, fmt.Errorf("division by zero in %s", in.e)
			}
			q := a / b
			if a%b != 0 && (a < 0) != (b < 0) {
				q--
			}
			if in.op == ints.Div {
				a = q
			} else {
				a -= q * b
			}
		case ints.Min:
			a = min(a, b)
		case ints.Max:
			a = max(a, b)
		case ints.Lt:
			a = bit(a < b)
		case ints.Le:
			a = bit(a <= b)
		case ints.Eq:
			a = bit(a == b)
		case ints.Ne:
			a = bit(a != b)
		case ints.And:
			a = bit(a != 0 && b != 0)
		case ints.Or:
			a = bit(a != 0 || b != 0)
		default:
			return 0, fmt.Errorf("unknown operator %d", in.op)
		}
		st[n-1] = a
	}
	return st[0], nil
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Start sets Lens to the lengths of a session that has read nothing.
func (d *Describer) Start() {
	k := 0
	for i := range d.plan.Loops {
		for _, c := range d.plan.Loops[i].Carry {
			d.Lens[k] = c.Start
			k++
		}
	}
}

// Describe evaluates the call that feeds rows pos to pos+n, beginning with the
// lengths in Lens. It fills Records, Turns, First, Done and Next; Lens stays, so
// that a call which fails later can be described again. An error says which
// slot cannot be computed, or which loop has more turns than its Max.
func (d *Describer) Describe(pos, n int64) error {
	p := d.plan
	if n < 1 || n > int64(p.Slab) {
		return fmt.Errorf("a call of %d rows: this plan takes 1 to %d at a time", n, p.Slab)
	}
	if pos < 0 || pos+n < 0 {
		return fmt.Errorf("position %d is outside the 63 bits of a position", pos)
	}
	d.vals[varPos], d.vals[varN] = pos, n
	copy(d.vals[varLens:], d.Lens)
	copy(d.Next, d.Lens)
	if err := d.run(d.slots); err != nil {
		return err
	}
	next := int64(1)
	for i := range d.loops {
		l := &d.loops[i]
		turns, err := d.Value(l.turns.code)
		if err != nil {
			return fmt.Errorf("%s: %w", l.turns.what, err)
		}
		if turns < 0 || turns > int64(p.Loops[i].Max) {
			return fmt.Errorf("loop %s would take %d turns at pos %d, n %d: the plan has room for 0 to %d", p.Loops[i].Name, turns, pos, n, p.Loops[i].Max)
		}
		d.Turns[i], d.First[i] = turns, next
		next += turns
		if l.first >= 0 {
			d.vals[l.first] = d.First[i]
		}
		if l.many >= 0 {
			d.vals[l.many] = turns
		}
	}
	d.Records = d.Records[:next*int64(p.Record)]
	call := d.vals[varLens+len(d.Lens):][:len(p.Slots)]
	clear(d.Records[copy(d.Records, call):p.Record])
	d.Done[0] = false
	for i := range d.loops {
		if err := d.turns(i, call); err != nil {
			return err
		}
	}
	return nil
}

// turns evaluates the records of loop i.
func (d *Describer) turns(i int, call []int64) error {
	l, name := &d.loops[i], d.plan.Loops[i].Name
	own := d.vals[l.slot:][:len(d.plan.Loops[i].Slots)]
	lens := d.Next[l.lens:][:len(l.held)]
	for t := range d.Turns[i] {
		d.vals[l.turn] = t
		for k, v := range l.held {
			d.vals[v] = lens[k]
		}
		if err := d.run(l.slots); err != nil {
			return fmt.Errorf("turn %d: %w", t, err)
		}
		done := d.vals[l.done]
		if done != 0 && done != 1 {
			return fmt.Errorf("turn %d: done of loop %s is %d, neither 0 nor 1", t, name, done)
		}
		if done == 1 {
			for k := range l.finish {
				v, err := d.Value(l.finish[k].code)
				if err != nil {
					return fmt.Errorf("turn %d: %s: %w", t, l.finish[k].what, err)
				}
				lens[k] = v // the other lengths are read from vals, as the turn found them
			}
		}
		at := d.First[i] + t
		d.Done[at] = done == 1
		r := d.Records[at*int64(d.plan.Record):][:d.plan.Record]
		k := copy(r, call)
		k += copy(r[k:], own)
		clear(r[k:])
	}
	return nil
}

func (d *Describer) run(rules []rule) error {
	for i := range rules {
		v, err := d.Value(rules[i].code)
		if err != nil {
			return fmt.Errorf("%s: %w", rules[i].what, err)
		}
		d.vals[rules[i].to] = v
	}
	return nil
}

// Describe evaluates one call from the lengths in lens, named as LengthNames
// names them; a missing one has its starting value. It gives the records, one
// after another, and the lengths after the call.
func (p *Plan) Describe(pos, n int64, lens map[string]int64) (records []int64, after map[string]int64, err error) {
	d, err := p.Describer()
	if err != nil {
		return nil, nil, err
	}
	names := p.LengthNames()
	for i, name := range names {
		if v, ok := lens[name]; ok {
			d.Lens[i] = v
		}
	}
	if err := d.Describe(pos, n); err != nil {
		return nil, nil, err
	}
	after = map[string]int64{}
	for i, name := range names {
		after[name] = d.Next[i]
	}
	return d.Records, after, nil
}
