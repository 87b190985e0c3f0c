package passes_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// planMachine runs a plan with the kernel interpreter: slow, and a check of
// lowering that needs no code generator.
type planMachine struct {
	p       *passes.Program
	kernels map[string]*kernel.Kernel
	mem     []kernel.Memory
	d       *plan.Describer
	pos     int64
	probes  []ir.ProbeValue
	chunks  map[int]int64 // of each probe's buffer: how many chunks it has shown
}

func newPlanMachine(p *passes.Program, weights map[string][]float32) (*planMachine, error) {
	m := &planMachine{p: p, kernels: map[string]*kernel.Kernel{}, chunks: map[int]int64{}}
	for _, k := range p.Kernels {
		m.kernels[k.Name] = k
	}
	var err error
	if m.d, err = p.Plan.Describer(); err != nil {
		return nil, err
	}
	for i, b := range p.Plan.Buffers {
		kb := &kernel.Buf{Elem: b.Elem, Dims: append([]int{}, b.Dims...), Panel: b.Panel}
		if b.Grow != nil {
			kb.Dims[0] = 64 // enough for the tests' streams
		}
		mem := kernel.NewMemory(kb, 0)
		switch b.Class {
		case plan.Weight:
			w, ok := weights[b.Tensor]
			if !ok {
				return nil, fmt.Errorf("no weight %s", b.Tensor)
			}
			pack(mem, &b, w)
		case plan.Table:
			copy(mem, b.Data)
		case plan.State:
			if b.From >= 0 {
				from := &p.Plan.Buffers[b.From]
				for e := range int64(len(mem) / b.Elem.Size()) {
					mem.SetFloat(b.Elem, e, m.mem[b.From].Float(from.Elem, e))
				}
			} else if b.Fill != 0 {
				for e := 0; e+4 <= len(mem); e += 4 {
					binary.LittleEndian.PutUint32(mem[e:], math.Float32bits(float32(b.Fill)))
				}
			}
		case plan.Temp, plan.Output:
			for e := 0; e+4 <= len(mem); e += 4 {
				binary.LittleEndian.PutUint32(mem[e:], math.Float32bits(float32(math.NaN())))
			}
		}
		m.mem = append(m.mem, mem)
		_ = i
	}
	return m, nil
}

// pack lays a tensor out as a buffer wants it.
func pack(mem kernel.Memory, b *plan.Buffer, w []float32) {
	put := func(at int, v float32) { mem.SetFloat(b.Elem, int64(at), float64(v)) }
	if b.Panel == 0 {
		for i, v := range w {
			put(i, v)
		}
		return
	}
	nd := len(b.Dims)
	n, k := b.Dims[nd-2], b.Dims[nd-1]
	padded := (n + b.Panel - 1) / b.Panel * b.Panel
	for i, v := range w {
		mat, row, col := i/(n*k), i/k%n, i%k
		put(mat*padded*k+row/b.Panel*k*b.Panel+col*b.Panel+row%b.Panel, v)
	}
}

// call runs an entry over n tokens, and puts what it gives behind what out holds.
func (m *planMachine) call(entry string, in map[string]*ir.Tensor, n int, out map[string][]float32) error {
	for at := 0; at < n; {
		k := min(n-at, m.p.Plan.Slab)
		if err := m.slab(entry, irtest.Rows(in, at, at+k), k, out); err != nil {
			return err
		}
		at += k
	}
	return nil
}

func (m *planMachine) slab(entry string, in map[string]*ir.Tensor, n int, out map[string][]float32) error {
	p := m.p.Plan
	if err := m.d.Describe(m.pos, int64(n)); err != nil {
		return err
	}
	at := slices.IndexFunc(p.Entries, func(e plan.Entry) bool { return e.Name == entry })
	if at < 0 {
		return fmt.Errorf("there is no entry %s", entry)
	}
	e := p.Entries[at]
	for _, x := range e.Inputs {
		for i, v := range in[x.Name].Data {
			if x.Elem.Float() {
				m.mem[x.Buffer].SetFloat(x.Elem, int64(i), v)
			} else {
				m.mem[x.Buffer].SetInt(x.Elem, int64(i), int64(v))
			}
		}
	}
	if err := m.steps(e.Steps, 0); err != nil {
		return err
	}
	for _, o := range e.Outputs {
		count := 1
		for i, d := range o.Dims {
			if i == 0 && o.Rows != nil {
				d = n
			}
			count *= d
		}
		v := make([]float32, count)
		for i := range v {
			if o.Elem.Float() {
				v[i] = float32(m.mem[o.Buffer].Float(o.Elem, int64(i)))
			} else {
				v[i] = float32(m.mem[o.Buffer].Int(o.Elem, int64(i)))
			}
		}
		if o.Clock {
			v = append(out[o.Name], v...)
		}
		out[o.Name] = v
	}
	for i, b := range p.Buffers {
		if b.Class != plan.Probe || !strings.HasPrefix(b.Name, entry+".") {
			continue
		}
		loop := slices.IndexFunc(p.Loops, func(l plan.Loop) bool { return l.Name == b.Loop })
		for turn := range m.d.Turns[loop] {
			if m.d.Done[m.d.First[loop]+turn] {
				scan, name := strings.TrimPrefix(b.Name, entry+"."), ""
				if at := strings.LastIndexByte(scan, '.'); at >= 0 {
					scan, name = scan[:at], scan[at+1:]
				}
				m.probes = append(m.probes, ir.ProbeValue{Name: name, Scan: scan, Chunk: m.chunks[i], Value: m.mem[i].Float(b.Elem, turn)})
				m.chunks[i]++
			}
		}
	}
	m.pos += int64(n)
	copy(m.d.Lens, m.d.Next)
	return nil
}

func (m *planMachine) steps(steps []plan.Step, record int64) error {
	rec := m.d.Records[record*int64(m.p.Plan.Record):][:m.p.Plan.Record]
	for _, s := range steps {
		switch s.Kind {
		case plan.Launch:
			k := m.kernels[s.Kernel]
			var bufs []kernel.Memory
			for _, b := range s.Bufs {
				bufs = append(bufs, m.mem[b])
			}
			var args []int64
			for _, sl := range s.Slots {
				args = append(args, rec[sl])
			}
			if err := (kernel.Interp{Races: true}).Run(k, bufs, args); err != nil {
				return fmt.Errorf("%s: %w", s.Kernel, err)
			}
			if os.Getenv("NANS") != "" {
				for i, b := range s.Bufs {
					if k.Bufs[i].Write && m.p.Plan.Buffers[b].Class == plan.Temp && anyNaN(m.mem[b], len(m.p.Plan.Buffers[b].Dims) == 1) {
						return fmt.Errorf("NaN in %s after\n%s", m.p.Plan.Buffers[b].Name, k)
					}
				}
			}
		case plan.Repeat:
			for t := range m.d.Turns[s.Loop] {
				if err := m.steps(s.Steps, m.d.First[s.Loop]+t); err != nil {
					return err
				}
			}
		case plan.If:
			if rec[s.Cond] != 0 {
				if err := m.steps(s.Steps, record); err != nil {
					return err
				}
			}
		case plan.Beside: // the last of what may be: no other step needs it
			err := m.steps(s.Steps[1:], record)
			if err == nil {
				err = m.steps(s.Steps[:1], record)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func floats(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	c, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out := map[string][]float32{}
	for name, x := range c.Tensors {
		v := make([]float32, x.Len())
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(x.Data[4*i:]))
		}
		out[name] = v
	}
	return out
}

func ints32(t *testing.T, path, name string) []int32 {
	t.Helper()
	c, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x := c.Tensors[name]
	v := make([]int32, x.Len())
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(x.Data[4*i:]))
	}
	return v
}

func distance(got, want []float32) float64 {
	var d, w float64
	for i := range want {
		if math.IsNaN(float64(got[i])) {
			return math.NaN()
		}
		d += (float64(got[i]) - float64(want[i])) * (float64(got[i]) - float64(want[i]))
		w += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(d / w)
}

// TestPlanGolden runs the lowered golden cases with the kernel interpreter.
func TestPlanGolden(t *testing.T) {
	for _, name := range goldens {
		for _, fuse := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/fuse=%v", name, fuse), func(t *testing.T) {
				m, c := load(t, name)
				p := lowered(t, m, fuse, 48)
				dir := "../testdata/golden/" + name + "/"
				pm, err := newPlanMachine(p, floats(t, dir+"weights.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				tokens := ints32(t, dir+"inputs.safetensors", "tokens")
				want := floats(t, dir+"outputs.safetensors")["logits"]
				// Two chunks and a piece of a third; the rest is the native tests' affair.
				most := 40
				if fuse {
					most = 100
				}
				if name == "allmem-wide" {
					most = 130
				}
				if len(tokens) > most {
					want = want[:len(want)/len(tokens)*most]
					tokens = tokens[:most]
				}
				in := ir.NewTensor(elem.I32, len(tokens))
				for i, v := range tokens {
					in.Data[i] = float64(v)
				}
				got := map[string][]float32{}
				if err := pm.call("forward", map[string]*ir.Tensor{"tokens": in}, len(tokens), got); err != nil {
					t.Fatal(err)
				}
				if d := distance(got["logits"], want); !(d <= c.Tolerance) {
					t.Errorf("relative error %g, want at most %g", d, c.Tolerance)
				}
			})
		}
	}
}

func lowered(t *testing.T, m *ir.Module, fuse bool, slab int) *passes.Program {
	t.Helper()
	return loweredWith(t, m, passes.Options{Target: "test", Slab: slab, Tiling: passes.DefaultTiling, Fuse: fuse})
}

func loweredWith(t *testing.T, m *ir.Module, o passes.Options) *passes.Program {
	t.Helper()
	var gs []*ir.Graph
	for _, g := range m.Entries {
		h, err := passes.Run(g, nil)
		if err != nil {
			t.Fatal(err)
		}
		gs = append(gs, h)
	}
	p, err := passes.Lower(gs, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func anyNaN(m kernel.Memory, all bool) bool {
	for i := 0; i+4 <= len(m) && (all || i == 0); i += 4 {
		if math.IsNaN(float64(math.Float32frombits(binary.LittleEndian.Uint32(m[i:])))) {
			return true
		}
	}
	return false
}
