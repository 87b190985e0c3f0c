package memc_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime"
)

// simMachine runs a plan whose kernels are PTX text, in the simulator.
type simMachine struct {
	t       *testing.T
	plan    *plan.Plan
	entries map[string]ptx.Info
	text    *sim.Program
	memory  sim.Memory
	data    [][]byte // of each buffer
	place   []uint64
	record  []byte // the descriptor's records
	records uint64
	scratch uint64
	d       *plan.Describer
	pos     int64
}

// ctas is fewer than most grids have blocks, and more than some.
const ctas = 3

func newSimMachine(t *testing.T, p *passes.Program, target string, weights map[string]runtime.Tensor) *simMachine {
	t.Helper()
	m, err := ptx.Print(p.Kernels, target)
	if err != nil {
		t.Fatal(err)
	}
	x := &simMachine{t: t, plan: p.Plan, entries: map[string]ptx.Info{}}
	if x.text, err = sim.Parse(m.Text); err != nil {
		t.Fatal(err)
	}
	scratch := 0
	for i, k := range p.Kernels {
		x.entries[k.Name] = m.Kernels[i]
		scratch = max(scratch, ctas*m.Kernels[i].Scratch)
	}
	if x.d, err = p.Plan.Describer(); err != nil {
		t.Fatal(err)
	}
	x.record = make([]byte, 8*cap(x.d.Records))
	x.records = x.memory.Add("records", x.record)
	x.scratch = x.memory.Add("scratch", poisoned(int64(scratch)))
	for i := range p.Plan.Buffers {
		b := &p.Plan.Buffers[i]
		bytes := b.Bytes
		if b.Grow != nil {
			bytes *= 64 // more rows than the test's streams have
		}
		data := poisoned(bytes)
		switch {
		case b.Class == plan.Weight:
			lay(data, b, weights[b.Tensor].Data)
		case b.Class == plan.Table:
			copy(data, b.Data)
		case b.Class == plan.State && b.From >= 0:
			from := &p.Plan.Buffers[b.From]
			if from.Panel != b.Panel || from.Elem != b.Elem {
				t.Fatalf("the state %s lies otherwise than its weight", b.Name)
			}
			copy(data, x.data[b.From])
		case b.Class == plan.State:
			for e := 0; e < len(data); e += 4 {
				binary.LittleEndian.PutUint32(data[e:], math.Float32bits(float32(b.Fill)))
			}
		}
		x.data = append(x.data, data)
		x.place = append(x.place, x.memory.Add(b.Name, data))
	}
	return x
}

// poisoned is memory of bytes 0xff, which are no numbers.
func poisoned(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// lay puts a weight's f32 elements where its buffer has them: in panels of rows
// whose columns are adjacent, or in order.
func lay(to []byte, b *plan.Buffer, from []byte) {
	if b.Panel == 0 {
		copy(to, from)
		return
	}
	n, k := b.Dims[len(b.Dims)-2], b.Dims[len(b.Dims)-1]
	padded := (n + b.Panel - 1) / b.Panel * b.Panel
	for i := range len(from) / 4 {
		matrix, row, col := i/(n*k), i/k%n, i%k
		at := matrix*padded*k + row/b.Panel*k*b.Panel + col*b.Panel + row%b.Panel
		copy(to[4*at:], from[4*i:4*i+4])
	}
}

// call feeds tokens to an entry and gives the bytes of its only output.
func (x *simMachine) call(entry string, tokens []byte) []byte {
	x.t.Helper()
	n := len(tokens) / 4
	if err := x.d.Describe(x.pos, int64(n)); err != nil {
		x.t.Fatal(err)
	}
	for i, v := range x.d.Records {
		binary.LittleEndian.PutUint64(x.record[8*i:], uint64(v))
	}
	for i := range x.plan.Entries {
		e := &x.plan.Entries[i]
		if e.Name != entry {
			continue
		}
		copy(x.data[e.Inputs[0].Buffer], tokens)
		x.steps(e.Steps, 0)
		x.pos += int64(n)
		copy(x.d.Lens, x.d.Next)
		o := &e.Outputs[0]
		return append([]byte{}, x.data[o.Buffer][:4*n*o.Dims[1]]...)
	}
	x.t.Fatalf("there is no entry %s", entry)
	return nil
}

func (x *simMachine) steps(steps []plan.Step, record int64) {
	x.t.Helper()
	for i := range steps {
		s := &steps[i]
		switch s.Kind {
		case plan.Launch:
			x.launch(s, record)
		case plan.Repeat:
			for turn := range x.d.Turns[s.Loop] {
				x.steps(s.Steps, x.d.First[s.Loop]+turn)
			}
		case plan.If:
			if x.d.Records[record*int64(x.plan.Record)+int64(s.Cond)] != 0 {
				x.steps(s.Steps, record)
			}
		}
	}
}

func (x *simMachine) launch(s *plan.Step, record int64) {
	x.t.Helper()
	var bufs, slots []uint64
	for _, b := range s.Bufs {
		bufs = append(bufs, x.place[b])
	}
	for _, slot := range s.Slots {
		slots = append(slots, uint64(slot))
	}
	info := x.entries[s.Kernel]
	args := []uint64{x.memory.Words("bufs", bufs...), x.memory.Words("slots", slots...), x.records + uint64(8*record*int64(x.plan.Record)), x.scratch}
	if err := x.text.Run(info.Name, sim.Launch{CTAs: ctas, Threads: ptx.Threads, Shared: info.Shared, Args: args, Memory: &x.memory}); err != nil {
		x.t.Fatal(err)
	}
}

// TestGoldenSimulated: the PTX of whole models, run by the simulator, gives the
// golden logits. Each case is cut after its first rows and goes over a chunk's
// border where a stream of few tokens has one.
func TestGoldenSimulated(t *testing.T) {
	for name, cuts := range map[string][]int{
		"allmem-edge":     {5, 12}, // a write after 16
		"qwen3-tiny":      {1, 2},
		"qwen3-window":    {3, 1},
		"ttt-linear-tiny": {2, 16},     // a mini-batch of 16
		"lact-tiny":       {15, 2},     // a write after 16
		"comet-tiny":      {16, 16, 1}, // beacons after 8, a write after 32
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := readCase(t, "testdata/golden/"+name)
			o := memc.Options{Set: c.Set, Slab: 16}
			m, err := memc.Load(c.spec(), o)
			if err != nil {
				t.Fatal(err)
			}
			if m, err = memc.Optimise(m, false, nil); err != nil {
				t.Fatal(err)
			}
			p, err := memc.Lower(m, "sm_80", o)
			if err != nil {
				t.Fatal(err)
			}
			x := newSimMachine(t, p, "sm_80", tensors(t, c.file("weights")))
			tokens := tensors(t, c.file("inputs"))["tokens"].Data
			var got []byte
			at := 0
			for _, n := range cuts {
				got = append(got, x.call(c.Entry, tokens[4*at:4*(at+n)])...)
				at += n
			}
			want := rowsOf(tensors(t, c.file("outputs"))["logits"], 0, at)
			if e := relative(t, runtime.Tensor{Elem: runtime.F32, Shape: want.Shape, Data: got}, want); !(e <= c.Tolerance) {
				t.Errorf("relative error %g, want at most %g", e, c.Tolerance)
			}
		})
	}
}
