package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// class is the size of a register. Those of 16 bits are the lower half of one
// of 32.
type class uint8

const (
	predicate class = iota + 1
	bits16
	bits32
	bits64
)

func (c class) String() string {
	return [...]string{"nothing", "a predicate", "a register of 16 bits", "a register of 32 bits", "a register of 64 bits"}[c]
}

// register is one virtual register: id counts all of an entry, index those that
// are stored alike (predicates; up to 32 bits; 64 bits).
type register struct {
	class class
	id    int32
	index int32
}

// registers is what an entry's registers are. Constants, special registers and
// addresses of tables are registers too, which a launch sets.
type registers struct {
	n32, n64, preds int
	names           []string // by id
	consts          []constant
	specials        []special
	params          []constant // value is the parameter's number
}

type constant struct {
	register
	value uint64
	table *table // whose address is added
}

type special struct {
	register
	name string
}

func (f *registers) add(name string, c class) register {
	r := register{class: c, id: int32(len(f.names))}
	n := &f.n32
	switch c {
	case predicate:
		n = &f.preds
	case bits64:
		n = &f.n64
	}
	r.index = int32(*n)
	*n++
	f.names = append(f.names, name)
	return r
}

// regClass are the types of register declarations.
var regClass = map[string]class{
	".pred": predicate, ".b16": bits16, ".u16": bits16, ".s16": bits16, ".f16": bits16, ".bf16": bits16,
	".b32": bits32, ".u32": bits32, ".s32": bits32, ".f32": bits32, ".f16x2": bits32, ".bf16x2": bits32,
	".b64": bits64, ".u64": bits64, ".s64": bits64, ".f64": bits64,
}

// scope is the names between two braces.
type scope struct {
	regs   map[string]register
	single map[string]class
	ranges map[string]family // by prefix
	vars   map[string]*table
	outer  *scope
}

// family is the registers of a declaration like "%r<9>".
type family struct {
	class class
	count int
}

func newScope(outer *scope) *scope {
	return &scope{map[string]register{}, map[string]class{}, map[string]family{}, map[string]*table{}, outer}
}

// declare reads a .reg directive behind its first word.
func (b *body) declare() error {
	t := b.p.next().text
	c := regClass[t]
	if c == 0 {
		return fmt.Errorf("%q is no type of a register", t)
	}
	s := b.scope
	for {
		name := b.p.next().text
		if !strings.HasPrefix(name, "%") && (name == "" || !isWord(name[0]) || name[0] == '.') {
			return fmt.Errorf("%q is no name of a register", name)
		}
		if _, twice := s.single[name]; twice || s.ranges[name].class != 0 {
			return fmt.Errorf("%s is declared twice", name)
		}
		if b.p.accept("<") {
			n, err := b.p.below(1<<20, "a number of registers")
			if err != nil {
				return err
			}
			if err := b.p.expect(">"); err != nil {
				return err
			}
			s.ranges[name] = family{c, n}
		} else {
			s.single[name] = c
		}
		if !b.p.accept(",") {
			return b.p.expect(";")
		}
	}
}

// register finds a declared register.
func (b *body) register(name string) (register, bool) {
	for s := b.scope; s != nil; s = s.outer {
		if r, ok := s.regs[name]; ok {
			return r, true
		}
		c := s.single[name]
		for i := len(name); c == 0 && i > 1 && name[i-1] >= '0' && name[i-1] <= '9'; i-- {
			if n, err := strconv.Atoi(name[i-1:]); err == nil && (n == 0 && i == len(name) || name[i-1] != '0') {
				if f := s.ranges[name[:i-1]]; n < f.count {
					c = f.class
				}
			}
		}
		if c != 0 {
			r := b.file.add(name, c)
			s.regs[name] = r
			return r, true
		}
	}
	return register{}, false
}

// constant gives a register that holds a value for good.
func (b *body) constant(c class, v uint64, t *table) register {
	key := constKey{c, v, t}
	r, ok := b.consts[key]
	if !ok {
		r = b.file.add("", c)
		b.consts[key] = r
		b.file.consts = append(b.file.consts, constant{r, v, t})
	}
	return r
}

type constKey struct {
	class class
	value uint64
	table *table
}

// specialNames are the special registers that are known, all of 32 bits (PTX
// ISA, "Special Registers").
var specialNames = map[string]func(w *warp, lane int) uint32{
	"%tid.x":             func(w *warp, lane int) uint32 { return uint32(w.number*lanes + lane) },
	"%tid.y":             func(*warp, int) uint32 { return 0 },
	"%tid.z":             func(*warp, int) uint32 { return 0 },
	"%ntid.x":            func(w *warp, _ int) uint32 { return uint32(w.cta.Threads) },
	"%ntid.y":            func(*warp, int) uint32 { return 1 },
	"%ntid.z":            func(*warp, int) uint32 { return 1 },
	"%ctaid.x":           func(w *warp, _ int) uint32 { return uint32(w.cta.number % w.cta.CTAs) },
	"%ctaid.y":           func(w *warp, _ int) uint32 { return uint32(w.cta.number / w.cta.CTAs) },
	"%ctaid.z":           func(*warp, int) uint32 { return 0 },
	"%nctaid.x":          func(w *warp, _ int) uint32 { return uint32(w.cta.CTAs) },
	"%nctaid.y":          func(w *warp, _ int) uint32 { return uint32(max(w.cta.Rows, 1)) },
	"%nctaid.z":          func(*warp, int) uint32 { return 1 },
	"%laneid":            func(_ *warp, lane int) uint32 { return uint32(lane) },
	"%warpid":            func(w *warp, _ int) uint32 { return uint32(w.number) },
	"%nwarpid":           func(w *warp, _ int) uint32 { return uint32(len(w.cta.warps)) },
	"%lanemask_eq":       func(_ *warp, lane int) uint32 { return 1 << lane },
	"%lanemask_lt":       func(_ *warp, lane int) uint32 { return 1<<lane - 1 },
	"%lanemask_le":       func(_ *warp, lane int) uint32 { return 2<<lane - 1 },
	"%lanemask_gt":       func(_ *warp, lane int) uint32 { return ^uint32(2<<lane - 1) },
	"%lanemask_ge":       func(_ *warp, lane int) uint32 { return ^uint32(1<<lane - 1) },
	"%dynamic_smem_size": func(w *warp, _ int) uint32 { return uint32(w.cta.Shared) },
	"%total_smem_size":   func(w *warp, _ int) uint32 { return uint32(len(w.cta.shared)) },
}

// special gives the register of a special register.
func (b *body) special(name string) (register, bool) {
	r, ok := b.specials[name]
	if !ok && specialNames[name] != nil {
		r, ok = b.file.add(name, bits32), true
		b.specials[name] = r
		b.file.specials = append(b.file.specials, special{r, name})
	}
	return r, ok
}
