package ptx

import (
	"fmt"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/ir/kernel"
)

// readKernels reads a file of ir/kernel/testdata.
func readKernels(t testing.TB, name string) []*kernel.Kernel {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "ir", "kernel", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	ks, err := kernel.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// simulate prints a kernel for a target and runs the text, with that many CTAs.
func simulate(t testing.TB, target string, k *kernel.Kernel, bufs []kernel.Memory, args []int64, ctas int) {
	t.Helper()
	to, err := findTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := simulateOn(to, k, bufs, args, ctas); err != nil {
		t.Fatal(err)
	}
}

// simulateOn lays the integers into the record in reverse, behind a slot that
// is not theirs.
func simulateOn(to target, k *kernel.Kernel, bufs []kernel.Memory, args []int64, ctas int) error {
	m, err := module([]*kernel.Kernel{k}, to)
	if err != nil {
		return err
	}
	prog, err := sim.Parse(m.Text)
	if err != nil {
		return err
	}
	var mem sim.Memory
	info := m.Kernels[0]
	var places, slots []uint64
	for i, b := range k.Bufs {
		places = append(places, mem.Add(b.Name, bufs[i]))
	}
	record := make([]uint64, len(args)+1)
	for i, v := range args {
		slots = append(slots, uint64(len(args)-i))
		record[len(args)-i] = uint64(v)
	}
	entry := []uint64{mem.Words("bufs", places...), mem.Words("slots", slots...), mem.Words("record", record...), mem.Add("scratch", make([]byte, ctas*info.Scratch))}
	return prog.Run(info.Name, sim.Launch{CTAs: ctas, Threads: info.Threads, Shared: info.Shared, Args: entry, Memory: &mem})
}

// fill gives each buffer memory for the given rows, with random numbers; open
// buffers to write hold NaN.
func fill(k *kernel.Kernel, rows int, rnd *rand.Rand, size float64) []kernel.Memory {
	var all []kernel.Memory
	for _, b := range k.Bufs {
		m := kernel.NewMemory(b, rows)
		for i := range b.Len(rows) {
			switch v := rnd.NormFloat64() * size; {
			case !b.Elem.Float():
				m.SetInt(b.Elem, i, int64(rnd.Intn(max(rows, 1))))
			case b.Write && b.Dims[0] == 0:
				m.SetFloat(b.Elem, i, math.NaN())
			default:
				m.SetFloat(b.Elem, i, v)
			}
		}
		all = append(all, m)
	}
	return all
}

func clone(ms []kernel.Memory) []kernel.Memory {
	out := make([]kernel.Memory, len(ms))
	for i, m := range ms {
		out[i] = append(kernel.Memory(nil), m...)
	}
	return out
}

// compare wants each buffer to be as the interpreter left it, floats to within
// a tolerance, relative to their size or 1.
func compare(t testing.TB, k *kernel.Kernel, got, want []kernel.Memory, tolerance float64) {
	t.Helper()
	for i, b := range k.Bufs {
		if b.Elem.Quantised() {
			if string(got[i]) != string(want[i]) {
				t.Fatalf("the bytes of %s differ", b.Name)
			}
			continue
		}
		for j := range int64(len(want[i]) / b.Elem.Size()) {
			if !b.Elem.Float() {
				if g, w := got[i].Int(b.Elem, j), want[i].Int(b.Elem, j); g != w {
					t.Fatalf("%s[%d] is %d, not %d", b.Name, j, g, w)
				}
				continue
			}
			tol := tolerance
			if b.Elem != kernel.F32 {
				tol = max(tol, 0.01) // one unit of bf16
			}
			g, w := got[i].Float(b.Elem, j), want[i].Float(b.Elem, j)
			if g == w || math.IsNaN(g) && math.IsNaN(w) {
				continue
			}
			if !(math.Abs(g-w) <= tol*max(1, math.Abs(w))) {
				t.Fatalf("%s[%d] is %v, not %v", b.Name, j, g, w)
			}
		}
	}
}

// agree wants the printed text to do to bufs what the interpreter does.
func agree(t testing.TB, target string, k *kernel.Kernel, bufs []kernel.Memory, args []int64, ctas int, tolerance float64) {
	t.Helper()
	want := clone(bufs)
	if err := (kernel.Interp{Round32: true, Races: true}).Run(k, want, args); err != nil {
		t.Fatal(err)
	}
	simulate(t, target, k, bufs, args, ctas)
	compare(t, k, bufs, want, tolerance)
}

// The reference kernels' printed texts compute what the interpreter does: one
// row, a block and a bit, fewer CTAs than blocks and more.
func TestReferenceKernels(t *testing.T) {
	for _, tc := range []struct {
		file string
		size float64
		args [][]int64
	}{
		{"contract.kernel", 1, [][]int64{{1}, {65}}},
		{"attend.kernel", 1, [][]int64{{1, 0}, {33, 300}, {2, 1<<40 + 77}}},
		{"recur.kernel", 0.1, [][]int64{{1}, {70}}},
	} {
		for _, k := range readKernels(t, tc.file) {
			for i, args := range tc.args {
				t.Run(fmt.Sprint(k.Name, args), func(t *testing.T) {
					bufs := fill(k, int(args[0]), rand.New(rand.NewSource(int64(i))), tc.size)
					ctas := []int{1, 3, 40}[i]
					agree(t, "sm_86", k, bufs, args, ctas, 1e-4)
				})
			}
		}
	}
}

func TestAssemblerTakesReferenceKernels(t *testing.T) {
	path := ptxas(t)
	var ks []*kernel.Kernel
	for _, file := range []string{"contract.kernel", "attend.kernel", "recur.kernel"} {
		ks = append(ks, readKernels(t, file)...)
	}
	for _, target := range where {
		m := mustPrint(t, target, ks...)
		a := accept(t, path, m.Text, target)
		if len(a.Usage) != len(ks) {
			t.Errorf("%s: %d entries of %d", target, len(a.Usage), len(ks))
		}
	}
}

// Every statement and operator, with tiles in shared memory and with tiles in
// the scratch buffer, with full and partial blocks.
func TestEverything(t *testing.T) {
	for _, tc := range []struct {
		target string
		wide   int
		n      int
		ctas   int
	}{{"sm_80", 20, 1, 1}, {"sm_90", 33, 40, 4}, {"sm_86", 700, 7, 2}} {
		k := everything(t, tc.wide)
		rows := 3*tc.n + 40
		bufs := fill(k, rows, rand.New(rand.NewSource(int64(tc.n))), 0.1)
		const pos, length = 1 << 33, 33
		for i, b := range k.Bufs {
			if b.Name == "ids" {
				bufs[i].SetInt(b.Elem, length, 9)
			}
		}
		agree(t, tc.target, k, bufs, []int64{int64(tc.n), pos, length}, tc.ctas, 1e-4)
	}
}

// Each form is in some text: the table has nothing that is not needed.
func TestEveryFormIsUsed(t *testing.T) {
	small := everything(t, 64)
	big := everything(t, 2000)
	big.Name = "big"
	ks := append([]*kernel.Kernel{small, big, coded(t, kernel.Q8, 0), stored(t, kernel.Q8, 0), narrow(t)}, ofF16(t)...)
	ks = append(append(ks, codedKernels(t, kernel.Q8)...), codedKernels(t, kernel.Q4)...)
	ks = append(ks, manyOf(t, "q8[160,512]/8"))
	for file, group := range map[string]int{"contract.kernel": 64, "attend.kernel": 64, "recur.kernel": 8} {
		for _, bf16 := range []bool{false, true} {
			for _, k := range tensorKernels(t, file, group, bf16, "kr: f32", "kr: bf16", "vr: f32", "vr: bf16", "512,256", "40,256") {
				k.Name = fmt.Sprint(k.Name, bf16)
				ks = append(ks, k)
			}
		}
	}
	text := mustPrint(t, "sm_86", ks...).Text
	for mnemonic := range shapes {
		if !strings.Contains(text, mnemonic+" ") && !strings.Contains(text, mnemonic+";") {
			t.Errorf("no kernel needs %s", mnemonic)
		}
	}
}
