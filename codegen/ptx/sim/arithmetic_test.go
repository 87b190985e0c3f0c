package sim

import (
	"math"
	"math/big"
	"math/rand"
	"testing"
)

// functionCase is one instruction over words a, b and c, and what it gives for
// them.
type functionCase struct {
	op   string // of %r9, %r2, %r3, %r4
	in   [3]uint32
	want uint32
}

func f32(v float64) uint32 { return math.Float32bits(float32(v)) }

var (
	inf     = f32(math.Inf(1))
	nan     = uint32(0x7fc00001)
	minus0  = uint32(1 << 31)
	minimum = uint32(1) // the least subnormal number
)

var functionCases = []functionCase{
	{"add.s32 %r9, %r2, %r3;", [3]uint32{math.MaxUint32, 5}, 4},
	{"sub.s32 %r9, %r2, %r3;", [3]uint32{3, 5}, math.MaxUint32 - 1},
	{"mul.lo.s32 %r9, %r2, %r3;", [3]uint32{1 << 20, 1<<20 + 1}, 1 << 20},
	{"mul.hi.s32 %r9, %r2, %r3;", [3]uint32{math.MaxUint32, 3}, math.MaxUint32},
	{"mul.hi.u32 %r9, %r2, %r3;", [3]uint32{math.MaxUint32, 3}, 2},
	{"mad.lo.u32 %r9, %r2, %r3, %r4;", [3]uint32{7, 8, 9}, 65},
	{"mad.hi.u32 %r9, %r2, %r3, %r4;", [3]uint32{1 << 31, 4, 9}, 11},
	{"mul.wide.s32 %q1, %r2, %r3;\nshr.u64 %q1, %q1, 4;\ncvt.u32.u64 %r9, %q1;", [3]uint32{math.MaxUint32, 32}, math.MaxUint32 - 1},
	{"mul.wide.u32 %q1, %r2, %r3;\nshr.u64 %q1, %q1, 32;\ncvt.u32.u64 %r9, %q1;", [3]uint32{math.MaxUint32, 32}, 31},
	{"cvt.u64.u32 %q2, %r4;\nmad.wide.s32 %q1, %r2, %r3, %q2;\ncvt.u32.u64 %r9, %q1;", [3]uint32{math.MaxUint32, 32, 40}, 8},
	{"div.s32 %r9, %r2, %r3;", [3]uint32{uint32(0xfffffff9), 2}, 0xfffffffd},
	{"div.u32 %r9, %r2, %r3;", [3]uint32{uint32(0xfffffff9), 2}, 0x7ffffffc},
	{"rem.s32 %r9, %r2, %r3;", [3]uint32{uint32(0xfffffff9), 2}, math.MaxUint32},
	{"rem.u32 %r9, %r2, %r3;", [3]uint32{9, 4}, 1},
	{"min.s32 %r9, %r2, %r3;", [3]uint32{math.MaxUint32, 1}, math.MaxUint32},
	{"min.u32 %r9, %r2, %r3;", [3]uint32{math.MaxUint32, 1}, 1},
	{"max.s32 %r9, %r2, %r3;", [3]uint32{math.MaxUint32, 1}, 1},
	{"abs.s32 %r9, %r2;", [3]uint32{0xfffffff0}, 16},
	{"neg.s32 %r9, %r2;", [3]uint32{16}, 0xfffffff0},
	{"not.b32 %r9, %r2;", [3]uint32{5}, ^uint32(5)},
	{"xor.b32 %r9, %r2, %r3;", [3]uint32{12, 10}, 6},
	{"or.b32 %r9, %r2, 0b1010;", [3]uint32{12}, 14},
	{"shl.b32 %r9, %r2, %r3;", [3]uint32{1, 32}, 0},
	{"shr.s32 %r9, %r2, %r3;", [3]uint32{1 << 31, 40}, math.MaxUint32},
	{"shr.u32 %r9, %r2, %r3;", [3]uint32{1 << 31, 31}, 1},
	{"cvt.u64.u32 %q1, %r2;\nshl.b64 %q1, %q1, 40;\nshr.s64 %q1, %q1, 60;\ncvt.u32.s64 %r9, %q1;", [3]uint32{0xc00000}, 0xfffffffc},
	{"shf.l.wrap.b32 %r9, %r2, %r3, %r4;", [3]uint32{0x80000000, 1, 33}, 3},
	{"shf.r.clamp.b32 %r9, %r2, %r3, %r4;", [3]uint32{0x80000000, 5, 33}, 5},
	{"bfe.u32 %r9, %r2, %r3, %r4;", [3]uint32{0xabcdef12, 8, 12}, 0xdef},
	{"bfe.s32 %r9, %r2, %r3, %r4;", [3]uint32{0xabcdef12, 8, 12}, 0xfffffdef},
	{"bfe.s32 %r9, %r2, %r3, %r4;", [3]uint32{0xabcdef12, 24, 12}, 0xffffffab},
	{"bfe.u32 %r9, %r2, %r3, %r4;", [3]uint32{0xabcdef12, 24, 12}, 0xab},
	{"bfi.b32 %r9, %r2, %r3, 8, 12;", [3]uint32{0x1234, 0xffffffff}, 0xfff234ff},
	{"lop3.b32 %r9, %r2, %r3, %r4, 0x96;", [3]uint32{0b1100, 0b1010, 0b0110}, 0},
	{"lop3.b32 %r9, %r2, %r3, %r4, 0xe8;", [3]uint32{0b1100, 0b1010, 0b0110}, 0b1110},
	{"lop3.b32 %r9, %r2, %r3, %r4, 0xf0;", [3]uint32{77, 5, 6}, 77},
	{"prmt.b32 %r9, %r2, %r3, %r4;", [3]uint32{0x44332211, 0x88776655, 0x7531}, 0x88664422},
	{"prmt.b32 %r9, %r2, %r3, 0x0f84;", [3]uint32{0x44332211, 0x88776655}, 0x11ff0055},
	{"popc.b32 %r9, %r2;", [3]uint32{0xf0f}, 8},
	{"clz.b32 %r9, %r2;", [3]uint32{0xf0f}, 20},
	{"brev.b32 %r9, %r2;", [3]uint32{6}, 0x60000000},
	{"dp4a.s32.s32 %r9, %r2, %r3, %r4;", [3]uint32{0xff02fe01, 0x01030405, 100}, 100 - 1 + 6 - 8 + 5},
	{"dp4a.u32.u32 %r9, %r2, %r3, %r4;", [3]uint32{0xff020101, 0x02000001, 1}, 510 + 2},
	{"setp.lt.u32 %p0, %r2, %r3;\nselp.b32 %r9, 1, 2, %p0;", [3]uint32{math.MaxUint32, 1}, 2},
	{"setp.ge.f32 %p1, %f1, %f2;\nsetp.lt.and.s32 %p0|%p2, %r2, %r3, !%p1;\nselp.b32 %r9, 1, 2, %p0;\n@%p2 add.s32 %r9, %r9, 8;", [3]uint32{f32(1), f32(2)}, 1},
	{"setp.neu.f32 %p0, %f1, %f2;\nselp.b32 %r9, 1, 2, %p0;", [3]uint32{nan, f32(2)}, 1},
	{"setp.ne.f32 %p0, %f1, %f2;\nselp.b32 %r9, 1, 2, %p0;", [3]uint32{nan, f32(2)}, 2},
	{"setp.nan.f32 %p0, %f1, %f2;\nxor.pred %p0, %p0, %p0;\nnot.pred %p1, %p0;\nselp.b32 %r9, 1, 2, %p1;", [3]uint32{nan, f32(2)}, 1},
	{"mov.b32 {%h0, %h1}, %r2;\nmov.b32 %r9, {%h1, %h0};", [3]uint32{0x12345678}, 0x56781234},
	{"mov.b64 %q1, {%r2, %r3};\nmov.b64 {%r5, %r6}, %q1;\nsub.s32 %r9, %r6, %r5;", [3]uint32{5, 9}, 4},

	{"add.f32 %f9, %f1, %f2;", [3]uint32{f32(1), f32(0x1p-24)}, f32(1)},
	{"add.rn.f32 %f9, %f1, %f2;", [3]uint32{inf, f32(math.Inf(-1))}, quiet},
	{"sub.f32 %f9, %f1, %f2;", [3]uint32{f32(1), f32(3)}, f32(-2)},
	{"mul.rn.f32 %f9, %f1, %f2;", [3]uint32{f32(0x1p-100), f32(0x1p-49)}, minimum},
	{"mul.rn.ftz.f32 %f9, %f1, %f2;", [3]uint32{f32(0x1p-100), f32(-0x1p-40)}, minus0},
	{"add.sat.f32 %f9, %f1, %f2;", [3]uint32{f32(1), f32(1)}, f32(1)},
	{"fma.rn.f32 %f9, %f1, %f2, %f3;", [3]uint32{f32(1 + 0x1p-12), f32(1), f32(0x1p-24 - 0x1p-12)}, f32(1)},
	{"fma.rn.f32 %f9, %f1, %f2, %f3;", [3]uint32{f32(1 + 0x1p-12), f32(1 - 0x1p-12), f32(-1)}, f32(-0x1p-24)},
	{"div.rn.f32 %f9, %f1, %f2;", [3]uint32{f32(1), f32(3)}, f32(1.0 / 3)},
	{"div.approx.f32 %f9, %f1, %f2;", [3]uint32{f32(1), f32(3)}, 0x3eaaaaaa},
	{"div.full.f32 %f9, %f1, %f2;", [3]uint32{f32(1), f32(4)}, f32(0.25)},
	{"rcp.rn.f32 %f9, %f1;", [3]uint32{f32(3)}, f32(1.0 / 3)},
	{"sqrt.rn.f32 %f9, %f1;", [3]uint32{f32(2)}, f32(math.Sqrt2)},
	{"rsqrt.approx.f32 %f9, %f1;", [3]uint32{f32(16)}, f32(0.25)},
	{"ex2.approx.f32 %f9, %f1;", [3]uint32{f32(-3)}, f32(0.125)},
	{"ex2.approx.ftz.f32 %f9, %f1;", [3]uint32{f32(-127)}, 0},
	{"ex2.approx.f32 %f9, %f1;", [3]uint32{f32(math.Inf(-1))}, 0},
	{"lg2.approx.f32 %f9, %f1;", [3]uint32{f32(8)}, f32(3)},
	{"tanh.approx.f32 %f9, %f1;", [3]uint32{inf}, f32(1)},
	{"min.f32 %f9, %f1, %f2;", [3]uint32{nan, f32(2)}, f32(2)},
	{"min.NaN.f32 %f9, %f1, %f2;", [3]uint32{nan, f32(2)}, quiet},
	{"max.f32 %f9, %f1, %f2;", [3]uint32{minus0, 0}, 0},
	{"min.f32 %f9, %f1, %f2;", [3]uint32{0, minus0}, minus0},
	{"max.f32 %f9, %f1, %f2;", [3]uint32{nan, nan}, quiet},
	{"neg.f32 %f9, %f1;", [3]uint32{nan}, nan | 1<<31},
	{"abs.f32 %f9, %f1;", [3]uint32{f32(-2)}, f32(2)},
	{"copysign.f32 %f9, %f1, %f2;", [3]uint32{minus0, f32(3)}, f32(-3)},
	{"fma.rn.bf16x2 %r9, %r2, %r3, %r4;", [3]uint32{0x40003f80, 0x40404000, 0x3f803f80}, 0x40e04040},
	{"add.rn.f16x2 %r9, %r2, %r3;", [3]uint32{0x3c004000, 0x40003c00}, 0x42004200},

	{"cvt.rn.f32.s32 %f9, %r2;", [3]uint32{1<<24 + 1}, f32(1 << 24)},
	{"cvt.rz.f32.u32 %f9, %r2;", [3]uint32{math.MaxUint32}, 0x4f7fffff},
	{"cvt.rp.f32.s32 %f9, %r2;", [3]uint32{1<<24 + 1}, f32(1<<24 + 2)},
	{"cvt.rzi.s32.f32 %r9, %f1;", [3]uint32{f32(-2.9)}, 0xfffffffe},
	{"cvt.rmi.s32.f32 %r9, %f1;", [3]uint32{f32(-2.1)}, 0xfffffffd},
	{"cvt.rni.s32.f32 %r9, %f1;", [3]uint32{f32(2.5)}, 2},
	{"cvt.rpi.u32.f32 %r9, %f1;", [3]uint32{f32(-2.5)}, 0},
	{"cvt.rni.s32.f32 %r9, %f1;", [3]uint32{f32(1e20)}, math.MaxInt32},
	{"cvt.rzi.s32.f32 %r9, %f1;", [3]uint32{nan}, 0},
	{"cvt.rmi.f32.f32 %f9, %f1;", [3]uint32{f32(-2.5)}, f32(-3)},
	{"cvt.rni.f32.f32 %f9, %f1;", [3]uint32{f32(-0.5)}, minus0},
	{"cvt.s32.s8 %r9, %r2;", [3]uint32{0x1f0}, 0xfffffff0},
	{"cvt.u16.u32 %h0, %r2;\ncvt.s32.s16 %r9, %h0;", [3]uint32{0x18000}, 0xffff8000},
	{"cvt.sat.u8.s32 %r9, %r2;", [3]uint32{300}, 255},
	{"cvt.sat.s8.s32 %r9, %r2;", [3]uint32{0xfffffe00}, 0xffffff80},
	{"cvt.rn.bf16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{0x3f808000}, 0x3f80},
	{"cvt.rn.bf16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{0x3f818000}, 0x3f82},
	{"cvt.rz.bf16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{0x3f81ffff}, 0x3f81},
	{"cvt.rn.bf16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{nan}, 0x7fff},
	{"cvt.u16.u32 %h0, %r2;\ncvt.f32.bf16 %f9, %h0;", [3]uint32{0x3f81}, 0x3f810000},
	{"cvt.u16.u32 %h0, %r2;\ncvt.f32.f16 %f9, %h0;", [3]uint32{0x3c01}, f32(1 + 0x1p-10)},
	{"cvt.rn.f16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{f32(1 + 0x1p-11)}, 0x3c00},
	{"cvt.rn.f16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{f32(65520)}, 0x7c00},
	{"cvt.rn.f16.f32 %h0, %f1;\ncvt.u32.u16 %r9, %h0;", [3]uint32{f32(0x1p-25 + 0x1p-40)}, 1},
	{"cvt.rn.bf16x2.f32 %r9, %f1, %f2;", [3]uint32{f32(1), f32(2)}, 0x3f804000},
	{"cvt.rn.f16x2.f32 %r9, %f1, %f2;", [3]uint32{f32(1), f32(2)}, 0x3c004000},
	{"cvt.rn.relu.bf16x2.f32 %r9, %f1, %f2;", [3]uint32{f32(-1), f32(2)}, 0x4000},
	{"cvt.rna.tf32.f32 %r9, %f1;", [3]uint32{f32(1 + 0x1p-11)}, f32(1 + 0x1p-10)},
	{"cvt.rna.tf32.f32 %r9, %f1;", [3]uint32{f32(-1 - 0x1p-11 + 0x1p-20)}, f32(-1)},
}

// text is a body that applies the instruction to three words of memory. A
// result in %f9 is moved to %r9.
func (c functionCase) text() string {
	out := `ld.global.u32 %r2, [%q0];
ld.global.u32 %r3, [%q0+4];
ld.global.u32 %r4, [%q0+8];
mov.b32 %f1, %r2;
mov.b32 %f2, %r3;
mov.b32 %f3, %r4;
mov.b32 %f9, 0;
mov.u32 %r9, 0;
` + c.op
	return out + "\nmov.b32 %r10, %f9;\nor.b32 %r9, %r9, %r10;\nst.global.u32 [%q0], %r9;"
}

func TestFunctions(t *testing.T) {
	for _, c := range functionCases {
		data := bytesOf(c.in[:])
		if err := launch(t, c.text(), 1, 1, data); err != nil {
			t.Fatal(c.op, err)
		}
		if got := words(data)[0]; got != c.want {
			t.Errorf("%s of %#x gives %#x, not %#x", c.op, c.in, got, c.want)
		}
	}
}

// Approximations are as far off as the ISA allows, not further.
func TestApproximations(t *testing.T) {
	rnd := rand.New(rand.NewSource(3))
	for _, c := range []struct {
		op       string
		lo, hi   float64
		want     func(float64) float64
		relative float64
		absolute float64
	}{
		{"ex2", -20, 20, math.Exp2, 0x1p-22, 0},
		{"lg2", 0.01, 100, math.Log2, 0x1p-22, 0x1p-22},
		{"rsqrt", 0.01, 100, func(v float64) float64 { return 1 / math.Sqrt(v) }, 0x1p-22, 0},
		{"rcp", 0.01, 100, func(v float64) float64 { return 1 / v }, 0x1p-22, 0},
		{"tanh", -3, 3, math.Tanh, 0x1p-11, 0},
		{"sin", -3, 3, math.Sin, 0, 0x1p-20},
	} {
		worst := 0.0
		for range 200 {
			v := float32(c.lo + (c.hi-c.lo)*rnd.Float64())
			data := bytesOf([]uint32{math.Float32bits(v), 0, 0})
			if err := launch(t, functionCase{op: c.op + ".approx.f32 %f9, %f1;"}.text(), 1, 1, data); err != nil {
				t.Fatal(err)
			}
			got, want := float64(math.Float32frombits(words(data)[0])), c.want(float64(v))
			worst = max(worst, math.Abs(got-want)/max(c.relative*math.Abs(want), c.absolute))
		}
		if worst > 1 || worst < 0.1 {
			t.Errorf("%s: the largest error is %.2f of what the ISA allows", c.op, worst)
		}
	}
}

// fma32 is the exact a·b + c, rounded once, also where float64 would round it
// to a tie of float32 first.
func TestFmaRoundsOnce(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	one := func(low, span int) float32 {
		return math.Float32frombits(rnd.Uint32()&0x807fffff | uint32(127+low+rnd.Intn(span))<<23)
	}
	check := func(a, b, c float32) {
		exact := new(big.Float).SetPrec(600).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		exact.Add(exact, big.NewFloat(float64(c)))
		want, _ := exact.Float32()
		if got := fma32(a, b, c); got != want {
			t.Fatalf("%v * %v + %v is %v, not %v", a, b, c, got, want)
		}
	}
	// 1 + 2⁻²⁴ + 2⁻⁷⁰: float64 loses the last part and leaves a tie.
	check(1+0x1p-12, 1, 0x1p-24-0x1p-12)
	check(0x1p-35, 0x1p-35, 1+0x1p-23)
	check(1+0x1p-23, 1, 0x1p-24)
	check(-(1 + 0x1p-12), 1+0x1p-12, 0x1p-40)
	for range 200000 {
		check(one(-30, 60), one(-30, 60), one(-30, 60))
		check(one(-70, 20), one(-70, 20), one(-126, 10))
	}
}

// toF16 and toBF16 round to nearest even, and undo what widening does.
func TestHalves(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if f := fromF16(h); f == f && toF16(f, nearest) != h {
			t.Fatalf("f16 %#x is %v, which is %#x", h, f, toF16(f, nearest))
		}
		if f := fromBF16(h); f == f && toBF16(f, nearest) != h {
			t.Fatalf("bf16 %#x is %v, which is %#x", h, f, toBF16(f, nearest))
		}
	}
	// Between two neighbours: the nearer one, on a tie the even one.
	for h := range uint16(0x7bff) {
		lo, hi := fromF16(h), fromF16(h+1)
		mid := (lo + hi) / 2
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, hi), h + 1}, {-mid, even | 1<<15}} {
			if got := toF16(c.f, nearest); got != c.want {
				t.Fatalf("%v is f16 %#x, not %#x", c.f, got, c.want)
			}
		}
		if got := toF16(math.Nextafter32(hi, 0), toZero); got != h {
			t.Fatalf("%v is f16 %#x to zero, not %#x", hi, got, h)
		}
	}
}
