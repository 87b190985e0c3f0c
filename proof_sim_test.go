package memc_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/ir/kernel"
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
	count   sim.Traffics // what accesses cost, where given
	// check, where given, looks at each launch: memory as it was, and as it is.
	check func(s *plan.Step, record int64, before [][]byte) error
}

// ctas is fewer than most grids have blocks, and more than some.
const ctas = 3

func newSimMachine(t *testing.T, p *passes.Program, target string, weights func(name string) []float32) *simMachine {
	t.Helper()
	m := printed(t, p.Kernels, target)
	return simulated(t, p, m, weights)
}

// simulated is a machine for a module's text.
func simulated(t *testing.T, p *passes.Program, m *ptx.Module, weights func(name string) []float32) *simMachine {
	t.Helper()
	x := &simMachine{t: t, plan: p.Plan, entries: map[string]ptx.Info{}}
	var err error
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
	x.scratch = x.memory.Fresh("scratch", scratch)
	for i := range p.Plan.Buffers {
		b := &p.Plan.Buffers[i]
		bytes := b.Bytes
		if b.Grow != nil {
			bytes *= 64 // more rows than the test's streams have
		}
		data := poisoned(bytes)
		switch {
		case b.Class == plan.Weight:
			lay(data, b, weights(b.Tensor))
		case b.Class == plan.Table:
			copy(data, b.Data)
		case b.Class == plan.State && b.From >= 0:
			lay(data, b, weights(p.Plan.Buffers[b.From].Tensor))
		case b.Class == plan.State && b.Elem.Quantised():
			clear(data) // codes and scales of zeros
		case b.Class == plan.State:
			for e := range int64(len(data) / b.Elem.Size()) {
				kernel.Memory(data).SetFloat(b.Elem, e, b.Fill)
			}
		}
		x.data = append(x.data, data)
		at := uint64(0)
		if b.Class == plan.Temp || b.Class == plan.Output {
			// What is read there before a kernel has written it is a fault.
			at = x.memory.Fresh(b.Name, len(data))
			fresh, err := x.memory.Bytes(at, len(data))
			if err != nil {
				t.Fatal(err)
			}
			copy(fresh, data)
			x.data[len(x.data)-1] = fresh
		} else {
			at = x.memory.Add(b.Name, data)
		}
		x.place = append(x.place, at)
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

// lay puts a weight's elements where a buffer has them: in panels of rows whose
// columns are adjacent, or in order.
func lay(to kernel.Memory, b *plan.Buffer, from []float32) {
	if b.Elem.Quantised() { // matrices of two dimensions
		kb := kernel.Buf{Elem: b.Elem, Dims: b.Dims, Panel: b.Panel}
		k := b.Dims[1]
		for i := range b.Dims[0] {
			kb.SetRow(to, from[i*k:][:k], []int64{int64(i)})
		}
		return
	}
	n, k, panel := 1, 1, 1
	if b.Panel > 0 {
		n, k, panel = b.Dims[len(b.Dims)-2], b.Dims[len(b.Dims)-1], b.Panel
	}
	padded := (n + panel - 1) / panel * panel
	for i, v := range from {
		matrix, row, col := i/(n*k), i/k%n, i%k
		to.SetFloat(b.Elem, int64(matrix*padded*k+row/panel*k*panel+col*panel+row%panel), ir.Round(b.Elem, float64(v)))
	}
}

// call feeds rows to an entry and joins its outputs to what came before, as a
// stream does.
func (x *simMachine) call(entry string, in map[string]runtime.Tensor, n int, out map[string]runtime.Tensor) {
	x.t.Helper()
	if err := x.try(entry, in, n, out); err != nil {
		x.t.Fatal(err)
	}
}

// try is call that may fail.
func (x *simMachine) try(entry string, in map[string]runtime.Tensor, n int, out map[string]runtime.Tensor) error {
	if err := x.d.Describe(x.pos, int64(n)); err != nil {
		return err
	}
	for i, v := range x.d.Records {
		binary.LittleEndian.PutUint64(x.record[8*i:], uint64(v))
	}
	i := slices.IndexFunc(x.plan.Entries, func(e plan.Entry) bool { return e.Name == entry })
	e := &x.plan.Entries[i]
	for _, p := range e.Inputs {
		copy(x.data[p.Buffer], in[p.Name].Data)
	}
	if err := x.steps(e.Steps, 0); err != nil {
		return err
	}
	x.pos += int64(n)
	copy(x.d.Lens, x.d.Next)
	for _, p := range e.Outputs {
		v := runtime.Tensor{Elem: runtime.F32, Shape: slices.Clone(p.Dims)}
		if p.Rows != nil {
			v.Shape[0] = n
		}
		v.Data = append(out[p.Name].Data[:0:0], x.data[p.Buffer][:4*v.Len()]...)
		if old, ok := out[p.Name]; ok && p.Clock {
			v.Shape[0] += old.Shape[0]
			v.Data = append(old.Data[:len(old.Data):len(old.Data)], v.Data...)
		}
		out[p.Name] = v
	}
	return nil
}

func (x *simMachine) steps(steps []plan.Step, record int64) error {
	for i := range steps {
		s := &steps[i]
		var err error
		switch s.Kind {
		case plan.Launch:
			err = x.launch(s, record)
		case plan.Repeat:
			for turn := int64(0); turn < x.d.Turns[s.Loop] && err == nil; turn++ {
				err = x.steps(s.Steps, x.d.First[s.Loop]+turn)
			}
		case plan.If:
			if x.d.Records[record*int64(x.plan.Record)+int64(s.Cond)] != 0 {
				err = x.steps(s.Steps, record)
			}
		case plan.Beside:
			err = x.steps(s.Steps, record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *simMachine) launch(s *plan.Step, record int64) error {
	var before [][]byte
	if x.check != nil {
		for _, b := range s.Bufs {
			before = append(before, slices.Clone(x.data[b]))
		}
	}
	var bufs, slots []uint64
	for _, b := range s.Bufs {
		bufs = append(bufs, x.place[b])
	}
	for _, slot := range s.Slots {
		slots = append(slots, uint64(slot))
	}
	info := x.entries[s.Kernel]
	args := []uint64{x.memory.Words("bufs", bufs...), x.memory.Words("slots", slots...), x.records + uint64(8*record*int64(x.plan.Record)), x.scratch}
	if err := x.text.Run(info.Name, sim.Launch{CTAs: ctas, Threads: info.Threads, Shared: info.Shared, Args: args, Memory: &x.memory, Count: x.count}); err != nil {
		return err
	}
	if x.check == nil {
		return nil
	}
	return x.check(s, record, before)
}

// TestGoldenSimulated: the PTX of whole models, run by the simulator, gives the
// golden outputs: every case from end to end, in slabs and with cuts within them.
func TestGoldenSimulated(t *testing.T) {
	eachCase(t, func(t *testing.T, c goldenCase) {
		t.Parallel()
		o := memc.Options{Set: c.Set, Slab: 64}
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
		weights := tensors(t, c.file("weights"))
		x := newSimMachine(t, p, "sm_80", func(name string) []float32 {
			v, err := runtime.Float32(weights[name])
			if err != nil {
				t.Fatal(err)
			}
			return v
		})
		tokens := tensors(t, c.file("inputs"))["tokens"]
		got := map[string]runtime.Tensor{}
		rows := tokens.Shape[0]
		for at, i := 0, 0; at < rows; i++ {
			n := min([]int{64, 64, 27, 1, 36}[i%5], rows-at)
			x.call(c.Entry, map[string]runtime.Tensor{"tokens": rowsOf(tokens, at, at+n)}, n, got)
			at += n
		}
		for name, want := range tensors(t, c.file("outputs")) {
			if e := relative(t, got[name], want); !(e <= c.Tolerance) {
				t.Errorf("%s: relative error %g, want at most %g", name, e, c.Tolerance)
			}
		}
	})
}

// TestCutsSimulated: on tensor cores too, a stream in pieces gives the bits that it
// gives whole, for each schedule whose products they compute.
func TestCutsSimulated(t *testing.T) {
	for i, c := range []struct{ spec, set, cache string }{
		{"contract", `{"K": 512, "N": 72, "weights": "q8"}`, ""},
		{"contract", `{"K": 96, "N": 72, "weights": "q4"}`, ""},
		{"contract", `{"K": 256, "N": 72, "weights": "bf16"}`, ""},
		{"attend", `{"heads": 2, "kv_heads": 1, "head_dim": 16, "window": 24, "sinks": 2}`, "f16"},
		{"attend", `{"heads": 2, "kv_heads": 1, "head_dim": 40, "window": 24}`, "q8"},
		{"recur", `{"heads": 1, "dim": 32, "hidden": 16, "chunk": 16}`, ""},
		{"recur", `{"heads": 1, "dim": 80, "hidden": 64, "chunk": 24}`, ""}, // sums shared out over blocks
		{"hybrid", `{"heads": 1, "dim": 32, "hidden": 48, "chunk": 16, "kv_heads": 1, "head_dim": 16, "window": 24}`, "bf16"},
	} {
		t.Run(fmt.Sprint(c.spec, i), func(t *testing.T) {
			t.Parallel()
			set := parameters(t, c.set)
			const rows = 41
			p := loweredWith(t, "specs/bench/"+c.spec+".spec", memc.Options{Set: set, Cache: c.cache, Slab: rows}, "sm_80")
			m := printed(t, p.Kernels, "sm_80")
			if !strings.Contains(m.Text, "mma.sync") {
				t.Fatal("no product is on tensor cores")
			}
			e := &p.Plan.Entries[0]
			in := rowsFor(e, rows, rand.New(rand.NewPCG(9, uint64(i))))
			stream := func(cuts ...int) map[string]runtime.Tensor {
				x, got := simulated(t, p, m, weightsFor(p.Plan, 1)), map[string]runtime.Tensor{}
				at := 0
				for _, n := range cuts {
					piece := map[string]runtime.Tensor{}
					for _, port := range e.Inputs {
						data := in[port.Name].Data
						if each := len(data) / rows; port.Rows != nil {
							data = data[at*each : (at+n)*each]
						}
						piece[port.Name] = runtime.Tensor{Data: data}
					}
					x.call(e.Name, piece, n, got)
					at += n
				}
				return got
			}
			whole := stream(rows)
			for name, v := range whole {
				if f, err := runtime.Float32(v); err != nil || slices.ContainsFunc(f, func(x float32) bool { return x != x }) {
					t.Fatalf("%s is not all numbers, %v", name, err)
				}
			}
			for _, cuts := range [][]int{{7, 17, 1, 16}, {1, 1, 30, 9}} {
				for name, v := range stream(cuts...) {
					if !bytes.Equal(v.Data, whole[name].Data) {
						t.Errorf("%s has other bits in pieces of %v rows", name, cuts)
					}
				}
			}
		})
	}
}

// TestRandomGraphsSimulated: the PTX of random graphs on a few rows in two
// calls, in memory that held no numbers.
func TestRandomGraphsSimulated(t *testing.T) {
	for seed := *graphSeed; seed < *graphSeed+40; seed++ {
		x := newTrial(seed, []string{"sm_80"})
		if x.err != nil {
			t.Error(x.explain(x.err))
			continue
		}
		x.rows = min(x.rows, 9)
		x.in = irtest.Rows(x.in, 0, x.rows)
		values := map[string][]float32{}
		weights := func(n *ir.Node) (*ir.Tensor, error) {
			v, err := irtest.Weights(n)
			if err == nil {
				values[n.Attr.Name] = make([]float32, len(v.Data))
				for i, f := range v.Data {
					values[n.Attr.Name][i] = float32(f)
				}
				v.Data = ir.RoundRows(v.Elem, v.Data, v.Dims)
			}
			return v, err
		}
		want, err := ir.Run(x.graph, x.in, weights)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range memc.Nodes(x.opt) {
			if n.Op.Name == "weight" && values[n.Attr.Name] == nil {
				if _, err := weights(n); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := newSimMachine(t, x.code, "sm_80", func(name string) []float32 { return values[name] })
		got := map[string]runtime.Tensor{}
		for at := 0; at < x.rows; {
			n := x.rows - at
			if at == 0 {
				n = (x.rows + 1) / 2
			}
			in := map[string]runtime.Tensor{}
			for name, v := range irtest.Rows(x.in, at, at+n) {
				in[name] = fromTensor(v)
			}
			m.call(x.graph.Name, in, n, got)
			at += n
		}
		for name, w := range want {
			if e := irtest.Difference(toTensor(got[name]), w); !(e <= x.tolerance()) {
				t.Errorf("%v, simulated: %s differs by %g\n%s", x, name, e, x.graph)
			}
		}
	}
}
