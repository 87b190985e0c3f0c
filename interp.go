package memc

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/x448/float16"

	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
)

// The interpreter runs an artifact's graph in float64: slow, and what compiled
// code is compared with. It is the engine of the format "graph".

func init() { runtime.Register("graph", openInterp) }

// interpSlab is the most rows of one call of the interpreter; longer calls are
// cut, so that they can be cancelled and their scores stay small.
const interpSlab = 256

type interp struct {
	graphs  []*ir.Graph
	entries []runtime.Entry
	params  []runtime.Param
}

func openInterp(a *artifact.Artifact, _ *artifact.Target) (runtime.Engine, error) {
	m, err := ParseGraph(a)
	if err != nil {
		return nil, err
	}
	if m, err = Optimise(m, false, nil); err != nil {
		return nil, err
	}
	params, err := paramsOf(m)
	if err != nil {
		return nil, err
	}
	return &interp{graphs: m.Entries, entries: manifest(m).Entries, params: params}, nil
}

// ParseGraph reads and checks the graph that an artifact was compiled from, so
// that it can be run or compiled again.
func ParseGraph(a *artifact.Artifact) (*ir.Module, error) {
	m, err := ir.Parse(a.Manifest.Graph)
	if err != nil {
		return nil, fmt.Errorf("the artifact's graph: %w", err)
	}
	if errs := m.Verify(); len(errs) > 0 {
		return nil, fmt.Errorf("the artifact's graph: %w", errs[0])
	}
	m.Doc = a.Manifest.Doc
	return m, nil
}

// paramsOf lists the weights of all entries, each once, by name.
func paramsOf(m *ir.Module) ([]runtime.Param, error) {
	byName := map[string]runtime.Param{}
	for _, g := range m.Entries {
		for _, n := range Nodes(g) {
			if n.Op.Name != "weight" {
				continue
			}
			p := runtime.Param{Name: n.Attr.Name, Init: plan.Init{Kind: n.Attr.Init.Kind, Scale: n.Attr.Init.Scale}}
			for _, d := range n.Type.Dims {
				p.Shape = append(p.Shape, d.Size)
			}
			if q, ok := byName[p.Name]; ok {
				if !slices.Equal(p.Shape, q.Shape) || p.Init != q.Init {
					return nil, fmt.Errorf("two entries differ in how they see the tensor %s", p.Name)
				}
				p.Stored = q.Stored
			}
			p.Store(n.Type.Elem)
			byName[p.Name] = p
		}
	}
	out := make([]runtime.Param, 0, len(byName))
	for _, p := range byName {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b runtime.Param) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Nodes lists every node of a graph, those in the bodies of its scans too.
func Nodes(g *ir.Graph) []*ir.Node {
	var out []*ir.Node
	seen := map[*ir.Node]bool{}
	var region func(r *ir.Region)
	walk := func(roots []*ir.Node) {
		for _, n := range ir.Postorder(roots...) {
			if seen[n] {
				continue
			}
			seen[n] = true
			out = append(out, n)
			if n.Body != nil {
				region(n.Body)
			}
		}
	}
	region = func(r *ir.Region) {
		walk(r.Init)
		walk(r.Roots())
		if r.Write != nil {
			region(r.Write)
		}
	}
	walk(g.Inputs)
	walk(g.Roots())
	return out
}

func (e *interp) Entries() []runtime.Entry { return e.entries }

func (e *interp) Params() []runtime.Param { return e.params }

func (e *interp) NewMachine(w *runtime.Weights, _ runtime.Options) (runtime.Machine, error) {
	s, err := ir.NewSession(e.graphs, weightsOf(w))
	if err != nil {
		return nil, err
	}
	return &interpMachine{engine: e, weights: w, session: s}, nil
}

// weightsOf gives each weight as the graph wants it, converted once.
func weightsOf(w *runtime.Weights) ir.Weights {
	var mu sync.Mutex
	known := map[string]*ir.Tensor{}
	return func(n *ir.Node) (*ir.Tensor, error) {
		mu.Lock()
		defer mu.Unlock()
		key := n.Attr.Name + " " + n.Type.Elem.String()
		if t := known[key]; t != nil {
			return t, nil
		}
		read := func() ([]float32, error) { return w.Float32(n.Attr.Name) }
		if n.Type.Elem.Quantised() {
			read = func() ([]float32, error) { return w.Quantised(n.Attr.Name, n.Type.Elem) }
		}
		v, err := read()
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
		if !t.Elem.Quantised() { // whose codes may be a file's: made again, they could be others
			t.Data = ir.RoundRows(t.Elem, t.Data, t.Dims)
		}
		known[key] = t
		return t, nil
	}
}

// interpMachine is one stream in the interpreter.
type interpMachine struct {
	engine  *interp
	weights *runtime.Weights
	session *ir.Session
	probes  []runtime.Probe
}

// Run feeds the inputs, at most interpSlab rows at a time.
func (m *interpMachine) Run(ctx context.Context, entry int, in, out []runtime.Tensor) error {
	g := m.engine.graphs[entry]
	m.probes = m.probes[:0]
	ins := make([]*ir.Tensor, len(in))
	rows := -1
	for i, n := range g.Inputs {
		if in[i].Elem.String() != elemName(n.Type.Elem) {
			return fmt.Errorf("the input %s of %s holds %s, it takes %s", n.Attr.Name, g.Name, in[i].Elem, elemName(n.Type.Elem))
		}
		if len(in[i].Shape) != len(n.Type.Dims) {
			return fmt.Errorf("the input %s of %s has the shape %v, it takes %s", n.Attr.Name, g.Name, in[i].Shape, n.Type)
		}
		ins[i] = toInterp(in[i])
		if n.Type.Clock() == nil {
			continue
		}
		if r := in[i].Shape[0]; rows >= 0 && r != rows {
			return fmt.Errorf("the input %s of %s has %d rows, another one has %d", n.Attr.Name, g.Name, r, rows)
		} else if r == 0 {
			return fmt.Errorf("%s is given no rows", g.Name)
		}
		rows = in[i].Shape[0]
	}
	rows = max(rows, 1)
	whole := make([]*ir.Tensor, len(out))
	for at := 0; at < rows; at += interpSlab {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", at, rows, err)
		}
		piece := map[string]*ir.Tensor{}
		for i, n := range g.Inputs {
			piece[n.Attr.Name] = ins[i]
			if n.Type.Clock() != nil {
				piece[n.Attr.Name] = cut(ins[i], at, min(at+interpSlab, rows))
			}
		}
		got, err := m.session.Call(g.Name, piece)
		if err != nil {
			return err
		}
		for _, p := range m.session.TakeProbes() {
			m.probes = append(m.probes, runtime.Probe{Name: p.Scan + "." + p.Name, Chunk: p.Chunk, Value: float32(p.Value)})
		}
		for i, o := range g.Outputs {
			t := got[o.Name]
			if whole[i] == nil || o.Node.Type.Clock() == nil {
				whole[i] = &ir.Tensor{Elem: t.Elem, Dims: t.Dims, Data: slices.Clip(t.Data)}
				continue
			}
			dims := slices.Clone(t.Dims)
			dims[0] += whole[i].Dims[0]
			whole[i] = &ir.Tensor{Elem: t.Elem, Dims: dims, Data: append(whole[i].Data, t.Data...)}
		}
	}
	for i := range out {
		fromInterp(&out[i], whole[i])
	}
	return nil
}

// cut gives rows from to to of t.
func cut(t *ir.Tensor, from, to int) *ir.Tensor {
	row := len(t.Data) / t.Dims[0]
	dims := slices.Clone(t.Dims)
	dims[0] = to - from
	return &ir.Tensor{Elem: t.Elem, Dims: dims, Data: slices.Clip(t.Data[from*row : to*row])}
}

func (m *interpMachine) Pos() int64 { return m.session.Position() }

func (m *interpMachine) StateBytes() int64 { return m.session.StateBytes() }

func (m *interpMachine) Probes() []runtime.Probe { return m.probes }

func (m *interpMachine) Close() {}

func (m *interpMachine) Fork() (runtime.Machine, error) {
	f, err := m.engine.NewMachine(m.weights, runtime.Options{})
	if err != nil {
		return nil, err
	}
	if err := f.(*interpMachine).session.SetState(m.session.State()); err != nil {
		return nil, err
	}
	return f, nil
}

// A saved state holds the session's tensors under their names. Values that
// stand for reals are kept in f64, so that nothing is lost; lengths and the
// position are integers of their own.
const lenPrefix = "len/"

func (m *interpMachine) State() (*runtime.State, error) {
	st := &runtime.State{Pos: m.Pos(), Ints: map[string]int64{}, Tensors: map[string]runtime.Tensor{}}
	for name, t := range m.session.State() {
		switch {
		case name == "position":
		case strings.HasPrefix(name, lenPrefix):
			st.Ints[strings.TrimPrefix(name, lenPrefix)] = int64(t.Data[0])
		case t.Elem == elem.F32 || t.Elem.Quantised():
			data := make([]byte, 8*len(t.Data))
			for i, v := range t.Data {
				binary.LittleEndian.PutUint64(data[8*i:], math.Float64bits(v))
			}
			st.Tensors[name] = runtime.Tensor{Elem: runtime.F64, Shape: append([]int{}, t.Dims...), Data: data}
		default:
			var x runtime.Tensor
			fromInterp(&x, t)
			st.Tensors[name] = x
		}
	}
	return st, nil
}

func (m *interpMachine) SetState(st *runtime.State) error {
	if st.Pos > 1<<53 {
		return errors.New("the state's position is too large")
	}
	all := map[string]*ir.Tensor{"position": ir.Scalar(elem.I64, float64(st.Pos))}
	for name, v := range st.Ints {
		all[lenPrefix+name] = ir.Scalar(elem.I64, float64(v))
	}
	for name, t := range st.Tensors {
		if name == "position" || strings.HasPrefix(name, lenPrefix) {
			return fmt.Errorf("the state holds a tensor %s, which is no tensor of a state", name)
		}
		x := toInterp(t)
		if x == nil {
			return fmt.Errorf("the state's %s holds %s, which no state does", name, t.Elem)
		}
		all[name] = x
	}
	return m.session.SetState(all)
}

// elemName is an element type's name in a tensor's header.
func elemName(e elem.Type) string { return runtime.Elem(e).String() }

// toInterp gives a tensor's values as the interpreter holds them, nil where no
// graph has such elements.
func toInterp(t runtime.Tensor) *ir.Tensor {
	x := &ir.Tensor{Elem: elem.Type(t.Elem), Dims: slices.Clone(t.Shape), Data: make([]float64, t.Len())}
	le := binary.LittleEndian
	for i := range x.Data {
		switch t.Elem {
		case runtime.F32:
			x.Data[i] = float64(math.Float32frombits(le.Uint32(t.Data[4*i:])))
		case runtime.F64:
			x.Data[i] = math.Float64frombits(le.Uint64(t.Data[8*i:]))
		case runtime.BF16:
			x.Data[i] = float64(math.Float32frombits(uint32(le.Uint16(t.Data[2*i:])) << 16))
		case runtime.F16:
			x.Data[i] = float64(float16.Frombits(le.Uint16(t.Data[2*i:])).Float32())
		case runtime.I32:
			x.Data[i] = float64(int32(le.Uint32(t.Data[4*i:])))
		case runtime.I64:
			x.Data[i] = float64(int64(le.Uint64(t.Data[8*i:])))
		case runtime.Bool:
			x.Data[i] = float64(t.Data[i])
		}
	}
	switch t.Elem {
	case runtime.F64:
		x.Elem = elem.F32
	case runtime.F32, runtime.BF16, runtime.F16, runtime.I32, runtime.I64, runtime.Bool:
	default:
		return nil
	}
	return x
}

// fromInterp stores a value of the interpreter in t, in the value's own type.
func fromInterp(t *runtime.Tensor, x *ir.Tensor) {
	t.Elem, t.Shape = runtime.Elem(x.Elem), append([]int{}, x.Dims...)
	t.Data = make([]byte, len(x.Data)*t.Elem.Size())
	le := binary.LittleEndian
	for i, v := range x.Data {
		switch x.Elem {
		case elem.F32:
			le.PutUint32(t.Data[4*i:], math.Float32bits(float32(v)))
		case elem.BF16: // rounded already: the lower half is zero
			le.PutUint16(t.Data[2*i:], uint16(math.Float32bits(float32(v))>>16))
		case elem.F16:
			le.PutUint16(t.Data[2*i:], float16.Fromfloat32(float32(v)).Bits())
		case elem.I32:
			le.PutUint32(t.Data[4*i:], uint32(int32(v)))
		case elem.I64:
			le.PutUint64(t.Data[8*i:], uint64(int64(v)))
		case elem.Bool:
			t.Data[i] = byte(v)
		}
	}
}
