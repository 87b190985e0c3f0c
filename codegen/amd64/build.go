package amd64

import (
	"fmt"
	"strconv"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// This file wraps llir, which checks nothing: every operand's type is compared
// here, and the first fault is kept in the module with the statement it
// belongs to. After a fault the emitters go on with undefined values.

// lanes is the number of elements in a vector of the emitted code, whatever
// the machine's registers hold: llc splits what is too wide.
const lanes = 16

var (
	bit     = types.I1
	i8      = types.I8
	i16     = types.I16
	i32     = types.I32
	i64     = types.I64
	f32     = types.Float
	half    = types.Half
	bytePtr = types.NewPointer(types.I8)

	v1   = types.NewVector(lanes, bit)
	v16  = types.NewVector(lanes, i16)
	v32  = types.NewVector(lanes, i32)
	v64  = types.NewVector(lanes, i64)
	vf32 = types.NewVector(lanes, f32)
	vf16 = types.NewVector(lanes, half)
	v512 = types.NewVector(2*lanes, i16)
)

// module collects the functions of one LLVM module.
type module struct {
	m                                      *ir.Module
	machine                                Machine
	decls                                  map[string]*ir.Func
	micros                                 map[microKey]*ir.Func
	products                               map[productKey]*ir.Func
	tables                                 map[string]*ir.Global
	quants, quantMicros, spells            map[quantKey]*ir.Func // products with quantised operands
	turners                                map[kernel.Elem]*ir.Func
	squares                                map[string]*ir.Func // what lays out operands in squares
	squareDots                             map[squareTile]*ir.Func
	squareProducts, squareRows, squareFews map[squareKey]*ir.Func
	where                                  string // what is being emitted, for errors
	err                                    error
}

func newModule(m Machine) *module {
	mod := &module{m: ir.NewModule(), machine: m, decls: map[string]*ir.Func{}, micros: map[microKey]*ir.Func{}, products: map[productKey]*ir.Func{},
		quants: map[quantKey]*ir.Func{}, quantMicros: map[quantKey]*ir.Func{}, spells: map[quantKey]*ir.Func{},
		tables: map[string]*ir.Global{}, turners: map[kernel.Elem]*ir.Func{},
		squares: map[string]*ir.Func{}, squareDots: map[squareTile]*ir.Func{}, squareProducts: map[squareKey]*ir.Func{}, squareRows: map[squareKey]*ir.Func{}, squareFews: map[squareKey]*ir.Func{}}
	mod.m.TargetTriple = "x86_64-unknown-linux-gnu"
	return mod
}

func (m *module) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf("%s: %s", m.where, fmt.Sprintf(format, args...))
	}
}

// fn is a function under construction: instructions go to the block cur.
type fn struct {
	*module
	f   *ir.Func
	cur *ir.Block

	vars   map[string]value.Value // the integer variables in scope
	ranges map[string]ints.Range  // what is known of them
	steps  map[string]int64       // a number that divides them
	scopes []scope
	diffs  map[diffKey]difference
	lines  map[diffKey]difference
}

// scope remembers values that dominate what is emitted until it is popped.
type scope struct {
	ints   map[*ints.Expr]value.Value
	clamps map[*ints.Expr]value.Value
	vals   map[*kernel.Val]value.Value
}

func (m *module) newFunc(name string, ret types.Type, params ...*ir.Param) *fn {
	f := m.m.NewFunc(name, ret, params...)
	f.FuncAttrs = append(f.FuncAttrs, enum.FuncAttrNoUnwind)
	g := &fn{module: m, f: f, vars: map[string]value.Value{}, ranges: map[string]ints.Range{}, steps: map[string]int64{},
		diffs: map[diffKey]difference{}, lines: map[diffKey]difference{}}
	g.cur = f.NewBlock("")
	g.push()
	return g
}

func (f *fn) push() {
	f.scopes = append(f.scopes, scope{map[*ints.Expr]value.Value{}, map[*ints.Expr]value.Value{}, map[*kernel.Val]value.Value{}})
}
func (f *fn) pop() { f.scopes = f.scopes[:len(f.scopes)-1] }

var _ constant.Constant = (*literal)(nil)

func (f *fn) emit(i ir.Instruction) { f.cur.Insts = append(f.cur.Insts, i) }

// elemOf is the type of one lane.
func elemOf(t types.Type) types.Type {
	if v, ok := t.(*types.VectorType); ok {
		return v.ElemType
	}
	return t
}

func isInt(t types.Type) bool   { _, ok := elemOf(t).(*types.IntType); return ok }
func isFloat(t types.Type) bool { _, ok := elemOf(t).(*types.FloatType); return ok }

// like is the type with t's lanes and the element e.
func like(t, e types.Type) types.Type {
	if v, ok := t.(*types.VectorType); ok {
		return types.NewVector(v.Len, e)
	}
	return e
}

func (f *fn) same(what string, a, b value.Value) bool {
	if !a.Type().Equal(b.Type()) {
		f.fail("%s of %s and %s", what, a.Type(), b.Type())
		return false
	}
	return true
}

type arith uint8

const (
	add arith = iota
	sub
	mul
	sdiv
	srem
	udiv
	urem
	and
	or
	xor
	shl
	lshr
	ashr
	fadd
	fsub
	fmul
	fdiv
)

var arithNames = [...]string{"add", "sub", "mul", "sdiv", "srem", "udiv", "urem", "and", "or", "xor", "shl", "lshr", "ashr", "fadd", "fsub", "fmul", "fdiv"}

// bin emits a binary operation on two values of one type; small integer
// constants fold, so that addresses stay short.
func (f *fn) bin(op arith, a, b value.Value) value.Value {
	if !f.same(arithNames[op], a, b) {
		return undef(a.Type())
	}
	if op >= fadd && !isFloat(a.Type()) || op < fadd && !isInt(a.Type()) {
		f.fail("%s of %s", arithNames[op], a.Type())
		return undef(a.Type())
	}
	if v := foldInt(op, a, b); v != nil {
		return v
	}
	var i interface {
		ir.Instruction
		value.Value
	}
	switch op {
	case add:
		i = ir.NewAdd(a, b)
	case sub:
		i = ir.NewSub(a, b)
	case mul:
		i = ir.NewMul(a, b)
	case sdiv:
		i = ir.NewSDiv(a, b)
	case srem:
		i = ir.NewSRem(a, b)
	case udiv:
		i = ir.NewUDiv(a, b)
	case urem:
		i = ir.NewURem(a, b)
	case and:
		i = ir.NewAnd(a, b)
	case or:
		i = ir.NewOr(a, b)
	case xor:
		i = ir.NewXor(a, b)
	case shl:
		i = ir.NewShl(a, b)
	case lshr:
		i = ir.NewLShr(a, b)
	case ashr:
		i = ir.NewAShr(a, b)
	case fadd:
		i = ir.NewFAdd(a, b)
	case fsub:
		i = ir.NewFSub(a, b)
	case fmul:
		i = ir.NewFMul(a, b)
	case fdiv:
		i = ir.NewFDiv(a, b)
	}
	f.emit(i)
	return i
}

func foldInt(op arith, a, b value.Value) value.Value {
	t, ok := a.Type().(*types.IntType)
	if !ok || t.BitSize < 32 {
		return nil
	}
	x, okx := constInt(a)
	y, oky := constInt(b)
	if okx && oky {
		switch op {
		case add:
			return constant.NewInt(t, x+y)
		case sub:
			return constant.NewInt(t, x-y)
		case mul:
			return constant.NewInt(t, x*y)
		case and:
			return constant.NewInt(t, x&y)
		case ashr:
			return constant.NewInt(t, x>>uint(y&63))
		case udiv, urem:
			if x < 0 || y <= 0 {
				return nil
			}
			if op == udiv {
				return constant.NewInt(t, x/y)
			}
			return constant.NewInt(t, x%y)
		}
		return nil
	}
	switch {
	case op == add && okx && x == 0:
		return b
	case (op == add || op == sub) && oky && y == 0:
		return a
	case op == mul && (okx && x == 1):
		return b
	case op == mul && (oky && y == 1):
		return a
	case op == mul && (okx && x == 0 || oky && y == 0):
		return constant.NewInt(t, 0)
	}
	return nil
}

func (f *fn) add(a, b value.Value) value.Value { return f.bin(add, a, b) }
func (f *fn) sub(a, b value.Value) value.Value { return f.bin(sub, a, b) }
func (f *fn) mul(a, b value.Value) value.Value { return f.bin(mul, a, b) }

// icmp compares integers, giving a bit a lane.
func (f *fn) icmp(p enum.IPred, a, b value.Value) value.Value {
	if !f.same("icmp", a, b) || !isInt(a.Type()) {
		f.fail("icmp of %s", a.Type())
		return undef(like(a.Type(), bit))
	}
	i := ir.NewICmp(p, a, b)
	f.emit(i)
	return i
}

// fcmp compares floats, giving a bit a lane.
func (f *fn) fcmp(p enum.FPred, a, b value.Value) value.Value {
	if !f.same("fcmp", a, b) || !isFloat(a.Type()) {
		f.fail("fcmp of %s", a.Type())
		return undef(like(a.Type(), bit))
	}
	i := ir.NewFCmp(p, a, b)
	f.emit(i)
	return i
}

// choose is c ? a : b, lane by lane.
func (f *fn) choose(c, a, b value.Value) value.Value {
	if !f.same("select", a, b) || !c.Type().Equal(like(a.Type(), bit)) && !c.Type().Equal(bit) {
		f.fail("select of %s by %s", a.Type(), c.Type())
		return undef(a.Type())
	}
	i := ir.NewSelect(c, a, b)
	f.emit(i)
	return i
}

func (f *fn) smin(a, b value.Value) value.Value {
	if x, ok := constInt(a); ok {
		if y, ok := constInt(b); ok {
			return constant.NewInt(a.Type().(*types.IntType), min(x, y))
		}
	}
	return f.choose(f.icmp(enum.IPredSLT, a, b), a, b)
}

func (f *fn) smax(a, b value.Value) value.Value {
	if x, ok := constInt(a); ok {
		if y, ok := constInt(b); ok {
			return constant.NewInt(a.Type().(*types.IntType), max(x, y))
		}
	}
	return f.choose(f.icmp(enum.IPredSGT, a, b), a, b)
}

type conversion uint8

const (
	trunc conversion = iota
	zext
	sext
	fptrunc
	fpext
	sitofp
	uitofp
	fptosi
	bitcast
)

// convert gives x with the element type to, keeping the lanes.
func (f *fn) convert(op conversion, x value.Value, to types.Type) value.Value {
	t := like(x.Type(), to)
	if t.Equal(x.Type()) {
		return x
	}
	from, fromInt := elemOf(x.Type()).(*types.IntType)
	dest, toInt := to.(*types.IntType)
	ok := true
	switch op {
	case trunc:
		ok = fromInt && toInt && dest.BitSize < from.BitSize
	case zext, sext:
		ok = fromInt && toInt && dest.BitSize > from.BitSize
	case fptrunc, fpext:
		ok = !fromInt && !toInt
	case sitofp, uitofp:
		ok = fromInt && !toInt
	case fptosi:
		ok = !fromInt && toInt
	}
	if !ok {
		f.fail("conversion %d of %s to %s", op, x.Type(), t)
		return undef(t)
	}
	if k, isConst := constInt(x); isConst && (op == trunc || op == sext) {
		if it, scalar := t.(*types.IntType); scalar && (it.BitSize == 64 || k == int64(int32(k))) {
			return constant.NewInt(it, k)
		}
	}
	var i interface {
		ir.Instruction
		value.Value
	}
	switch op {
	case trunc:
		i = ir.NewTrunc(x, t)
	case zext:
		i = ir.NewZExt(x, t)
	case sext:
		i = ir.NewSExt(x, t)
	case fptrunc:
		i = ir.NewFPTrunc(x, t)
	case fpext:
		i = ir.NewFPExt(x, t)
	case sitofp:
		i = ir.NewSIToFP(x, t)
	case uitofp:
		i = ir.NewUIToFP(x, t)
	case fptosi:
		i = ir.NewFPToSI(x, t)
	case bitcast:
		i = ir.NewBitCast(x, t)
	}
	f.emit(i)
	return i
}

// at is the byte address p + off.
func (f *fn) at(p, off value.Value) value.Value {
	if !p.Type().Equal(bytePtr) || !off.Type().Equal(i64) {
		f.fail("address from %s and %s", p.Type(), off.Type())
		return undef(bytePtr)
	}
	if k, ok := constInt(off); ok && k == 0 {
		return p
	}
	i := ir.NewGetElementPtr(i8, p, off)
	f.emit(i)
	return i
}

func (f *fn) typed(p value.Value, t types.Type) value.Value {
	if !p.Type().Equal(bytePtr) {
		f.fail("memory access through %s", p.Type())
		return undef(types.NewPointer(t))
	}
	i := ir.NewBitCast(p, types.NewPointer(t))
	f.emit(i)
	return i
}

// sizeOf is the bytes of one lane, which is the alignment that holds for every
// access: rows of a tensor begin anywhere.
func sizeOf(t types.Type) int64 {
	switch e := elemOf(t).(type) {
	case *types.IntType:
		return max(1, int64(e.BitSize/8))
	case *types.FloatType:
		if e.Kind == types.FloatKindHalf {
			return 2
		}
		return 4
	}
	return 8
}

// load reads a value of type t at the byte address p + off.
func (f *fn) load(t types.Type, p, off value.Value) value.Value { return f.loadOf(t, p, off, false) }

// loadOf is load; again says that a value loaded before is to be loaded once more.
func (f *fn) loadOf(t types.Type, p, off value.Value, again bool) value.Value {
	i := ir.NewLoad(t, f.typed(f.at(p, off), t))
	i.Align, i.Volatile = ir.Align(sizeOf(t)), again
	f.emit(i)
	return i
}

// store writes v at the byte address p + off.
func (f *fn) store(v, p, off value.Value) {
	i := ir.NewStore(v, f.typed(f.at(p, off), v.Type()))
	i.Align = ir.Align(sizeOf(v.Type()))
	f.emit(i)
}

// prefetch asks for the line at the byte address p + off, which need not exist.
func (f *fn) prefetch(p, off value.Value) { f.fetch(p, off, 3) }

// prefetchFar is prefetch to L2 alone, for what is used after more than L1 holds.
func (f *fn) prefetchFar(p, off value.Value) { f.fetch(p, off, 2) }

// fetch is a prefetch with LLVM's locality.
func (f *fn) fetch(p, off value.Value, locality int64) {
	f.intrinsic("llvm.prefetch.p0i8", types.Void, f.at(p, off), c32(0), c32(locality), c32(1))
}

// splat repeats a scalar in every lane.
func (f *fn) splat(x value.Value) value.Value {
	t := types.NewVector(lanes, x.Type())
	switch c := x.(type) {
	case *constant.Int:
		if c.Typ.BitSize > 1 {
			s := c.Ident()
			return each(t, func(int) string { return s })
		}
	case *literal:
		return each(t, func(int) string { return c.text })
	}
	ins := ir.NewInsertElement(constant.NewUndef(t), x, c32(0))
	f.emit(ins)
	sh := ir.NewShuffleVector(ins, constant.NewUndef(t), constant.NewZeroInitializer(v32))
	f.emit(sh)
	return sh
}

// lane takes one element out of a vector.
func (f *fn) lane(v value.Value, i int64) value.Value {
	e := ir.NewExtractElement(v, c32(i))
	f.emit(e)
	return e
}

// shuffle picks lane[i] of a, or of b where i is a's lanes and more.
func (f *fn) shuffle(a, b value.Value, pick func(i int) int) value.Value {
	if !f.same("shuffle", a, b) {
		return a
	}
	s := ir.NewShuffleVector(a, b, each(like(a.Type(), i32).(*types.VectorType), func(i int) string { return strconv.Itoa(pick(i)) }))
	f.emit(s)
	return s
}

// call emits a call with checked arguments; the result may be void.
func (f *fn) call(callee *ir.Func, args ...value.Value) value.Value {
	if len(args) != len(callee.Params) {
		f.fail("call of %s with %d arguments, not %d", callee.Name(), len(args), len(callee.Params))
		return undef(callee.Sig.RetType)
	}
	for i, a := range args {
		if !a.Type().Equal(callee.Params[i].Typ) {
			f.fail("call of %s: argument %d is %s, not %s", callee.Name(), i, a.Type(), callee.Params[i].Typ)
			return undef(callee.Sig.RetType)
		}
	}
	i := ir.NewCall(callee, args...)
	f.emit(i)
	return i
}

// intrinsic calls one of LLVM's own functions, declaring it on first use.
func (f *fn) intrinsic(name string, ret types.Type, args ...value.Value) value.Value {
	d := f.decls[name]
	if d == nil {
		params := make([]*ir.Param, len(args))
		for i, a := range args {
			params[i] = ir.NewParam("", a.Type())
		}
		d = f.m.NewFunc(name, ret, params...)
		f.decls[name] = d
	}
	return f.call(d, args...)
}

func (f *fn) fma(a, b, c value.Value) value.Value {
	return f.intrinsic("llvm.fma.v16f32", vf32, a, b, c)
}

// none is whether a pointer is null.
func (f *fn) none(ptr value.Value) value.Value {
	i := ir.NewICmp(enum.IPredEQ, ptr, constant.NewNull(bytePtr))
	f.emit(i)
	return i
}
