package sim

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/memc-lang/memc/codegen/ptx"
)

// product runs the text of testdata/product.ptx, or what has become of it, and
// gives an error where it faults or C is not A·B.
func product(text string, m, shared int) error {
	p, err := Parse(text)
	if err != nil {
		return err
	}
	const k, n = 128, 32
	a, b, c := make([]byte, 2*m*k), make([]byte, 2*k*n), make([]byte, 4*m*n)
	atA := func(i, j int) float32 { return float32((i*7+j*3)%17 - 8) }
	atB := func(i, j int) float32 { return float32((i*5+j*11)%13-6) / 2 }
	for j := range k {
		for i := range m {
			binary.LittleEndian.PutUint16(a[2*(i*k+j):], toBF16(atA(i, j), nearest))
		}
		for i := range n {
			binary.LittleEndian.PutUint16(b[2*(j*n+i):], toBF16(atB(j, i), nearest))
		}
	}
	var mem Memory
	l := Launch{CTAs: 1, Threads: 128, Shared: shared, Memory: &mem, Steps: 100000,
		Args: []uint64{mem.Add("A", a), mem.Add("B", b), mem.Add("C", c), uint64(m)}}
	if err := p.Run("product", l); err != nil {
		return err
	}
	for i := range m {
		for j := range n {
			var want float32
			for h := range k {
				want += atA(i, h) * atB(h, j) // whole halves: exact
			}
			if v := math.Float32frombits(binary.LittleEndian.Uint32(c[4*(i*n+j):])); v != want {
				return fmt.Errorf("the product is wrong: element %d, %d is %v, not %v", i, j, v, want)
			}
		}
	}
	return nil
}

const (
	stages    = 3 * 6144 // bytes of shared memory
	wrong     = "the product is wrong"
	inFlight  = "is in flight"
	oneStep   = "    bar.sync      0;                      // the step is here, and what lay ahead has been read\n"
	threeCopy = "    @%more cp.async.cg.shared.global [%put+2048], [%srcA+8192], 16, %size1;\n"
)

func readProduct(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/product.ptx")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestProduct(t *testing.T) {
	text := readProduct(t)
	for _, m := range []int{1, 15, 33, 50, 64} {
		if err := product(text, m, stages); err != nil {
			t.Errorf("%d rows: %v", m, err)
		}
	}
	path, err := ptx.FindPtxas("")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	if _, err := ptx.Assemble(t.Context(), path, text, "sm_80"); err != nil {
		t.Error(err)
	}
}

// TestProductFaults: what can go wrong in such a kernel does not go unseen. Each
// row changes the text at the first place that has old, or the one after skip
// others, and names the report.
func TestProductFaults(t *testing.T) {
	text := readProduct(t)
	for _, f := range []struct {
		name, old, new string
		skip           int
		want           string
	}{
		{"the barrier is dropped", oneStep, "", 0, "race: byte"},
		{"the barrier is of warps", oneStep, "    bar.warp.sync -1;\n", 0, "shared byte 512 has not been written"},
		{"the barrier comes before the wait", "    cp.async.wait_group 1;\n" + oneStep, oneStep + "    cp.async.wait_group 1;\n", 0, inFlight},
		{"the wait is for a group too few", "wait_group 1", "wait_group 2", 0, inFlight},
		{"the wait is dropped", "    cp.async.wait_group 1;\n", "", 0, inFlight},
		{"the first commit is dropped", "    cp.async.commit_group;\n", "", 0, inFlight},
		{"the second commit is dropped", "    cp.async.commit_group;\n", "", 1, inFlight},
		{"the loop's commit is dropped", "    cp.async.commit_group;\n", "", 2, inFlight},
		{"the loop's commit runs with the copies alone", "    cp.async.commit_group;\n", "    @%more cp.async.commit_group;\n", 2, inFlight},
		{"a copy is dropped", "    cp.async.cg.shared.global [%to+4096], [%srcB], 16;\n", "", 0, "has not been written"},
		{"a copy of the loop is dropped", threeCopy, "", 0, "has not been written"},
		{"a copy lands in the step that is read", "%ahead, 12288", "%ahead, 0", 0, inFlight},
		{"a copy lands in a step that is in flight", "%ahead, 12288", "%ahead, 6144", 0, inFlight},
		{"a copy has no size", "[%srcA+8192], 16, %size1", "[%srcA+8192], 16", 0, "byte 12800 of A, which has 12800"},
		{"a copy's bound is off by one", "setp.lt.u32   %row1, %r0, %m;\n    selp", "setp.le.u32   %row1, %r0, %m;\n    selp", 0, "of A, which has"},
		{"a copy's predicate is missing", "    @%more cp.async.cg.shared.global [%put+4096]", "    cp.async.cg.shared.global [%put+4096]", 0, "of B, which has 8192"},
		{"the source goes on by too little", "add.s64       %srcA, %srcA, 64;", "add.s64       %srcA, %srcA, 32;", 0, wrong},
		{"the source goes on by an odd size", "add.s64       %srcA, %srcA, 64;", "add.s64       %srcA, %srcA, 40;", 0, "is not aligned for 16 bytes"},
		{"the copy's swizzle is that of each row", "bfe.u32       %turn, %line, 1, 2;", "bfe.u32       %turn, %line, 0, 2;", 0, wrong},
		{"the copy has no swizzle", "xor.b32       %turn, %turn, %piece;", "mov.u32       %turn, %piece;", 0, wrong},
		{"the fragments' swizzle is dropped", "    xor.b32       %r5, %r5, %r3;\n", "", 0, wrong},
		{"the fragments' swizzle is that of each row", "bfe.u32       %r3, %lane, 1, 2;", "bfe.u32       %r3, %lane, 0, 2;", 0, wrong},
		{"A's fragment registers are swapped", "b16 {%a0, %a1, %a2, %a3}", "b16 {%a0, %a2, %a1, %a3}", 0, wrong},
		{"A's registers are swapped in one mma", "{%a0, %a1, %a2, %a3}, {%b2, %b3}, {%sum4", "{%a1, %a0, %a2, %a3}, {%b2, %b3}, {%sum4", 0, wrong},
		{"B's registers are swapped", "{%b0, %b1}, {%sum0", "{%b1, %b0}, {%sum0", 0, wrong},
		{"B's pieces are swapped", "{%b2, %b3}, {%sum4", "{%b0, %b1}, {%sum4", 0, wrong},
		{"sums are swapped", "{%sum8, %sum9, %sum10, %sum11}, {%a0", "{%sum8, %sum10, %sum9, %sum11}, {%a0", 0, wrong},
		{"an mma begins at other sums", "{%b2, %b3}, {%sum12, %sum13", "{%b2, %b3}, {%sum8, %sum13", 0, wrong},
		{".trans is dropped", "x4.trans.shared", "x4.shared", 0, wrong},
		{".trans is added", "x4.shared", "x4.trans.shared", 0, wrong},
		{"ldmatrix's rows are those of 8 lanes", "and.b32       %r1, %lane, 15;", "and.b32       %r1, %lane, 7;", 0, wrong},
		{"ldmatrix's row address is 2 bytes off", "mad.lo.u32    %fromB, %r1, 64, %r4;", "mad.lo.u32    %fromB, %r1, 66, %r4;", 0, "is not aligned for 16 bytes"},
		{"ldmatrix reads behind the step", "mad.lo.u32    %fromA, %warp, 1024, %fromB;", "mad.lo.u32    %fromA, %warp, 2048, %fromB;", 0, inFlight},
		{"a stage is taken too late", "setp.eq.u32   %inner, %stage, 18432;", "setp.eq.u32   %inner, %stage, 24576;", 0, "at shared address 18432 of 18432"},
		{"the loop has a step too few", "setp.lt.u32   %more, %step, 4;", "setp.lt.u32   %more, %step, 3;", 0, wrong},
		{"the loop has a step too many", "setp.lt.u32   %more, %step, 4;", "setp.lt.u32   %more, %step, 5;", 0, wrong},
		{"the copies go on too long", "setp.lt.u32   %more, %step, 2;", "setp.lt.u32   %more, %step, 3;", 0, "of B, which has 8192"},
		{"one k piece is dropped", "setp.lt.u32   %inner, %kk, 2;", "setp.lt.u32   %inner, %kk, 1;", 0, wrong},
		{"a sum does not begin at 0", "    mov.f32       %sum5, 0f00000000;\n", "", 0, "%sum5 has no value"},
		{"a store's predicate is missing", "@%row1 st.global.v2.f32 [%out+1120]", "st.global.v2.f32 [%out+1120]", 0, "of C, which has"},
		{"a store's bound is off by one", "setp.lt.u32   %row0, %r0, %m;\n    add", "setp.le.u32   %row0, %r0, %m;\n    add", 0, "of C, which has"},
		{"a store is in another thread's place", "mad.wide.u32  %out, %r9, 8, %out;", "mad.wide.u32  %out, %r9, 4, %out;", 0, "of C is not aligned for 8 bytes"},
		{"two threads store to one place", "mad.lo.u32    %r0, %warp, 16, %r0;", "mad.lo.u32    %r0, %warp, 8, %r0;", 0, "which thread"},
		{"a warp's products in a branch of its threads", "pieces:\n", "pieces:\n    setp.lt.u32 %inner, %lane, 30;\n    @!%inner bra done;\n", 0, "a whole warp must come here together"},
	} {
		at, begin := -1, 0
		for range f.skip + 1 {
			i := strings.Index(text[begin:], f.old)
			if i < 0 {
				t.Fatalf("%s: the text has no %q", f.name, f.old)
			}
			at = begin + i
			begin = at + len(f.old)
		}
		damaged := text[:at] + f.new + text[at+len(f.old):]
		damaged = strings.Replace(damaged, "    add.u32       %kk, %kk, 1;", "done:\n    add.u32       %kk, %kk, 1;", 1)
		wants(t, f.name, product(damaged, 50, stages), f.want)
	}
	wants(t, "shared memory is too small", product(text, 50, stages-16), "16 bytes at shared address 18416 of 18416")
}

// BenchmarkProduct is the simulator's speed on a kernel of this kind: 262,144
// multiplications and additions.
func BenchmarkProduct(b *testing.B) {
	p, err := Parse(readProduct(b))
	if err != nil {
		b.Fatal(err)
	}
	var mem Memory
	l := Launch{CTAs: 1, Threads: 128, Shared: stages, Memory: &mem,
		Args: []uint64{mem.Add("A", make([]byte, 64*256)), mem.Add("B", make([]byte, 128*64)), mem.Add("C", make([]byte, 64*128)), 64}}
	for b.Loop() {
		if err := p.Run("product", l); err != nil {
			b.Fatal(err)
		}
	}
}
