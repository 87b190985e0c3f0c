package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Limits of what a text may ask for: a GPU's, or enough for any test.
const (
	maxShared = 228 << 10 // bytes of static shared memory (sm_90 has 227 KiB for a CTA)
	maxTable  = 1 << 26   // bytes of one constant table
	maxParams = 512
)

// Program is parsed text: its entries and constant tables.
type Program struct {
	entries map[string]*entry
	tables  []*table
}

// Entries lists the program's entries in no fixed order.
func (p *Program) Entries() []string {
	var names []string
	for name := range p.entries {
		names = append(names, name)
	}
	return names
}

// Params gives the number of parameters of an entry, -1 where there is none of
// that name.
func (p *Program) Params(entry string) int {
	e := p.entries[entry]
	if e == nil {
		return -1
	}
	return len(e.params)
}

// table is a variable of the module in .global or .const memory, or (data nil)
// in shared memory.
type table struct {
	name   string
	size   int
	data   []byte // as long as size, but for shared
	shared bool
	extern bool // its size is what the launch gives
	offset int  // of a shared one, in the CTA's static memory
}

type entry struct {
	name    string
	params  []*parameter
	code    []inst
	threads int  // that the text demands at most (.maxntid, .reqntid); 0: any
	exact   bool // .reqntid
	static  int  // bytes of static shared memory, which lie before the dynamic ones
	file    registers
}

type parameter struct {
	name string
	size int
}

// Parse reads PTX text (PTX ISA, "Syntax" and "Directives", as far as compiled
// kernels use them: no functions, no debugging information) and compiles its
// entries. An error names the line and what is wrong there.
func Parse(text string) (*Program, error) {
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{Program: &Program{entries: map[string]*entry{}}, toks: toks, vars: map[string]*table{}}
	for p.at < len(p.toks) {
		begin := p.at
		if err := p.top(); err != nil {
			return nil, p.place(begin, err)
		}
	}
	return p.Program, nil
}

// located is an error that names its line already.
type located struct{ error }

// place adds the line of the statement that begins at a token, and its text.
func (p *parser) place(begin int, err error) error {
	if errors.As(err, &located{}) {
		return err
	}
	begin = min(begin, len(p.toks)-1)
	return located{fmt.Errorf("sim: line %d, %s: %w", p.toks[begin].line, p.source(begin, min(p.at, len(p.toks))), err)}
}

// source is the text of some tokens.
func (p *parser) source(from, to int) string {
	var b strings.Builder
	for i := from; i < to && b.Len() < 160; i++ {
		t := p.toks[i]
		if prev := p.toks[max(i-1, 0)]; i > from && (prev.word || prev.text == ",") && (t.word || t.text == "[" || t.text == "{" || t.text == "!" || t.text == "-" && prev.text == ",") {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return b.String()
}

type parser struct {
	*Program
	toks []token
	at   int
	vars map[string]*table // of the module
	body *body             // of the entry that is being read
}

// next takes a token; at the end it is empty.
func (p *parser) next() token {
	if p.at >= len(p.toks) {
		p.at++ // so that source shows all of them
		return token{}
	}
	p.at++
	return p.toks[p.at-1]
}

func (p *parser) peek() string {
	if p.at >= len(p.toks) {
		return ""
	}
	return p.toks[p.at].text
}

func (p *parser) accept(text string) bool {
	if p.peek() != text || text == "" {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(text string) error {
	if t := p.next(); t.text != text {
		if t.text == "" {
			return fmt.Errorf("the text ends where %q is wanted", text)
		}
		return fmt.Errorf("%q stands where %q is wanted", t.text, text)
	}
	return nil
}

// number takes an integer with its sign.
func (p *parser) number() (int64, error) {
	minus := p.accept("-")
	t := p.next()
	v, isFloat, ok := literal(t.text)
	if !ok || isFloat {
		return 0, fmt.Errorf("%q stands where a number is wanted", t.text)
	}
	if minus {
		return -int64(v), nil
	}
	return int64(v), nil
}

// below takes a number from 0 to most.
func (p *parser) below(most int64, what string) (int, error) {
	v, err := p.number()
	if err != nil {
		return 0, err
	}
	if v < 0 || v > most {
		return 0, fmt.Errorf("%s is %d, which is not from 0 to %d", what, v, most)
	}
	return int(v), nil
}

func (p *parser) top() error {
	linking := false
	for p.accept(".visible") || p.accept(".weak") || p.accept(".extern") {
		linking = true
	}
	extern := linking && p.toks[p.at-1].text == ".extern"
	switch t := p.next(); t.text {
	case ".version":
		p.next()
	case ".target":
		for {
			p.next()
			if !p.accept(",") {
				break
			}
		}
	case ".address_size":
		if p.next().text != "64" {
			return errors.New("addresses have 64 bits here")
		}
	case ".shared", ".global", ".const":
		v, err := p.variable(t.text, extern)
		if err != nil {
			return err
		}
		if p.vars[v.name] != nil {
			return fmt.Errorf("%s is declared twice", v.name)
		}
		p.vars[v.name] = v
		p.tables = append(p.tables, v)
	case ".entry":
		return p.entryHead()
	default:
		return fmt.Errorf("%q is not known here", t.text)
	}
	return nil
}

// elementBytes are the types of variables and parameters.
var elementBytes = map[string]int{
	".b8": 1, ".u8": 1, ".s8": 1, ".b16": 2, ".u16": 2, ".s16": 2, ".f16": 2, ".b32": 4, ".u32": 4, ".s32": 4, ".f32": 4,
	".b64": 8, ".u64": 8, ".s64": 8, ".f64": 8,
}

// variable reads what stands behind a variable's space: alignment, type, name,
// size, and its values.
func (p *parser) variable(space string, extern bool) (*table, error) {
	v := &table{shared: space == ".shared", extern: extern}
	align := 1
	if p.accept(".align") {
		n, err := p.below(1024, "an alignment")
		if err != nil {
			return nil, err
		}
		if n == 0 || n&(n-1) != 0 {
			return nil, fmt.Errorf("%d is no alignment", n)
		}
		align = n
	}
	element := elementBytes[p.peek()]
	if element == 0 {
		return nil, fmt.Errorf("%q is no type of a variable", p.peek())
	}
	isFloat := p.next().text == ".f32"
	align = max(align, element)
	if v.name = p.next().text; v.name == "" {
		return nil, errors.New("the variable has no name")
	}
	v.size = element
	if p.accept("[") {
		if p.peek() == "]" {
			if !extern {
				return nil, fmt.Errorf("%s has no size", v.name)
			}
			v.size = 0
		} else {
			n, err := p.below(maxTable/int64(element), "a size")
			if err != nil {
				return nil, err
			}
			v.size = n * element
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	if !v.shared && extern {
		return nil, errors.New("no other module is linked here")
	}
	if !v.shared {
		v.data = make([]byte, v.size)
	}
	if p.accept("=") {
		if v.shared {
			return nil, errors.New("shared memory has no values at first")
		}
		if err := p.values(v, element, isFloat); err != nil {
			return nil, err
		}
	}
	if v.shared && !extern {
		b := p.body
		static := 0
		if b != nil {
			static = b.static
		} else {
			for _, t := range p.tables {
				if t.shared {
					static = max(static, t.offset+t.size)
				}
			}
		}
		v.offset = (static + align - 1) &^ (align - 1)
		if v.offset+v.size > maxShared {
			return nil, fmt.Errorf("%d bytes of static shared memory are more than any GPU has", v.offset+v.size)
		}
		if b != nil {
			b.static = v.offset + v.size
		}
	}
	return v, p.expect(";")
}

func (p *parser) values(v *table, element int, isFloat bool) error {
	list := p.accept("{")
	for at := 0; ; at += element {
		minus := p.accept("-")
		t := p.next()
		bits, float, ok := literal(t.text)
		if !ok || isFloat != float {
			return fmt.Errorf("%q is no value of the variable", t.text)
		}
		if minus {
			bits = -bits
		}
		if at+element > len(v.data) {
			return fmt.Errorf("%s has more values than its size", v.name)
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], bits)
		copy(v.data[at:at+element], b[:])
		if !list {
			return nil
		}
		if !p.accept(",") {
			return p.expect("}")
		}
	}
}

// entryHead reads an entry: its name, parameters, directives and body.
func (p *parser) entryHead() error {
	e := &entry{name: p.next().text}
	if e.name == "" || p.entries[e.name] != nil {
		return fmt.Errorf("an entry has a name of its own, and not %q", e.name)
	}
	if p.accept("(") && !p.accept(")") {
		for {
			if err := p.param(e); err != nil {
				return err
			}
			if p.accept(")") {
				break
			}
			if err := p.expect(","); err != nil {
				return err
			}
		}
	}
	for !p.accept("{") {
		switch t := p.next(); t.text {
		case ".maxntid", ".reqntid":
			e.threads, e.exact = 1, t.text == ".reqntid"
			for {
				n, err := p.below(1024, "a number of threads")
				if err != nil {
					return err
				}
				e.threads *= max(n, 1)
				if e.threads > 1024 {
					return errors.New("a CTA has at most 1024 threads")
				}
				if !p.accept(",") {
					break
				}
			}
		case ".maxnreg", ".minnctapersm":
			if _, err := p.below(math.MaxInt32, t.text); err != nil {
				return err
			}
		case ".pragma":
			p.next()
			if err := p.expect(";"); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q is not known here", t.text)
		}
	}
	p.body = newBody(p, e)
	defer func() { p.body = nil }()
	if err := p.body.read(); err != nil {
		return err
	}
	p.entries[e.name] = e
	return nil
}

// param reads one parameter: a number; arrays are not known.
func (p *parser) param(e *entry) error {
	if err := p.expect(".param"); err != nil {
		return err
	}
	t := p.next().text
	size := elementBytes[t]
	if size == 0 {
		return fmt.Errorf("%q is no type of a parameter here", t)
	}
	for strings.HasPrefix(p.peek(), ".") { // .ptr .global .align 16: a promise about a pointer
		if p.next().text == ".align" {
			if _, err := p.number(); err != nil {
				return err
			}
		}
	}
	if len(e.params) == maxParams {
		return errors.New("there are too many parameters")
	}
	e.params = append(e.params, &parameter{p.next().text, size})
	return nil
}
