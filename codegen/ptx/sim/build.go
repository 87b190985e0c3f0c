package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// build compiles one instruction. The first error sticks.
type build struct {
	*body
	in    inst
	token int      // where it begins
	name  string   // the mnemonic's first part
	mods  []string // what stands behind its dots
	ops   []operand
	err   error
}

func (x *build) fail(format string, args ...any) {
	if x.err == nil {
		x.err = fmt.Errorf(format, args...)
	}
}

// unknown refuses the instruction.
func (x *build) unknown() {
	if x.err == nil {
		x.err = errors.New("the instruction is not known")
	}
}

// wants checks the number of operands.
func (x *build) wants(n int) bool {
	if len(x.ops) != n {
		x.fail("it takes %d operands, not %d", n, len(x.ops))
	}
	return x.err == nil
}

// drop takes modifiers out that change nothing here; has takes one out and says
// whether it was there.
func (x *build) drop(names ...string) {
	x.mods = slices.DeleteFunc(x.mods, func(m string) bool { return slices.Contains(names, m) })
}

func (x *build) has(name string) bool {
	n := len(x.mods)
	x.drop(name)
	return len(x.mods) < n
}

// is tells whether the modifiers are exactly these.
func (x *build) is(mods string) bool { return strings.Join(x.mods, ".") == mods }

// last takes the last modifier, a type, away.
func (x *build) last() string {
	if len(x.mods) == 0 {
		x.unknown()
		return ""
	}
	t := x.mods[len(x.mods)-1]
	x.mods = x.mods[:len(x.mods)-1]
	return t
}

// plain refuses modifiers that are left over.
func (x *build) plain() {
	if len(x.mods) > 0 {
		x.unknown()
	}
}

// operand gives operand i.
func (x *build) operand(i int) operand {
	if i >= len(x.ops) {
		x.fail("it has too few operands")
		return operand{}
	}
	return x.ops[i]
}

// dst is a register of a class that operand i names and the instruction writes.
func (x *build) dst(i int, c class) int32 { return x.write(x.operand(i), c) }

func (x *build) write(o operand, c class) int32 {
	if o.kind == isSink {
		return x.file.add("_", c).index
	}
	if o.kind != isReg || o.not {
		x.fail("it must write a register, and %s is none", o.text)
		return 0
	}
	if _, special := x.specials[o.text]; special {
		x.fail("%s cannot be written", o.text)
	}
	x.fits(o, c)
	x.in.sets = append(x.in.sets, o.reg.id)
	return o.reg.index
}

func (x *build) fits(o operand, c class) {
	if o.reg.class != c {
		x.fail("%s must be %s, and is %s", o.text, c, o.reg.class)
	}
}

// src is a register that holds operand i: one that it names, or a constant.
func (x *build) src(i int, c class) int32 { return x.read(x.operand(i), c) }

func (x *build) read(o operand, c class) int32 {
	switch o.kind {
	case isReg:
		x.fits(o, c)
		if o.not {
			x.fail("%s cannot be negated here", o.text)
		}
		x.uses(o.reg)
		return o.reg.index
	case isInt:
		if c == predicate {
			x.fail("%s is no predicate", o.text)
		}
		if v := int64(o.value); c != bits64 && (v < -1<<31 || v >= 1<<32) {
			x.fail("%s does not fit in 32 bits", o.text)
		}
		return x.constant(c, o.value, nil).index
	case isFloat:
		if c != bits32 {
			x.fail("%s is a number of 32 bits and must be %s", o.text, c)
		}
		return x.constant(c, o.value, nil).index
	case isName:
		if o.table == nil {
			x.fail("%s is no variable", o.text)
		} else if c != bits64 && !(c == bits32 && o.table.shared) {
			x.fail("the address of %s does not fit", o.text)
		}
		return x.constant(c, 0, o.table).index
	}
	x.fail("%s cannot be read here", o.text)
	return 0
}

func (x *build) uses(r register) {
	if !slices.Contains(x.in.uses, r.id) {
		x.in.uses = append(x.in.uses, r.id)
	}
}

// pred is a predicate that operand i names, and whether it is negated.
func (x *build) pred(i int) (int32, bool) {
	o := x.operand(i)
	if o.kind != isReg || o.reg.class != predicate {
		x.fail("%s is no predicate", o.text)
		return 0, false
	}
	x.uses(o.reg)
	return o.reg.index, o.not
}

// vector gives the registers of operand i: one, or those between braces.
func (x *build) vector(i, n int, c class, write bool) []int32 {
	o := x.operand(i)
	list := []operand{o}
	if o.kind == isVector {
		list = o.list
	} else if n > 1 {
		x.fail("%s must be a vector of %d registers", o.text, n)
		return nil
	}
	if len(list) != n {
		x.fail("the vector must have %d registers, not %d", n, len(list))
		return nil
	}
	var regs []int32
	for _, e := range list {
		if write {
			for _, r := range x.in.sets {
				if e.kind == isReg && r == e.reg.id {
					x.fail("%s occurs twice", e.text)
				}
			}
			regs = append(regs, x.write(e, c))
		} else {
			regs = append(regs, x.read(e, c))
		}
	}
	return regs
}

// memory makes operand i the address of an access: it sets a, wide and plus.
func (x *build) memory(i int) {
	x.in.a, x.in.wide, x.in.plus = x.place(i)
}

// place gives an address: its register, that one's size, and what is added.
func (x *build) place(i int) (reg int32, wide bool, plus int64) {
	o := x.operand(i)
	if o.kind != isMemory || o.param != nil {
		x.fail("%s is no address", o.text)
		return 0, false, 0
	}
	switch {
	case o.table != nil:
		return x.constant(bits64, 0, o.table).index, true, int64(o.value)
	case o.reg.class == 0:
		return x.constant(bits64, 0, nil).index, true, int64(o.value)
	}
	x.uses(o.reg)
	return o.reg.index, o.reg.class == bits64, int64(o.value)
}

// dataType is what a type's name says.
type dataType struct {
	class  class
	bytes  int
	signed bool
	float  bool
}

var dataTypes = map[string]dataType{
	"pred": {class: predicate},
	"u8":   {bits32, 1, false, false}, "s8": {bits32, 1, true, false}, "b8": {bits32, 1, false, false},
	"u16": {bits16, 2, false, false}, "s16": {bits16, 2, true, false}, "b16": {bits16, 2, false, false},
	"f16": {bits16, 2, false, true}, "bf16": {bits16, 2, false, true},
	"u32": {bits32, 4, false, false}, "s32": {bits32, 4, true, false}, "b32": {bits32, 4, false, false}, "f32": {bits32, 4, false, true},
	"f16x2": {bits32, 4, false, true}, "bf16x2": {bits32, 4, false, true},
	"u64": {bits64, 8, false, false}, "s64": {bits64, 8, true, false}, "b64": {bits64, 8, false, false},
}
