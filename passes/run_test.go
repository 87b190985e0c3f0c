package passes_test

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/passes"
)

// drawn gives every weight values near those that its init says, but never all
// the same: a gate that starts at zero must not hide what stands behind it.
func drawn(n *ir.Node) (*ir.Tensor, error) {
	h := fnv.New64a()
	h.Write([]byte(n.Attr.Name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 2))
	t := &ir.Tensor{Elem: n.Type.Elem, Data: make([]float64, n.Type.Count())}
	for _, d := range n.Type.Dims {
		t.Dims = append(t.Dims, d.Size)
	}
	mean := 0.0
	if n.Attr.Init.Kind == "const" {
		mean = n.Attr.Init.Scale
	}
	for i := range t.Data {
		t.Data[i] = ir.Round(n.Type.Elem, float64(float32(mean+0.4*rng.NormFloat64())))
	}
	return t, nil
}

// numeric is an op that stands for grad in graphs that a test runs: the gradient
// by central differences of the loss's own evaluation. Its operands are the
// loss, w, and all other leaves of the loss.
const numeric = "test.numeric"

func init() {
	grad := *ir.Ops["grad"]
	grad.Name, grad.Variadic, grad.Special = numeric, true, ""
	grad.Eval = func(n *ir.Node, in []*ir.Tensor, e *ir.Env) (*ir.Tensor, error) {
		ell, w := n.Args[0], n.Args[1]
		given := map[*ir.Node]*ir.Tensor{}
		for i, a := range n.Args[1:] {
			given[a] = in[i+1]
		}
		moved := &ir.Tensor{Elem: w.Type.Elem, Dims: in[1].Dims, Data: slices.Clone(in[1].Data)}
		given[w] = moved
		order := ir.Postorder(ell)
		loss := func() ([]float64, error) {
			have := map[*ir.Node]*ir.Tensor{}
			for _, m := range order {
				if t := given[m]; t != nil {
					have[m] = t
					continue
				}
				args := make([]*ir.Tensor, len(m.Args))
				for i, a := range m.Args {
					args[i] = have[a]
				}
				if m.Op.Eval == nil || slices.Contains(args, nil) {
					continue // below w alone
				}
				t, err := m.Op.Eval(m, args, e)
				if err != nil {
					return nil, err
				}
				have[m] = t
			}
			for m, t := range have {
				if m.Op.Name == "stop" {
					given[m] = t // as the first run, at w itself, found it
				}
			}
			return have[ell].Data, nil
		}
		if _, err := loss(); err != nil {
			return nil, err
		}
		rows := 1
		if n.Attr.Dim != "" {
			rows = in[0].Dims[0]
		}
		width := len(moved.Data)
		out := &ir.Tensor{Elem: elem.F32, Dims: in[1].Dims, Data: make([]float64, rows*width)}
		if n.Attr.Dim != "" {
			out.Dims = append([]int{rows}, in[1].Dims...)
		}
		const eps = 1e-4
		for j, x := range in[1].Data {
			moved.Data[j] = x + eps
			up, err := loss()
			if err != nil {
				return nil, err
			}
			moved.Data[j] = x - eps
			down, err := loss()
			if err != nil {
				return nil, err
			}
			moved.Data[j] = x
			for i := range up {
				out.Data[i*rows/max(len(up), 1)*width+j] += (up[i] - down[i]) / (2 * eps)
			}
		}
		return out, nil
	}
	ir.Ops[numeric] = &grad
}

// numericGradients makes a graph that the interpreter can run out of one with
// gradients; any says whether there were some.
func numericGradients(g *ir.Graph) (h *ir.Graph, any bool) {
	h = passes.Replace(g, func(n *ir.Node, args []*ir.Node) *ir.Node {
		if n.Op.Name != "grad" {
			return nil
		}
		any = true
		all := slices.Clone(args)
		var walk func(m *ir.Node)
		seen := map[*ir.Node]bool{args[1]: true}
		walk = func(m *ir.Node) {
			if seen[m] {
				return
			}
			seen[m] = true
			if m.Op.Eval == nil {
				all = append(all, m)
				return
			}
			for _, a := range m.Args {
				walk(a)
			}
		}
		walk(args[0])
		return g.B.Must(numeric, n.Attr, all...)
	})
	return h, any
}

// results is what a run gives: outputs by name and the probes.
type results struct {
	out    map[string]*ir.Tensor
	probes []ir.ProbeValue
}

func (r results) differ(want results) error {
	return r.differBy(want, 1e-9)
}

func (r results) differBy(want results, most float64) error {
	for name, w := range want.out {
		x := r.out[name]
		if x == nil {
			return fmt.Errorf("there is no output %s", name)
		}
		if len(w.Data) == 0 {
			return fmt.Errorf("the output %s is empty", name)
		}
		if d := irtest.Difference(x, w); !(d <= most) {
			return fmt.Errorf("the output %s differs by %g: %v, want %v", name, d, head(x), head(w))
		}
	}
	if len(r.probes) != len(want.probes) {
		return fmt.Errorf("%d probes, want %d", len(r.probes), len(want.probes))
	}
	for i, w := range inOrder(want.probes) {
		p := inOrder(r.probes)[i]
		if p.Scan+"."+p.Name != w.Scan+"."+w.Name || p.Chunk != w.Chunk || !(math.Abs(p.Value-w.Value) <= most*(1+math.Abs(w.Value))) {
			return fmt.Errorf("probe %v, want %v", p, w)
		}
	}
	return nil
}

// inOrder sorts probes by name and chunk: scans take turns where a stream is cut.
func inOrder(ps []ir.ProbeValue) []ir.ProbeValue {
	ps = slices.Clone(ps)
	slices.SortStableFunc(ps, func(a, b ir.ProbeValue) int {
		return cmp.Or(cmp.Compare(a.Scan+"."+a.Name, b.Scan+"."+b.Name), cmp.Compare(a.Chunk, b.Chunk))
	})
	return ps
}

func head(t *ir.Tensor) string { return fmt.Sprint(t.Dims, t.Data[:min(len(t.Data), 6)]) }

// whole runs a graph over a whole stream.
func whole(g *ir.Graph, in map[string]*ir.Tensor) (results, error) {
	out, probes, err := ir.RunProbes(g, in, drawn)
	return results{out, probes}, err
}

// always is a source of one number: it cuts streams into pieces of one size.
type always int

func (a always) IntN(n int) int { return min(int(a), n-1) }

// pieces runs a streamed graph over the stream in calls of size rows.
func pieces(g *ir.Graph, in map[string]*ir.Tensor, n, size int) (results, error) {
	s, err := ir.NewSession([]*ir.Graph{g}, drawn)
	if err != nil {
		return results{}, err
	}
	out, err := irtest.Stream(always(size-1), s, g, in, n, size)
	return results{out, s.TakeProbes()}, err
}

// planned lowers a fused graph and runs its plan with the kernel interpreter in
// calls of size rows. Where attends and scans can run together, they do so in
// one way more, another for other sizes, with the same bits; where whole chunks can
// run in one launch, they do, with the same bits in pieces and in one call.
func planned(g *ir.Graph, in map[string]*ir.Tensor, n, size, slab int, fuse bool) (results, error) {
	o := passes.Options{Target: "test", Slab: slab, Tiling: passes.DefaultTiling, Fuse: fuse}
	first, err := plannedAs(g, in, n, size, o)
	if err != nil || !fuse {
		return first, err
	}
	stay := o
	stay.Tiling.Resident = 1 << 14
	if p, err := passes.Lower([]*ir.Graph{g}, stay); err != nil {
		return first, err
	} else if slices.ContainsFunc(p.Kernels, isRun) {
		whole, err := plannedAs(g, in, n, n, stay)
		if err == nil {
			err = whole.differBy(first, 1e-4)
		}
		pieces, errPieces := plannedAs(g, in, n, size, stay)
		if err = cmp.Or(err, errPieces); err == nil {
			err = pieces.sameBits(whole)
		}
		if err != nil {
			return first, fmt.Errorf("with weights that stay: %w", err)
		}
	}
	if !passes.HasChoice(g) {
		return first, nil
	}
	ways := [...]passes.Options{{Hybrid: passes.Apart}, {Hybrid: passes.Together, Tie: true}, {Hybrid: passes.Together, Beside: true}}
	way := ways[size%len(ways)]
	o.Hybrid, o.Beside, o.Tie = way.Hybrid, way.Beside, way.Tie
	r, err := plannedAs(g, in, n, size, o)
	if err == nil {
		err = r.sameBits(first)
	}
	if err != nil {
		return first, fmt.Errorf("hybrids %d, beside %t: %w", o.Hybrid, o.Beside, err)
	}
	return first, nil
}

// sameBits compares outputs and probes bit by bit.
func (r results) sameBits(want results) error {
	same := func(a, b float64) bool { return a == b || a != a && b != b }
	for name, x := range want.out {
		if !slices.EqualFunc(r.out[name].Data, x.Data, same) {
			return fmt.Errorf("%s has other bits", name)
		}
	}
	if !slices.EqualFunc(inOrder(r.probes), inOrder(want.probes), func(a, b ir.ProbeValue) bool {
		return a.Scan == b.Scan && a.Name == b.Name && a.Chunk == b.Chunk && same(a.Value, b.Value)
	}) {
		return errors.New("probes have other bits")
	}
	return nil
}

// isRun reports whether a kernel walks through whole chunks.
func isRun(k *kernel.Kernel) bool { return strings.HasPrefix(k.Name, "run") }

func plannedAs(g *ir.Graph, in map[string]*ir.Tensor, n, size int, o passes.Options) (results, error) {
	p, err := passes.Lower([]*ir.Graph{g}, o)
	if err != nil {
		return results{}, err
	}
	if errs := p.Plan.Verify(); len(errs) > 0 {
		return results{}, errors.Join(errs...)
	}
	weights := map[string][]float32{}
	passes.EveryNode(g, func(n *ir.Node) {
		if n.Op.Name != "weight" {
			return
		}
		t, _ := drawn(n)
		w := make([]float32, len(t.Data))
		for i, x := range t.Data {
			w[i] = float32(x)
		}
		weights[n.Attr.Name] = w
	})
	m, err := newPlanMachine(p, weights)
	if err != nil {
		return results{}, err
	}
	out := map[string][]float32{}
	for at := 0; at < n; at += size {
		k := min(size, n-at)
		if err := m.call(g.Name, irtest.Rows(in, at, at+k), k, out); err != nil {
			return results{}, err
		}
	}
	r := results{map[string]*ir.Tensor{}, m.probes}
	for _, o := range g.Outputs {
		t := &ir.Tensor{Elem: o.Node.Type.Elem, Dims: sizes(o.Node.Type, n)}
		for _, x := range out[o.Name] {
			t.Data = append(t.Data, float64(x))
		}
		r.out[o.Name] = t
	}
	return r, nil
}

func sizes(t ir.Type, rows int) []int {
	var dims []int
	for _, d := range t.Dims {
		if d.Clock != nil {
			dims = append(dims, rows)
		} else {
			dims = append(dims, d.Size)
		}
	}
	return dims
}

// sound holds what is true of every graph: the verifier finds nothing, and its
// text reads back as it is.
func sound(g *ir.Graph) error {
	if errs := g.Verify(); len(errs) > 0 {
		return fmt.Errorf("%s\n%s", ir.Explain(errs), g)
	}
	src := g.String()
	m, err := ir.Parse(src)
	if err != nil {
		return fmt.Errorf("its text does not parse: %v\n%s", err, src)
	}
	if got := m.Entries[0].String(); got != src {
		return fmt.Errorf("its text reads back as\n%s\nbut is\n%s", got, src)
	}
	return nil
}

// through takes a graph through the passes from the one called first on, and
// runs what each of them gives against want, whole; after stream also in
// pieces; then its plan, unless unplanned.
func through(t *testing.T, g *ir.Graph, first string, in map[string]*ir.Tensor, n int, want results, tolerance float64, unplanned string) {
	t.Helper()
	start := slices.IndexFunc(passes.Table, func(p passes.Pass) bool { return p.Name == first })
	for _, p := range passes.Table[start:] {
		before := g.String()
		h, err := p.Apply(g)
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if after := g.String(); after != before {
			t.Fatalf("%s changed the graph that it was given:\n%s\nwas\n%s", p.Name, after, before)
		}
		if err := sound(h); err != nil {
			t.Fatalf("after %s: %v", p.Name, err)
		}
		g = h
		got, err := whole(g, in)
		if err == nil {
			err = got.differBy(want, tolerance)
		}
		if err != nil {
			t.Fatalf("after %s: %v\n%s", p.Name, err, g)
		}
		if p.To < passes.Streamed || p.Name == "tidy" {
			continue
		}
		for _, size := range []int{1, 7} {
			got, err := pieces(g, in, n, size)
			if err == nil {
				err = got.differBy(want, tolerance)
			}
			if err != nil {
				t.Fatalf("after %s, in pieces of %d: %v\n%s", p.Name, size, err, g)
			}
		}
	}
	if unplanned != "" {
		_, err := passes.Lower([]*ir.Graph{g}, passes.Options{Target: "test", Slab: 16, Tiling: passes.DefaultTiling, Fuse: true})
		if err == nil {
			t.Errorf("it can be lowered after all; why not (%q)?", unplanned)
		}
		return
	}
	for _, fuse := range []bool{true, false} {
		got, err := planned(g, in, n, n, 16, fuse)
		if err == nil {
			err = got.differBy(want, max(tolerance, 2e-5))
		}
		if err != nil {
			t.Fatalf("the plan (fuse %v): %v\n%s", fuse, err, g)
		}
	}
}
