package sim

import "math/bits"

// Instructions of bits (PTX ISA, "Logic and Shift Instructions", and those of
// "Integer Arithmetic Instructions" that move bits).

// bitType takes a type without a meaning: b16, b32 or b64.
func (x *build) bitType(name string) dataType {
	t, ok := dataTypes[name]
	if !ok || name[0] != 'b' || t.float || t.bytes < 2 {
		x.unknown()
	}
	return t
}

// logic is and, or, xor and not, of bits and of predicates.
func (x *build) logic() {
	name, op := x.last(), x.name
	f := map[string]func(a, b uint64) uint64{
		"and": func(a, b uint64) uint64 { return a & b }, "or": func(a, b uint64) uint64 { return a | b },
		"xor": func(a, b uint64) uint64 { return a ^ b }, "not": func(a, _ uint64) uint64 { return ^a },
	}[op]
	if name == "pred" {
		x.plain()
		n := 3
		if op == "not" {
			n = 2
		}
		if !x.wants(n) {
			return
		}
		x.in.d, x.in.a = x.dst(0, predicate), x.src(1, predicate)
		x.in.b = x.in.a
		if n == 3 {
			x.in.b = x.src(2, predicate)
		}
		x.in.run = func(w *warp, in *inst, m uint32) {
			v := uint32(f(uint64(w.preds[in.a]), uint64(w.preds[in.b])))
			w.preds[in.d] = w.preds[in.d]&^m | v&m
		}
		return
	}
	t := x.bitType(name)
	if op == "not" {
		x.ints1(t, func(a uint32) uint32 { return ^a }, func(a uint64) uint64 { return ^a })
		return
	}
	x.ints2(t, func(a, b uint32) uint32 { return uint32(f(uint64(a), uint64(b))) }, f)
}

// shift: amounts beyond the width give what remains then, 0 or the sign.
func (x *build) shift() {
	name, left := x.last(), x.name == "shl"
	t, ok := dataTypes[name]
	if !ok || t.float || t.bytes < 2 || left && name[0] != 'b' {
		x.unknown()
	}
	x.plain()
	if !x.wants(3) {
		return
	}
	x.in.d, x.in.a, x.in.b = x.dst(0, t.class), x.src(1, t.class), x.src(2, bits32)
	x.in.run = each2
	switch {
	case t.class == bits64:
		x.in.run = longShift
		x.in.g2 = func(a, b uint64) uint64 { return a >> b }
		if left {
			x.in.g2 = func(a, b uint64) uint64 { return a << b }
		} else if t.signed {
			x.in.g2 = func(a, b uint64) uint64 { return uint64(int64(a) >> b) }
		}
	case left:
		x.in.f2 = func(a, b uint32) uint32 { return a << b }
	case t.class == bits16 && t.signed:
		x.in.f2 = func(a, b uint32) uint32 { return uint32(int16(a) >> b) }
	case t.class == bits16:
		x.in.f2 = func(a, b uint32) uint32 { return uint32(uint16(a) >> b) }
	case t.signed:
		x.in.f2 = func(a, b uint32) uint32 { return uint32(int32(a) >> b) }
	default:
		x.in.f2 = func(a, b uint32) uint32 { return a >> b }
	}
}

// funnel is shf: 32 bits of two registers, shifted as one of 64.
func (x *build) funnel() {
	left, right := x.has("l"), x.has("r")
	clamp, wrap := x.has("clamp"), x.has("wrap")
	t := x.bitType(x.last())
	if left == right || clamp == wrap || t.class != bits32 {
		x.unknown()
	}
	x.ints3(t, func(a, b, c uint32) uint32 {
		if wrap {
			c &= 31
		} else {
			c = min(c, 32)
		}
		v := uint64(b)<<32 | uint64(a)
		if left {
			return uint32(v << c >> 32)
		}
		return uint32(v >> c)
	}, nil)
}

// bfe takes bits out; those beyond the number repeat the sign.
func (x *build) bfe() {
	t := x.intType(x.last())
	x.plain()
	if t.class != bits32 {
		x.unknown()
	}
	x.ints3(t, func(a, b, c uint32) uint32 {
		pos, n := b&0xff, c&0xff
		var v uint64 = uint64(a)
		if t.signed {
			v = uint64(int64(int32(a)))
		}
		if n == 0 {
			return 0
		}
		v = uint64(int64(v) >> min(pos, 63))
		if n >= 32 {
			return uint32(v)
		}
		if t.signed {
			if pos+n > 32 {
				return uint32(v)
			}
			return uint32(int64(v<<(64-n)) >> (64 - n))
		}
		return uint32(v & (1<<n - 1))
	}, nil)
}

func (x *build) bfi() {
	t := x.bitType(x.last())
	x.plain()
	if t.class != bits32 || !x.wants(5) {
		x.unknown()
		return
	}
	x.in.d = x.dst(0, bits32)
	x.in.regs = []int32{x.src(1, bits32), x.src(2, bits32), x.src(3, bits32), x.src(4, bits32)}
	x.in.run = func(w *warp, in *inst, m uint32) {
		for l := range lanes {
			if m>>l&1 != 0 {
				a, b, pos, n := w.r32[in.regs[0]][l], w.r32[in.regs[1]][l], w.r32[in.regs[2]][l]&0xff, w.r32[in.regs[3]][l]&0xff
				field := uint32((1<<min(n, 32) - 1) << min(pos, 32))
				w.r32[in.d][l] = b&^field | a<<pos&field
			}
		}
	}
}

// lop3: bit i of the table, for i of the three operands' bits, a's the highest.
func (x *build) lop3() {
	t := x.bitType(x.last())
	x.plain()
	if t.class != bits32 || !x.wants(5) {
		x.unknown()
		return
	}
	table := x.operand(4)
	if table.kind != isInt || table.value > 255 {
		x.fail("%s is no table of 8 bits", table.text)
	}
	x.ops = x.ops[:4]
	x.ints3(t, func(a, b, c uint32) uint32 {
		var v uint32
		for i := range uint32(8) {
			if table.value>>i&1 == 0 {
				continue
			}
			p, q, r := a, b, c
			if i&4 == 0 {
				p = ^p
			}
			if i&2 == 0 {
				q = ^q
			}
			if i&1 == 0 {
				r = ^r
			}
			v |= p & q & r
		}
		return v
	}, nil)
}

// prmt picks four of eight bytes; bit 3 of a choice repeats the byte's sign. The
// other modes of the ISA are not known.
func (x *build) prmt() {
	t := x.bitType(x.last())
	if t.class != bits32 {
		x.unknown()
	}
	x.ints3(t, func(a, b, c uint32) uint32 {
		v := uint64(b)<<32 | uint64(a)
		var out uint32
		for i := range 4 {
			k := c >> (4 * i)
			picked := uint32(byte(v >> (8 * (k & 7))))
			if k&8 != 0 {
				picked = uint32(uint8(int8(picked) >> 7))
			}
			out |= picked << (8 * i)
		}
		return out
	}, nil)
}

func (x *build) count() {
	t, op := x.bitType(x.last()), x.name
	x.plain()
	if t.class == bits16 || op == "brev" && t.class == bits64 {
		x.unknown()
		return
	}
	if !x.wants(2) {
		return
	}
	x.in.d, x.in.a, x.in.wide = x.dst(0, bits32), x.src(1, t.class), t.class == bits64
	x.in.run = changes
	switch op {
	case "popc":
		x.in.g1 = func(a uint64) uint64 { return uint64(bits.OnesCount64(a)) }
	case "clz":
		pad := 64 - 8*t.bytes
		x.in.g1 = func(a uint64) uint64 { return uint64(bits.LeadingZeros64(a) - pad) }
	default:
		x.in.g1 = func(a uint64) uint64 { return uint64(bits.Reverse32(uint32(a))) }
	}
}
