package memc_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime"
)

// kernelTolerance bounds what one launch of a printed kernel may differ from the
// kernel interpreter by, relative to the number's size or 1; stored as 16 bits,
// by one unit there.
const kernelTolerance = 1e-4

// checked makes a machine compare each launch with the kernel interpreter on the
// same memory, and note which kernels ran. Its kernels' first difference is the
// error.
func (x *simMachine) checked(p *passes.Program) (ran map[string]bool) {
	kernels := map[string]*kernel.Kernel{}
	for _, k := range p.Kernels {
		kernels[k.Name] = k
	}
	ran = map[string]bool{}
	x.check = func(s *plan.Step, record int64, before [][]byte) error {
		k := kernels[s.Kernel]
		ran[k.Name] = true
		args := make([]int64, len(s.Slots))
		for i, slot := range s.Slots {
			args[i] = x.d.Records[record*int64(x.plan.Record)+int64(slot)]
		}
		want := make([]kernel.Memory, len(before))
		for i, b := range before {
			// A buffer that is given twice is one piece of memory.
			want[i] = b
			if j := slices.Index(s.Bufs, s.Bufs[i]); j < i {
				want[i] = want[j]
			}
		}
		if err := (kernel.Interp{Round32: true}).Run(k, want, args); err != nil {
			return err
		}
		for i, b := range k.Bufs {
			if err := nearly(b, kernel.Memory(x.data[s.Bufs[i]]), want[i]); b.Write && err != nil {
				return fmt.Errorf("%s: %w", k.Name, err)
			}
		}
		return nil
	}
	return ran
}

// nearly compares a buffer's memory with what it should hold.
func nearly(b *kernel.Buf, got, want kernel.Memory) error {
	if b.Elem.Quantised() {
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s holds other codes", b.Name)
		}
		return nil
	}
	tolerance := kernelTolerance
	if b.Elem == kernel.BF16 || b.Elem == kernel.F16 {
		tolerance = 0.01
	}
	for i := range int64(len(want) / b.Elem.Size()) {
		if !b.Elem.Float() {
			if g, w := got.Int(b.Elem, i), want.Int(b.Elem, i); g != w {
				return fmt.Errorf("%s[%d] is %d, not %d", b.Name, i, g, w)
			}
			continue
		}
		g, w := got.Float(b.Elem, i), want.Float(b.Elem, i)
		if g != w && !(math.IsNaN(g) && math.IsNaN(w)) && !(math.Abs(g-w) <= tolerance*max(1, math.Abs(w))) {
			return fmt.Errorf("%s[%d] is %v, not %v", b.Name, i, g, w)
		}
	}
	return nil
}

// weightsFor gives weights by name, random numbers of a size that keeps products
// of numbers about 1 there.
func weightsFor(p *plan.Plan, seed uint64) func(name string) []float32 {
	all := map[string][]float32{}
	rng := rand.New(rand.NewPCG(seed, 5))
	for _, b := range p.Buffers {
		if b.Class != plan.Weight || all[b.Tensor] != nil {
			continue
		}
		n, last := 1, 1
		for _, d := range b.Dims {
			n, last = n*d, d
		}
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(rng.NormFloat64() / math.Sqrt(float64(last)))
		}
		all[b.Tensor] = w
	}
	return func(name string) []float32 { return all[name] }
}

// rowsFor gives rows for all inputs of an entry: numbers about 0, integers from
// 0 to 39.
func rowsFor(e *plan.Entry, n int, rng *rand.Rand) map[string]runtime.Tensor {
	in := map[string]runtime.Tensor{}
	for _, p := range e.Inputs {
		count := 1
		for i, d := range p.Dims {
			if i == 0 && p.Rows != nil {
				d = n
			}
			count *= d
		}
		data := make(kernel.Memory, count*p.Elem.Size())
		for i := range int64(count) {
			if p.Elem.Float() {
				data.SetFloat(p.Elem, i, rng.NormFloat64()*0.5)
			} else {
				data.SetInt(p.Elem, i, int64(rng.IntN(40)))
			}
		}
		in[p.Name] = runtime.Tensor{Data: data}
	}
	return in
}

// lowered is a spec's plan for a target.
func lowered(t *testing.T, spec string, set map[string]json.RawMessage, target string, slab int) *passes.Program {
	t.Helper()
	return loweredWith(t, spec, memc.Options{Set: set, Slab: slab}, target)
}

func loweredWith(t *testing.T, spec string, o memc.Options, target string) *passes.Program {
	t.Helper()
	m, err := memc.Load(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = memc.Optimise(m, false, nil); err != nil {
		t.Fatal(err)
	}
	p, err := memc.Lower(m, target, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// parameters reads the values of a spec's parameters, an object in JSON.
func parameters(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	set := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func printed(t *testing.T, ks []*kernel.Kernel, target string) *ptx.Module {
	t.Helper()
	m, err := ptx.Print(ks, target)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestKernelsSimulated: every kernel of every spec, launched by its plan with a
// few rows at a time until it has run, does what the kernel interpreter does to
// the same memory.
func TestKernelsSimulated(t *testing.T) {
	for spec, sets := range everySpec(t) {
		for i, set := range sets {
			t.Run(fmt.Sprintf("%s/%d", strings.TrimSuffix(filepath.Base(spec), ".spec"), i), func(t *testing.T) {
				t.Parallel()
				p := lowered(t, spec, set, "sm_80", 16)
				m := printed(t, p.Kernels, "sm_80")
				x := simulated(t, p, m, weightsFor(p.Plan, 1))
				ran := x.checked(p)
				rng := rand.New(rand.NewPCG(uint64(i), 6))
				// Rows until all kernels have run: some do at a chunk's end alone.
				for n := 0; n < 40 && (n < 3 || len(ran) < len(p.Kernels)); n++ {
					e := &p.Plan.Entries[n%len(p.Plan.Entries)]
					rows := []int{7, 16, 1, 16, 16}[n%5]
					if err := x.try(e.Name, rowsFor(e, rows, rng), rows, map[string]runtime.Tensor{}); err != nil {
						t.Fatalf("call %d, %s, %d rows: %v", n, e.Name, rows, err)
					}
				}
				for _, k := range p.Kernels {
					if !ran[k.Name] {
						t.Errorf("%s has not run", k.Name)
					}
				}
			})
		}
	}
}
