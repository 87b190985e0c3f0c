package memc_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/memory"
)

var (
	graphs    = flag.Int("graphs", 2000, "how many random graphs TestRandomGraphs runs")
	graphSeed = flag.Uint64("graphseed", 0, "the first seed of TestRandomGraphs")
)

// A batch of graphs is assembled together: the assembler's start and kernels of
// one text are paid for once. Many graphs have kernels of others, in other places.
const batch = 200

// randomTolerance bounds compiled code against float64. The graphs keep their
// values near 1 and without jumps; most differ by some 1e-7. A random memory
// may be chaotic, though: its error grows tenfold in some tens of rows. So what
// follows a scan is compared on the first calmRows rows only; the rest of a long
// stream is held to the same stream in pieces.
const (
	randomTolerance = 1e-3
	codedTolerance  = 5e-2
	calmRows        = 140
)

// once lists seeds that found a fault: groups that waited for each other, a
// stored repeat read at its source, kept tests, one row number for a tile.
var once = []uint64{14, 21, 23, 239, 581, 1984, 2355, 10894}

// TestRandomGraphs: compiled code does what the float64 interpreter does to
// graphs that nobody has thought of, fused and not, and gives the same bits
// however the stream is cut.
func TestRandomGraphs(t *testing.T) {
	targets := native(t)
	if testing.Short() {
		*graphs = min(*graphs, 200)
	}
	memory.Poison = true
	defer func() { memory.Poison = false }()
	worst, seed := 0.0, *graphSeed
	var again []uint64
	if seed == 0 {
		again = once
	}
	for first := 0; first < *graphs; first += batch {
		var all []*trial
		for len(all) < min(batch, *graphs-first) {
			next := seed
			if len(again) > 0 {
				next, again = again[0], again[1:]
			} else {
				seed++
			}
			all = append(all, newTrial(next, targets))
		}
		if err := compileTrials(all); err != nil {
			t.Fatalf("graphs from seed %d on: %v", all[0].seed, err)
		}
		for _, x := range all {
			e, err := x.run()
			worst = max(worst, e)
			if err != nil {
				t.Error(x.explain(err))
			}
		}
	}
	t.Logf("%d graphs; the largest relative difference is %.2g", *graphs, worst)
}

// trial is a random graph with what is tried on it, all from one seed.
type trial struct {
	seed   uint64
	graph  *ir.Graph
	opt    *ir.Graph // after the passes
	rows   int
	in     map[string]*ir.Tensor
	target string
	coded  bool // operands are rounded to q8: f32 may put one on the other side of a step
	o      memc.Options
	err    error // of the compiler
	code   *passes.Program
	object *artifact.Artifact
	open   func(a *artifact.Artifact, target string) (*runtime.Program, error) // runtime.New, or on another device
}

func newTrial(seed uint64, targets []string) *trial {
	rng := rand.New(rand.NewPCG(seed, 0))
	size := 1 + rng.IntN(10)
	if seed%4 != 0 && !slices.Contains(once, seed) { // most are small: assembling is what costs
		size = 1 + size%3
	}
	x := &trial{seed: seed, graph: irtest.Graph(rng, size), open: runtime.New}
	if seed%5 == 3 {
		x.encode()
	}
	x.rows = []int{1, 1 + rng.IntN(8), 63, 1 + rng.IntN(70), 1 + rng.IntN(70), 1 + rng.IntN(140)}[rng.IntN(6)]
	if seed%100 == 7 {
		x.rows = 1000
	}
	x.in = irtest.Inputs(rng, x.graph, x.rows)
	x.target = targets[rng.IntN(len(targets))]
	x.o = memc.Options{Slab: []int{16, 64}[rng.IntN(2)], NoFuse: rng.IntN(3) == 0}
	x.lower()
	return x
}

// encode stores weights as codes and rounds what they are multiplied with to q8, where
// there are any that products read.
func (x *trial) encode() {
	done, err := passes.Run(x.graph, nil)
	if err != nil {
		return // lower says so
	}
	to := []elem.Type{elem.Q8, elem.Q4}[x.seed/5%2]
	g, err := passes.Quantise([]*ir.Graph{x.graph}, []*ir.Graph{done}, to)
	if err != nil {
		return
	}
	x.graph = g[0]
	if g, err = passes.RoundOperands(g, elem.Q8); err == nil {
		x.graph, x.coded = g[0], true
	}
}

func (x *trial) lower() {
	if x.opt, x.err = passes.Run(x.graph, nil); x.err == nil {
		if x.o.Tuning = nil; x.seed%4 == 1 && !memc.GPU(x.target) {
			sets := append(memc.SizesToTry(x.target), someSizes...)
			x.o.Tuning = memc.Force(x.target, sets[x.seed/4%uint64(len(sets))])
		}
		if x.o.Hybrid = ""; !x.o.NoFuse && passes.HasChoice(x.opt) {
			x.o.Hybrid = memc.Hybrids[x.seed%uint64(len(memc.Hybrids))]
		}
		x.code, x.err = memc.Lower(&ir.Module{Entries: []*ir.Graph{x.opt}}, x.target, x.o)
	}
}

func (x *trial) tolerance() float64 {
	if x.coded {
		return codedTolerance
	}
	return randomTolerance
}

func (x *trial) String() string {
	return fmt.Sprintf("seed %d, %d rows, %s, slabs of %d, fused %t, forced sizes %t", x.seed, x.rows, x.target, x.o.Slab, !x.o.NoFuse, x.o.Tuning != nil)
}

// compileTrials assembles the kernels of all trials, each text once a target.
func compileTrials(all []*trial) error {
	for _, machine := range []amd64.Machine{amd64.AMX, amd64.AVX512, amd64.AVX2} {
		var kernels []*kernel.Kernel
		byText := map[string]string{}
		for _, x := range all {
			if x.target != machine.Name || x.err != nil {
				continue
			}
			names := map[string]string{}
			for _, k := range x.code.Kernels {
				old := k.Name
				k.Name = "k"
				text := place.ReplaceAllString(k.String(), "")
				if byText[text] == "" {
					byText[text] = fmt.Sprintf("k%d", len(kernels))
					kernels = append(kernels, k)
				}
				names[old] = byText[text]
			}
			x.rename(names)
		}
		for i, k := range kernels {
			k.Name = fmt.Sprintf("k%d", i)
		}
		if len(kernels) == 0 {
			continue
		}
		blob, err := amd64.Compile(context.Background(), kernels, machine, &assembled)
		if err != nil {
			return err
		}
		for _, x := range all {
			if x.target == machine.Name && x.err == nil {
				x.link(blob)
			}
		}
	}
	return nil
}

// rename gives the plan's kernels the names that they have in the batch; two of
// a program may have become one.
func (x *trial) rename(names map[string]string) {
	p := x.code.Plan
	var kernels []string
	signatures := p.Signatures
	p.Signatures = nil
	for i, k := range p.Kernels {
		if !slices.Contains(kernels, names[k]) {
			kernels = append(kernels, names[k])
			if signatures != nil {
				p.Signatures = append(p.Signatures, signatures[i])
			}
		}
	}
	p.Kernels = kernels
	for i := range p.Entries {
		renameSteps(p.Entries[i].Steps, names)
	}
}

func renameSteps(steps []plan.Step, names map[string]string) {
	for i := range steps {
		if steps[i].Kind == plan.Launch {
			steps[i].Kernel = names[steps[i].Kernel]
		}
		renameSteps(steps[i].Steps, names)
	}
}

func (x *trial) link(blob *amd64.Blob) {
	target := artifact.Target{Name: x.target, Format: "amd64", Plan: x.code.Plan.String(), Code: blob.Code, Symbols: blob.Symbols, Scratch: blob.Scratch, Features: blob.Features}
	x.object = &artifact.Artifact{Manifest: artifact.Manifest{Name: "random", Graph: x.graph.String()}, Targets: []artifact.Target{target}}
}

// run compares compiled code with the interpreter, and with itself in pieces.
func (x *trial) run() (worst float64, err error) {
	if x.err != nil {
		return 0, x.err
	}
	last := filepath.Join(os.TempDir(), "memc-random.mir") // to be found where the process dies
	if err := os.WriteFile(last, []byte("; "+x.String()+"\n"+x.graph.String()), 0o644); err != nil {
		return 0, err
	}
	p, err := x.open(x.object, x.target)
	if err != nil {
		return 0, err
	}
	w, err := p.DrawWeights(x.seed)
	if err != nil {
		return 0, err
	}
	want, err := ir.Run(x.graph, x.in, drawn(w))
	if err != nil {
		return 0, fmt.Errorf("the interpreter: %w", err)
	}
	whole, state, err := x.feed(p, w, 1, []int{x.rows})
	if err != nil {
		return 0, err
	}
	for _, o := range x.graph.Outputs {
		got, want := toTensor(whole[o.Name]), want[o.Name]
		if x.rows > calmRows && learns(o.Node) {
			if o.Node.Type.Clock() == nil {
				continue
			}
			got = irtest.Rows(map[string]*ir.Tensor{"": got}, 0, calmRows)[""]
			want = irtest.Rows(map[string]*ir.Tensor{"": want}, 0, calmRows)[""]
		}
		e := irtest.Difference(got, want)
		worst = max(worst, e)
		if !(e <= x.tolerance()) {
			return worst, fmt.Errorf("%s differs from the interpreter's by %g", o.Name, e)
		}
	}
	rng := rand.New(rand.NewPCG(x.seed, 2))
	for threads := 1; threads <= 2; threads++ {
		var cuts []int
		for at := 0; at < x.rows; at += cuts[len(cuts)-1] {
			cuts = append(cuts, min(1+rng.IntN(20), x.rows-at))
		}
		cut, cutState, err := x.feed(p, w, threads, cuts)
		if err != nil {
			return worst, fmt.Errorf("in pieces of %v: %w", cuts, err)
		}
		for _, o := range x.graph.Outputs {
			if !slices.Equal(cut[o.Name].Data, whole[o.Name].Data) {
				return worst, fmt.Errorf("%s has other bits in pieces of %v on %d threads", o.Name, cuts, threads)
			}
		}
		if !slices.Equal(cutState, state) {
			return worst, fmt.Errorf("the final state has other bits in pieces of %v on %d threads", cuts, threads)
		}
	}
	return worst, nil
}

func learns(n *ir.Node) bool {
	return slices.ContainsFunc(ir.Postorder(n), func(n *ir.Node) bool { return n.Op.Name == "scan" })
}

// feed runs the stream in a new session and gives its outputs and final state.
func (x *trial) feed(p *runtime.Program, w *runtime.Weights, threads int, cuts []int) (map[string]runtime.Tensor, []byte, error) {
	s, err := p.NewSession(w, runtime.Options{Threads: threads})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	out := map[string]runtime.Tensor{}
	at := 0
	for _, n := range cuts {
		in := map[string]runtime.Tensor{}
		for name, v := range irtest.Rows(x.in, at, at+n) {
			in[name] = fromTensor(v)
		}
		got, err := s.Call(context.Background(), x.graph.Name, in)
		if err != nil {
			return nil, nil, err
		}
		at += n
		for _, o := range x.graph.Outputs {
			v := got[o.Name]
			if old, ok := out[o.Name]; ok && o.Node.Type.Clock() != nil {
				v.Shape = append([]int{old.Shape[0] + v.Shape[0]}, v.Shape[1:]...)
				v.Data = append(old.Data, v.Data...)
			}
			out[o.Name] = v
		}
	}
	var state strings.Builder
	err = s.WriteState(&state)
	return out, []byte(state.String()), err
}

// drawn gives the interpreter the weights that compiled code has.
func drawn(w *runtime.Weights) ir.Weights {
	return func(n *ir.Node) (*ir.Tensor, error) {
		v, err := w.Float32(n.Attr.Name)
		if err != nil {
			return nil, err
		}
		t := &ir.Tensor{Elem: n.Type.Elem, Data: make([]float64, len(v))}
		for _, d := range n.Type.Dims {
			t.Dims = append(t.Dims, d.Size)
		}
		for i, x := range v {
			t.Data[i] = float64(x)
		}
		t.Data = ir.RoundRows(t.Elem, t.Data, t.Dims)
		return t, nil
	}
}

func fromTensor(t *ir.Tensor) runtime.Tensor {
	if t.Elem == elem.I32 {
		v := make([]int32, len(t.Data))
		for i, x := range t.Data {
			v[i] = int32(x)
		}
		return runtime.FromInt32(v, t.Dims...)
	}
	v := make([]float32, len(t.Data))
	for i, x := range t.Data {
		v[i] = float32(x)
	}
	return runtime.FromFloat32(v, t.Dims...)
}

func toTensor(t runtime.Tensor) *ir.Tensor {
	x := &ir.Tensor{Elem: elem.F32, Dims: t.Shape, Data: make([]float64, len(t.Data)/4)}
	for i := range x.Data {
		x.Data[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
	}
	return x
}

// explain prints a fault with the smallest graph that shows one: the failing
// graph's values are each made the output of a graph of their own.
func (x *trial) explain(fault error) string {
	small, smallFault := x, fault
	var all []*trial
	for _, n := range ir.Postorder(x.graph.Roots()...) {
		if n.Type.Clock() != x.graph.Base || n.Type.Elem != elem.F32 || n.Op.Name == "input" {
			continue
		}
		y := *x
		g := *x.graph
		g.Outputs = []ir.Output{{Name: "y", Node: n}}
		y.graph, y.object, y.code = &g, nil, nil
		y.lower()
		all = append(all, &y)
	}
	if err := compileTrials(all); err != nil {
		return fmt.Sprintf("%v: %v (and while shrinking it: %v)\n%s", x, fault, err, x.graph)
	}
	for _, y := range all {
		if y.err == nil && y.object == nil { // an object only where a processor runs it
			continue
		}
		_, err := y.run()
		if err != nil && len(ir.Postorder(y.graph.Roots()...)) < len(ir.Postorder(small.graph.Roots()...)) {
			small, smallFault = y, err
		}
	}
	return fmt.Sprintf("%v: %v\nThe smallest part that fails: %v\n%s", x, short(fault), short(smallFault), small.graph)
}

// short is an error without the stack that an internal one ends with.
func short(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\ngoroutine ")
	return s
}
