package sim

// Loads and stores (PTX ISA, "ld", "ld.global.nc", "st"): one register or a
// vector of two or four, aligned as a whole.

// cacheHints change nothing that this package sees.
var cacheHints = []string{"weak", "volatile", "relaxed", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "cta", "gpu", "sys",
	"L1::no_allocate", "L1::evict_first", "L1::evict_last", "L1::evict_normal", "L1::evict_unchanged", "L2::64B", "L2::128B", "L2::256B", "L2::evict_first", "L2::evict_last", "L2::evict_normal"}

// space takes the state space from the modifiers, and gives the flags of an
// access there.
func (x *build) space() uint8 {
	switch {
	case x.has("shared"), x.has("shared::cta"):
		return toShared
	case x.has("global"), x.has("const"):
		return 0
	}
	return toGeneric
}

// width takes .v2 or .v4 from the modifiers.
func (x *build) width() int {
	switch {
	case x.has("v2"):
		return 2
	case x.has("v4"):
		return 4
	}
	return 1
}

func (x *build) load() {
	if x.has("param") {
		x.loadParam()
		return
	}
	t, ok := dataTypes[x.last()]
	x.in.flags = x.space()
	if x.has("nc") {
		x.in.flags |= still
		if x.in.flags&(toShared|toGeneric) != 0 {
			x.fail("only global memory is read with .nc")
		}
	}
	n := x.width()
	x.drop(cacheHints...)
	x.plain()
	if !ok || t.class == predicate {
		x.unknown()
	}
	if !x.wants(2) {
		return
	}
	c := x.common(0, t)
	x.in.regs, x.in.long = x.vector(0, n, c, true), c == bits64
	x.access(1, t, n, loads)
}

func (x *build) store() {
	t, ok := dataTypes[x.last()]
	x.in.flags = x.space()
	n := x.width()
	x.drop(cacheHints...)
	x.plain()
	if !ok || t.class == predicate {
		x.unknown()
	}
	if !x.wants(2) {
		return
	}
	c := x.common(1, t)
	x.in.regs, x.in.long = x.vector(1, n, c, false), c == bits64
	x.access(0, t, n, stores)
}

// access sets what a load and a store have in common: the address.
func (x *build) access(i int, t dataType, n int, run func(*warp, *inst, uint32)) {
	x.in.size, x.in.signed, x.in.run = t.bytes, t.signed, run
	if t.bytes*n > 16 {
		x.fail("an access is of at most 16 bytes, not %d", t.bytes*n)
	}
	if x.memory(i); x.in.flags&toShared == 0 && !x.in.wide {
		x.fail("an address outside shared memory has 64 bits")
	}
}

// common is the class of the registers of an operand, all alike, which have at
// least a type's bits.
func (x *build) common(i int, t dataType) class {
	list := x.operand(i).list
	if x.operand(i).kind != isVector {
		list = []operand{x.operand(i)}
	}
	c := t.class
	if t.bytes == 1 {
		c = bits16
	}
	for _, o := range list {
		if o.kind == isReg && o.reg.class > c && !t.float {
			c = o.reg.class
		}
	}
	return c
}

// loadParam reads a parameter, which is a register that the launch sets.
func (x *build) loadParam() {
	t, ok := dataTypes[x.last()]
	x.plain()
	if !ok || t.bytes < 4 {
		x.unknown()
	}
	if !x.wants(2) {
		return
	}
	o := x.ops[1]
	if o.kind != isMemory || o.param == nil {
		x.fail("%s is no parameter", o.text)
		return
	}
	if o.value != 0 || o.param.size != t.bytes {
		x.fail("the parameter %s has %d bytes", o.param.name, o.param.size)
	}
	x.in.d = x.dst(0, t.class)
	r := x.file.add(o.param.name, t.class)
	x.file.params = append(x.file.params, constant{r, uint64(o.number), nil})
	x.in.a, x.in.run = r.index, moves
	if t.class == bits64 {
		x.in.run = movesLong
	}
}
