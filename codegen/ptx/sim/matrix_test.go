package sim

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"
)

// Where the ISA's figures put an element, told from the matrix's side: which
// lane holds element (row, col), in which of its registers, and in which half
// of it. "Matrix Fragments for mma.m16n8k16": a row of A goes to the four lanes
// of its group, two neighbours to a lane; rows 8 and on to the second register,
// columns 8 and on two registers further.
type holder func(row, col int) (lane, reg, half int)

func heldA16(r, c int) (int, int, int) { return r%8*4 + c%8/2, r/8 + c/8*2, c % 2 }
func heldB16(k, n int) (int, int, int) { return n*4 + k%8/2, k / 8, k % 2 }
func heldC(r, c int) (int, int, int)   { return r%8*4 + c/2, r/8*2 + c%2, 0 }
func heldA32(r, c int) (int, int, int) { return r%8*4 + c%4, r/8 + c/4*2, 0 } // m16n8k8, .tf32
func heldB32(k, n int) (int, int, int) { return n*4 + k%4, k / 4, 0 }

type mmaCase struct {
	shape, kind string
	k, regsA    int
	heldA       holder
	heldB       holder
}

var mmaCases = []mmaCase{
	{"m16n8k16", "bf16", 16, 4, heldA16, heldB16},
	{"m16n8k16", "f16", 16, 4, heldA16, heldB16},
	{"m16n8k8", "bf16", 8, 2, heldA16, heldB16},
	{"m16n8k8", "f16", 8, 2, heldA16, heldB16},
	{"m16n8k8", "tf32", 8, 4, heldA32, heldB32},
	{"m16n8k4", "tf32", 4, 2, heldA32, heldB32},
}

// mmaWords are the words of memory of a lane: A, B and C as it holds them, and
// D.
const mmaWords = 16

// text reads a lane's registers, multiplies, and stores D.
func (c mmaCase) text() string {
	a := strings.Join([]string{"%r10", "%r11", "%r12", "%r13"}[:c.regsA], ", ")
	b := strings.Join([]string{"%r14", "%r15"}[:c.regsA/2], ", ")
	return fmt.Sprintf(`mad.wide.u32 %%q1, %%r0, %d, %%q0;
ld.global.v4.b32 {%%r10, %%r11, %%r12, %%r13}, [%%q1];
ld.global.v2.b32 {%%r14, %%r15}, [%%q1+16];
ld.global.v4.f32 {%%f0, %%f1, %%f2, %%f3}, [%%q1+32];
mma.sync.aligned.%s.row.col.f32.%s.%s.f32 {%%f4, %%f5, %%f6, %%f7}, {%s}, {%s}, {%%f0, %%f1, %%f2, %%f3};
st.global.v4.f32 [%%q1+48], {%%f4, %%f5, %%f6, %%f7};`, 4*mmaWords, c.shape, c.kind, c.kind, a, b)
}

func (c mmaCase) bits(v float32) uint32 {
	switch c.kind {
	case "bf16":
		return uint32(toBF16(v, nearest))
	case "f16":
		return uint32(toF16(v, nearest))
	}
	return math.Float32bits(v)
}

// TestProducts: fragments laid out by the figures give the matrices' product.
func TestProducts(t *testing.T) {
	for _, c := range mmaCases {
		rnd := rand.New(rand.NewSource(1))
		memory := make([]uint32, lanes*mmaWords)
		put := func(h holder, base, row, col int, bits uint32) {
			lane, reg, half := h(row, col)
			memory[lane*mmaWords+base+reg] |= bits << (16 * half)
		}
		var a [16][16]float32
		var b [16][8]float32
		var want [16][8]float32
		for k := range c.k {
			for i := range a {
				a[i][k] = float32(rnd.Intn(33) - 16)
				put(c.heldA, 0, i, k, c.bits(a[i][k]))
			}
			for j := range b[k] {
				b[k][j] = float32(rnd.Intn(33)-16) / 4
				put(c.heldB, 4, k, j, c.bits(b[k][j]))
			}
		}
		for i := range want {
			for j := range want[i] {
				want[i][j] = float32(rnd.Intn(1000))
				put(heldC, 8, i, j, math.Float32bits(want[i][j]))
				for k := range c.k {
					want[i][j] += a[i][k] * b[k][j] // whole quarters: exact
				}
			}
		}
		data := bytesOf(memory)
		if err := launch(t, c.text(), lanes, 1, data); err != nil {
			t.Fatal(err)
		}
		got := words(data)
		for i := range want {
			for j, w := range want[i] {
				lane, reg, _ := heldC(i, j)
				if v := math.Float32frombits(got[lane*mmaWords+12+reg]); v != w {
					t.Errorf("%s.%s: element %d, %d is %v, not %v", c.shape, c.kind, i, j, v, w)
				}
			}
		}
	}
}

// TF32 operands have 10 bits behind the first; what lies below is not seen.
func TestProductsOfTF32(t *testing.T) {
	c := mmaCases[4]
	memory := make([]uint32, lanes*mmaWords)
	lane, reg, _ := heldA32(0, 0)
	memory[lane*mmaWords+reg] = math.Float32bits(1 + 0x1p-10 + 0x1p-11)
	lane, reg, _ = heldB32(0, 0)
	memory[lane*mmaWords+4+reg] = math.Float32bits(1)
	data := bytesOf(memory)
	if err := launch(t, c.text(), lanes, 1, data); err != nil {
		t.Fatal(err)
	}
	if v := math.Float32frombits(words(data)[12]); v != 1+0x1p-10 {
		t.Error(v)
	}
}

// matrixCase copies 1024 bytes to shared memory, a byte's number in each two
// bytes, and loads matrices from there: lane i gives the row address i·32, so
// that row r of matrix j lies at (8j + r)·32.
type matrixCase struct {
	count int
	trans bool
}

var matrixCases = []matrixCase{{1, false}, {2, false}, {4, false}, {1, true}, {2, true}, {4, true}}

func (c matrixCase) text() string {
	form := fmt.Sprintf("x%d", c.count)
	if c.trans {
		form += ".trans"
	}
	list := strings.Join([]string{"%r10", "%r11", "%r12", "%r13"}[:c.count], ", ")
	return fmt.Sprintf(`mad.lo.s32 %%r2, %%r0, 32, %%r1;
mad.wide.u32 %%q1, %%r0, 32, %%q0;
ld.global.v4.u32 {%%r10, %%r11, %%r12, %%r13}, [%%q1];
st.shared.v4.u32 [%%r2], {%%r10, %%r11, %%r12, %%r13};
mov.u32 %%r10, 0;
mov.u32 %%r11, 0;
mov.u32 %%r12, 0;
mov.u32 %%r13, 0;
bar.warp.sync -1;
ldmatrix.sync.aligned.m8n8.%s.shared.b16 {%s}, [%%r2];
st.global.v4.u32 [%%q1], {%%r10, %%r11, %%r12, %%r13};
stmatrix.sync.aligned.m8n8.%s.shared.b16 [%%r2+2048], {%s};
bar.warp.sync -1;
mov.u32 %%r10, 0xffffffff;
mov.u32 %%r11, %%r10;
mov.u32 %%r12, %%r10;
mov.u32 %%r13, %%r10;
setp.lt.s32 %%p0, %%r0, %d;
@%%p0 ld.shared.v4.u32 {%%r10, %%r11, %%r12, %%r13}, [%%r2+2048];
st.global.v4.u32 [%%q1+16], {%%r10, %%r11, %%r12, %%r13};`, form, list, form, list, 8*c.count)
}

func TestMatrices(t *testing.T) {
	for _, c := range matrixCases {
		data := make([]byte, 1024)
		for i := range 512 {
			binary.LittleEndian.PutUint16(data[2*i:], uint16(i))
		}
		rows := append([]byte(nil), data...)
		if err := launch(t, c.text(), lanes, 1, data); err != nil {
			t.Fatal(c, err)
		}
		for j := range c.count {
			for r := range 8 {
				for e := range 8 {
					// "ldmatrix": a lane holds two neighbours of a row, four lanes a row.
					lane, half := r*4+e/2, e%2
					if c.trans {
						lane, half = e*4+r/2, r%2
					}
					got := binary.LittleEndian.Uint16(data[lane*32+4*j+2*half:])
					if want := uint16((8*j+r)*16 + e); got != want {
						t.Errorf("%+v: matrix %d, element %d, %d is %d, not %d", c, j, r, e, got, want)
					}
				}
			}
		}
		// And back: stmatrix gives what ldmatrix took.
		for lane := range lanes {
			got, want := data[lane*32+16:lane*32+32], rows[lane*32:lane*32+16]
			if lane < 8*c.count && string(got) != string(want) {
				t.Errorf("%+v: row %d is %x, not %x", c, lane, got, want)
			}
		}
	}
}

// TestProductFromShared is a product as kernels do it: A by rows and B by rows
// in shared memory, ldmatrix and ldmatrix.trans, mma.
func TestProductFromShared(t *testing.T) {
	const body = `// A [16, 16] at near, rows of 32 bytes; B [16, 8] at near+512, rows of 16.
mad.lo.s32 %r2, %r0, 16, %r1;
mad.wide.u32 %q1, %r0, 16, %q0;
ld.global.v4.u32 {%r10, %r11, %r12, %r13}, [%q1];
st.shared.v4.u32 [%r2], {%r10, %r11, %r12, %r13};
setp.lt.s32 %p0, %r0, 16;
@%p0 ld.global.v4.u32 {%r10, %r11, %r12, %r13}, [%q1+512];
@%p0 st.shared.v4.u32 [%r2+512], {%r10, %r11, %r12, %r13};
bar.warp.sync -1;
and.b32 %r3, %r0, 15;
shr.u32 %r4, %r0, 4;
shl.b32 %r5, %r3, 5;
mad.lo.s32 %r5, %r4, 16, %r5;
add.s32 %r5, %r5, %r1;
ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r5];
mad.lo.s32 %r6, %r3, 16, %r1;
ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r6+512];
mov.f32 %f0, 0f00000000;
mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f4, %f5, %f6, %f7}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f0, %f0, %f0, %f0};
// D's rows of 8 floats at memory+1024.
shr.u32 %r7, %r0, 2;
and.b32 %r8, %r0, 3;
mad.lo.s32 %r7, %r7, 8, 0;
mad.lo.s32 %r7, %r8, 2, %r7;
mad.wide.u32 %q2, %r7, 4, %q0;
st.global.v2.f32 [%q2+1024], {%f4, %f5};
st.global.v2.f32 [%q2+1280], {%f6, %f7};`
	data := make([]byte, 1536)
	a, b := func(i, k int) float32 { return float32((i*5+k*3)%11 - 5) }, func(k, j int) float32 { return float32((k*7+j*2)%13 - 6) }
	for k := range 16 {
		for i := range 16 {
			binary.LittleEndian.PutUint16(data[i*32+2*k:], toBF16(a(i, k), nearest))
		}
		for j := range 8 {
			binary.LittleEndian.PutUint16(data[512+k*16+2*j:], toBF16(b(k, j), nearest))
		}
	}
	if err := launch(t, body, lanes, 1, data); err != nil {
		t.Fatal(err)
	}
	got := words(data[1024:])
	for i := range 16 {
		for j := range 8 {
			var want float32
			for k := range 16 {
				want += a(i, k) * b(k, j)
			}
			if v := math.Float32frombits(got[i*8+j]); v != want {
				t.Errorf("element %d, %d is %v, not %v", i, j, v, want)
			}
		}
	}
}
