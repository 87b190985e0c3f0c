package amd64

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// fill gives memories for a kernel's buffers: values around 0, rows rows where
// a buffer's first size is open.
func fill(rng *rand.Rand, k *kernel.Kernel, rows int) []kernel.Memory {
	var ms []kernel.Memory
	for _, b := range k.Bufs {
		m := kernel.NewMemory(b, rows)
		for i := range int64(len(m)) / int64(b.Elem.Size()) {
			switch b.Elem {
			case kernel.I32, kernel.I64:
				m.SetInt(b.Elem, i, int64(1+rng.IntN(7)))
			default:
				m.SetFloat(b.Elem, i, rng.Float64()*2-1)
			}
		}
		ms = append(ms, m)
	}
	return ms
}

func clone(ms []kernel.Memory) []kernel.Memory {
	var out []kernel.Memory
	for _, m := range ms {
		out = append(out, bytes.Clone(m))
	}
	return out
}

// same compares what a kernel wrote with the interpreter's result; floating
// elements may be off by tol times a buffer's largest element.
func same(t *testing.T, what string, k *kernel.Kernel, want, got []kernel.Memory, tol float64) {
	t.Helper()
	for i, b := range k.Bufs {
		bad, scale := 0, 1.0
		for j := range int64(len(want[i])) / int64(b.Elem.Size()) {
			if b.Elem < kernel.I32 && !math.IsInf(want[i].Float(b.Elem, j), 0) {
				scale = max(scale, math.Abs(want[i].Float(b.Elem, j)))
			}
		}
		for j := range int64(len(want[i])) / int64(b.Elem.Size()) {
			if b.Elem == kernel.I32 || b.Elem == kernel.I64 {
				if w, g := want[i].Int(b.Elem, j), got[i].Int(b.Elem, j); w != g {
					t.Fatalf("%s: %s.%s[%d] is %d, want %d", what, k.Name, b.Name, j, g, w)
				}
				continue
			}
			w, g := want[i].Float(b.Elem, j), got[i].Float(b.Elem, j)
			if w == g || math.IsNaN(w) && math.IsNaN(g) || math.Abs(w-g) <= tol*scale {
				continue
			}
			if bad++; bad < 5 {
				t.Errorf("%s: %s.%s[%d] is %v, want %v", what, k.Name, b.Name, j, g, w)
			}
		}
		if bad > 0 {
			t.Fatalf("%s: %d elements of %s are wrong", what, bad, b.Name)
		}
	}
}

// agree runs kernels by the interpreter and as compiled in p, with one worker and two.
func agree(t *testing.T, m Machine, p *program, ks []*kernel.Kernel, rows int, args []int64, tol float64) {
	t.Helper()
	for _, k := range ks {
		ms := fill(rand.New(rand.NewPCG(1, uint64(rows))), k, rows)
		want := clone(ms)
		if err := k.Run(want, args[:len(k.Ints)]); err != nil {
			t.Fatal(err)
		}
		one := p.run(t, k, ms, args[:len(k.Ints)], 1)
		same(t, fmt.Sprintf("%s %v", m.Name, args), k, want, one, tol)
		two := p.run(t, k, ms, args[:len(k.Ints)], 2)
		for i := range one {
			if !bytes.Equal(one[i], two[i]) {
				t.Fatalf("%s: %s.%s differs with two workers", m.Name, k.Name, k.Bufs[i].Name)
			}
		}
	}
}

// The hand-written kernels: any n runs without compiling again.
func TestHandWritten(t *testing.T) {
	for _, name := range []string{"contract", "attend", "recur"} {
		t.Run(name, func(t *testing.T) {
			ks := readKernels(t, name)
			for _, m := range machines(t) {
				p := compile(t, m, ks...)
				for _, n := range []int64{1, 17, 63, 65, 100} {
					agree(t, m, p, ks, int(n), []int64{n, 1000}, 2e-5)
				}
			}
		})
	}
}

// Rows that a ring keeps as columns of panels: in squares where they begin at a multiple
// of 16, by themselves elsewhere and where they are few.
func TestRing(t *testing.T) {
	ks := parse(t, `kernel keys(x: f32[100,48], ring: f32[5,64,48]/32 write) ints(n, pos) {
  tile t: f32[100,48] rows n
  part grid() {
    t = load x[r, c]
    store ring[(pos + r) div 64 mod 5, (pos + r) mod 64, c] = t
  }
}
kernel narrow(x: f32[100,48], ring: bf16[5,64,48]/32 write) ints(n, pos) {
  tile t: f32[100,48] rows n
  part grid() {
    t = load x[r, c]
    store ring[(pos + r) div 64 mod 5, (pos + r) mod 64, c] = t
  }
}`)
	for _, m := range machines(t) {
		p := compile(t, m, ks...)
		for _, pos := range []int64{0, 16, 48, 5, 63, 304, 1 << 20, 1<<20 + 8} {
			for _, n := range []int64{0, 1, 7, 8, 16, 17, 100} {
				agree(t, m, p, ks, int(n), []int64{n, pos}, 0)
			}
		}
	}
}
