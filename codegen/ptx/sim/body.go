package sim

import (
	"errors"
	"fmt"
	"strings"
)

// body is an entry's body while it is read.
type body struct {
	p *parser
	*entry
	scope    *scope
	depth    int
	labels   map[string]int
	jumps    []jump
	consts   map[constKey]register
	specials map[string]register
}

// jump is a branch whose label may come later.
type jump struct {
	inst  int
	label string
	token int
}

func newBody(p *parser, e *entry) *body {
	b := &body{p: p, entry: e, scope: newScope(nil), labels: map[string]int{}, consts: map[constKey]register{}, specials: map[string]register{}}
	for _, t := range p.tables {
		if t.shared {
			e.static = max(e.static, t.offset+t.size)
		}
	}
	return b
}

// read reads statements to the entry's closing brace.
func (b *body) read() error {
	for {
		begin := b.p.at
		end, err := b.statement(begin)
		if err != nil {
			return b.p.place(begin, err)
		}
		if end {
			break
		}
	}
	for _, j := range b.jumps {
		target, ok := b.labels[j.label]
		if !ok || target >= len(b.code) {
			b.p.at = j.token + 3
			return b.p.place(j.token, fmt.Errorf("%s leads nowhere", j.label))
		}
		b.code[j.inst].target = target
	}
	if n := len(b.code); n == 0 || b.code[n-1].kind != ends && b.code[n-1].kind != branches || b.code[n-1].guard >= 0 {
		return b.p.place(b.p.at-1, errors.New("the entry does not end in ret"))
	}
	return nil
}

// statement reads one; end says that it was the body's last brace.
func (b *body) statement(begin int) (end bool, err error) {
	t := b.p.next()
	switch {
	case t.text == "":
		return false, errors.New("the text ends within an entry")
	case t.text == "{":
		if b.depth++; b.depth > 100 {
			return false, errors.New("the braces are nested too deeply")
		}
		b.scope = newScope(b.scope)
	case t.text == "}":
		b.scope = b.scope.outer
		b.depth--
		return b.scope == nil, nil
	case t.text == ".reg":
		return false, b.declare()
	case t.text == ".shared":
		v, err := b.p.variable(t.text, false)
		if err != nil {
			return false, err
		}
		if b.scope.vars[v.name] != nil {
			return false, fmt.Errorf("%s is declared twice", v.name)
		}
		b.scope.vars[v.name] = v
	case t.text == ".pragma":
		b.p.next()
		return false, b.p.expect(";")
	case t.word && b.p.peek() == ":":
		b.p.next()
		if _, twice := b.labels[t.text]; twice {
			return false, errors.New("the label is set twice")
		}
		b.labels[t.text] = len(b.code)
	case t.text == "@" || t.word && t.text[0] >= 'a' && t.text[0] <= 'z':
		b.p.at--
		return false, b.instruction(begin)
	default:
		return false, errors.New("it is not known")
	}
	return false, nil
}

// instruction reads one: its guard, mnemonic and operands.
func (b *body) instruction(begin int) error {
	x := &build{body: b, in: inst{guard: -1, line: b.p.toks[begin].line}, token: begin}
	if b.p.accept("@") {
		x.in.not = b.p.accept("!")
		name := b.p.next().text
		r, ok := b.register(name)
		if !ok || r.class != predicate {
			return fmt.Errorf("the guard %s is no predicate", name)
		}
		x.in.guard, x.in.guardID = r.index, r.id
	}
	word := b.p.next()
	if !word.word {
		return fmt.Errorf("%q stands where an instruction is wanted", word.text)
	}
	parts := strings.Split(word.text, ".")
	x.name, x.mods = parts[0], parts[1:]
	make := opcodes[parts[0]]
	if make == nil {
		b.toEnd()
		return errors.New("the instruction is not known")
	}
	if !b.p.accept(";") {
		for {
			o, err := b.operand(0)
			if err != nil {
				b.toEnd()
				return err
			}
			x.ops = append(x.ops, o)
			if b.p.accept(",") {
				continue
			}
			if err := b.p.expect(";"); err != nil {
				return err
			}
			break
		}
	}
	x.in.text = b.p.source(begin, b.p.at)
	if make(x); x.err != nil {
		return x.err
	}
	if x.in.run == nil && x.in.kind == computes {
		return errors.New("the instruction is not known")
	}
	b.code = append(b.code, x.in)
	return nil
}

// toEnd goes behind the statement's semicolon, so that an error shows all of it.
func (b *body) toEnd() {
	for i := b.p.at; i < len(b.p.toks) && i < b.p.at+40; i++ {
		if b.p.toks[i].text == ";" {
			b.p.at = i + 1
			return
		}
	}
}

// What an operand is.
const (
	isReg = iota + 1
	isInt
	isFloat
	isVector
	isMemory
	isName
	isSink // "_": a result that nobody wants
)

// operand is one operand as it is written.
type operand struct {
	kind   int
	text   string
	reg    register
	value  uint64 // of a literal; what is added to an address
	not    bool   // !p
	list   []operand
	table  *table     // what a name, or an address, is of
	param  *parameter // of an address
	number int        // of param
	second *operand   // behind '|'
}

func (b *body) operand(depth int) (operand, error) {
	switch {
	case b.p.accept("{"):
		o := operand{kind: isVector, text: "a vector"}
		for {
			if depth > 0 || len(o.list) == 16 {
				return o, errors.New("a vector is of at most 16 registers")
			}
			e, err := b.operand(depth + 1)
			if err != nil {
				return o, err
			}
			o.list = append(o.list, e)
			if b.p.accept(",") {
				continue
			}
			return o, b.p.expect("}")
		}
	case b.p.accept("["):
		o, err := b.address()
		if err != nil {
			return o, err
		}
		return o, b.p.expect("]")
	case b.p.accept("!"):
		o, err := b.word()
		o.not = true
		if err == nil && (o.kind != isReg || o.reg.class != predicate) {
			err = fmt.Errorf("%s is no predicate", o.text)
		}
		return o, err
	case b.p.accept("-"):
		o, err := b.word()
		if err == nil && o.kind != isInt {
			err = fmt.Errorf("-%s is no number", o.text)
		}
		o.value, o.text = -o.value, "-"+o.text
		return o, err
	}
	o, err := b.word()
	if err != nil || !b.p.accept("|") {
		return o, err
	}
	s, err := b.word()
	o.second = &s
	return o, err
}

// word reads a register, a literal, or a name.
func (b *body) word() (operand, error) {
	t := b.p.next()
	o := operand{text: t.text}
	if v, float, ok := literal(t.text); ok {
		o.kind, o.value = isInt, v
		if float {
			o.kind = isFloat
		}
		return o, nil
	}
	if !t.word {
		return o, fmt.Errorf("%q stands where an operand is wanted", t.text)
	}
	if t.text == "_" {
		o.kind = isSink
		return o, nil
	}
	if r, ok := b.register(t.text); ok {
		o.kind, o.reg = isReg, r
		return o, nil
	}
	if r, ok := b.special(t.text); ok {
		o.kind, o.reg = isReg, r
		return o, nil
	}
	if strings.HasPrefix(t.text, "%") {
		return o, fmt.Errorf("the register %s is not declared", t.text)
	}
	o.kind, o.table = isName, b.variable(t.text)
	return o, nil
}

func (b *body) variable(name string) *table {
	for s := b.scope; s != nil; s = s.outer {
		if v := s.vars[name]; v != nil {
			return v
		}
	}
	return b.p.vars[name]
}

// address reads what stands between brackets: a register, a variable, a
// parameter or a number, and what is added to it.
func (b *body) address() (operand, error) {
	o, err := b.word()
	if err != nil {
		return o, err
	}
	switch o.kind {
	case isReg:
		if o.reg.class != bits32 && o.reg.class != bits64 {
			return o, fmt.Errorf("%s is no address", o.text)
		}
	case isName:
		for i, p := range b.params {
			if p.name == o.text {
				o.param, o.number = p, i
			}
		}
		if o.param == nil && o.table == nil {
			return o, fmt.Errorf("no parameter and no variable is called %s", o.text)
		}
	case isInt:
		// An absolute address.
	default:
		return o, fmt.Errorf("%s is no address", o.text)
	}
	o.kind, o.text = isMemory, "["+o.text+"]"
	for b.p.peek() == "+" || b.p.peek() == "-" {
		minus := b.p.next().text == "-"
		v, err := b.p.number()
		if err != nil {
			return o, err
		}
		if minus {
			v = -v
		}
		o.value += uint64(v)
	}
	return o, nil
}
