package sim

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand"
	"strings"
	"testing"
)

// entryOf is a program of one entry with one parameter, the address in %q0 and
// the thread's number in %r0.
func entryOf(body string) string {
	return `.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 128 .b8 near[];
.global .align 8 .b64 _table_0[3] = {7, -8,
    9};
.visible .entry k(
    .param .u64 p)
.maxntid 4, 1, 1
{
    .reg .b32 %r<9>;
    ld.param.u64 %q0, [p];
    mov.u32 %r0, %tid.x;
` + body + `
    ret;
}
`
}

func run(t *testing.T, body string, data []byte) error {
	t.Helper()
	p, err := Parse(entryOf(body))
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	return p.Run("k", Launch{CTAs: 1, Threads: 4, Shared: 64, Args: []uint64{mem.Add("data", data)}, Memory: &mem, Steps: 10000})
}

const neighbours = `
    mov.u32 %r1, near;
    mad.lo.s32 %r2, %r0, 4, %r1;
    st.shared.u32 [%r2+16], %r0;
    %s
    ld.shared.u32 %r3, [%r2+12];`

// A thread reads what its neighbour wrote; thread 0 reads what nobody did.
func TestBarrier(t *testing.T) {
	skip0 := "setp.ge.s32 %p0, %r0, 1;\n@!%p0 bra $over;\n"
	end := "\n$over:\nmad.wide.u32 %q1, %r0, 4, %q0;\nst.global.u32 [%q1], %r3;"
	good := strings.Replace(neighbours, "%s", "bar.sync 0;\nmov.u32 %r3, 50;\n"+skip0, 1) + end
	data := make([]byte, 16)
	if err := run(t, good, data); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(data); got != "[50 0 0 0 0 0 0 0 1 0 0 0 2 0 0 0]" {
		t.Error(got)
	}
}

func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"race":     {strings.Replace(neighbours, "%s", "setp.ge.s32 %p0, %r0, 1;\n@!%p0 bra $over;\n", 1) + "\n$over:", "thread 1, line 21, ld.shared.u32 %r3, [%r2+12];: race: byte 16, which thread 0 wrote"},
		"overtake": {"mov.u32 %r1, near;\nst.global.u32 [%q0], %r0;", "thread 1, line 15, st.global.u32 [%q0], %r0;: race: byte 0, which thread 0 wrote"},
		"read":     {"ld.global.u32 %r1, [%q0];\nsetp.ge.s32 %p0, %r0, 1;\n@%p0 st.global.u32 [%q0], %r0;", "race: it writes byte 0, which another thread read"},
		"unset":    {"add.s32 %r1, %r2, 1;", "%r2 has no value"},
		"fresh":    {strings.Replace(neighbours, "%s", "bar.sync 0;", 1), "thread 0, line 19, ld.shared.u32 %r3, [%r2+12];: shared byte 12 has not been written"},
		"shared":   {"mov.u32 %r1, near;\nst.shared.u32 [%r1+64], %r0;", "4 bytes at shared address 64 of 64"},
		"bounds":   {"st.global.u32 [%q0+16], %r0;", "byte 16 of data, which has 16"},
		"below":    {"ld.global.u32 %r1, [%q0+-4];", "no allocation"},
		"null":     {"mov.u64 %q1, 0;\nld.global.u32 %r1, [%q1];", "the address 0x0 is in no allocation"},
		"aligned":  {"ld.global.u32 %r1, [%q0+2];", "not aligned"},
		"diverged": {"setp.ge.s32 %p0, %r0, 2;\n@%p0 bra $two;\nbar.sync 0;\n$two:\nbar.sync 0;", "waits at line"},
		"left":     {"setp.ge.s32 %p0, %r0, 2;\n@%p0 ret;\nbar.sync 0;", "2 threads have ended"},
		"endless":  {"$here:\nbra $here;", "runs for too long"},
	} {
		if err := run(t, tc.body, make([]byte, 16)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", name, err, tc.want)
		}
	}
}

func TestTable(t *testing.T) {
	data := make([]byte, 8)
	if err := run(t, "setp.eq.s32 %p0, %r0, 3;\nmov.u64 %q1, _table_0;\nld.global.u64 %q2, [%q1+8];\n@%p0 st.global.u64 [%q0], %q2;", data); err != nil {
		t.Fatal(err)
	}
	if v := int64(binary.LittleEndian.Uint64(data)); v != -8 {
		t.Error(v)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{entryOf("ex2.approx.f32 %f0, %f1;"), "line 14, ex2.approx.f32 %f0, %f1;: the instruction is not known"},
		{entryOf("bra $nowhere;"), "$nowhere leads nowhere"},
		{entryOf("$a:\n$a:"), "the label is set twice"},
		{entryOf("add.s32 5, %r0, %r0;"), "it must write a register"},
		{entryOf("mov.u32 %r1, ten;"), "ten"},
		{entryOf("ld.param.u64 %q1, [other];"), "no parameter is called other"},
		{entryOf("nothing"), "not an instruction"},
		{".weird\n", "line 1, .weird: not known"},
		{strings.TrimSuffix(entryOf(""), "}\n"), "ends within an entry"},
		{strings.Replace(entryOf(""), "    ret;\n", "", 1), "does not end in ret"},
	} {
		if _, err := Parse(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v; want %q", err, tc.want)
		}
	}
}

// fma32 is the exact a·b + c, rounded once, also where float64 would round it
// to a tie of float32 first.
func TestFmaRoundsOnce(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	one := func() float32 {
		return math.Float32frombits(rnd.Uint32()&0x807fffff | uint32(127-30+rnd.Intn(60))<<23)
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
		check(one(), one(), one())
	}
}
