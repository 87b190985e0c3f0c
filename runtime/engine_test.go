package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
)

// adder is an engine as an interpreter would be: it sums a stream in float64,
// from the weight "start" on.
type adder struct{}

func (adder) Entries() []Entry {
	return []Entry{{Name: "add", Inputs: []Port{{Name: "x", Elem: "f32", Dims: []string{"t"}}}, Outputs: []Port{{Name: "sum", Elem: "f32"}}}}
}

func (adder) Params() []Param {
	return []Param{{Name: "start", Shape: []int{1}, Init: plan.Init{Kind: "const", Scale: 10}}}
}

func (adder) NewMachine(w *Weights, _ Options) (Machine, error) {
	start, err := w.Float32("start")
	if err != nil {
		return nil, err
	}
	return &sum{total: []float64{float64(start[0])}}, nil
}

type sum struct {
	pos   int64
	total []float64
}

func (s *sum) Run(_ context.Context, _ int, in, out []Tensor) error {
	x, err := Float32(in[0])
	if err != nil {
		return err
	}
	for _, v := range x {
		s.total[0] += float64(v)
	}
	s.pos += int64(len(x))
	out[0] = FromFloat32([]float32{float32(s.total[0])}, 1)
	return nil
}

func (s *sum) Pos() int64             { return s.pos }
func (s *sum) StateBytes() int64      { return 8 }
func (s *sum) Probes() []Probe        { return nil }
func (s *sum) Fork() (Machine, error) { return &sum{s.pos, slices.Clone(s.total)}, nil }
func (s *sum) Close()                 {}

func (s *sum) State() (*State, error) {
	return &State{Pos: s.pos, Tensors: map[string]Tensor{"total": FromFloat64(s.total)}}, nil
}

func (s *sum) SetState(st *State) error {
	t, ok := st.Tensors["total"]
	if !ok {
		return errors.New("the state lacks the tensor total")
	}
	v, err := Float64(t)
	if err != nil || len(v) != 1 {
		return errors.New("the tensor total is not one number")
	}
	s.pos, s.total[0] = st.Pos, v[0]
	return nil
}

func init() {
	Register("sums", func(*artifact.Artifact, *artifact.Target) (Engine, error) { return adder{}, nil })
}

func TestEngine(t *testing.T) {
	a := &artifact.Artifact{Targets: []artifact.Target{
		{Name: "future", Format: "amd64", Features: []string{"avx4096"}},
		{Name: "interp", Format: "sums"},
	}}
	p, err := New(a, "") // the first target that runs here
	if err != nil || p.Target() != "interp" {
		t.Fatalf("%v", err)
	}
	w, err := p.DrawWeights(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession(w, Options{})
	if err != nil {
		t.Fatal(err)
	}
	call := func(s *Session, x ...float32) float32 {
		t.Helper()
		out, err := s.Call(context.Background(), "add", map[string]Tensor{"x": FromFloat32(x)})
		if err != nil {
			t.Fatal(err)
		}
		v, err := Float32(out["sum"])
		if err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	call(s, 1, 1e-9)
	var saved strings.Builder
	if err := s.WriteState(&saved); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	if got := call(s, 2); got != 13 {
		t.Errorf("the sum is %v", got)
	}
	if got := call(f, 3); got != 14 {
		t.Errorf("the fork's sum is %v", got)
	}
	if err := f.ReadState([]byte(saved.String())); err != nil {
		t.Fatal(err)
	}
	if f.Pos() != 2 || f.machine.(*sum).total[0] != 10+1+float64(float32(1e-9)) {
		t.Errorf("restored at %d: %v", f.Pos(), f.machine.(*sum).total)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a format is registered twice")
			}
		}()
		Register("amd64", nil)
	}()
	if _, err := FromEngine("sum", "interp", "id", adder{}).NewSession(w, Options{}); err == nil {
		t.Error("another program's weights are taken")
	}
}

func TestBusy(t *testing.T) {
	p := FromEngine("sum", "interp", "id", adder{})
	w, err := p.DrawWeights(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession(w, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.busy.Lock() // as another goroutine's call does
	if _, err := s.Call(context.Background(), "add", map[string]Tensor{"x": FromFloat32([]float32{1})}); !errors.Is(err, errBusy) {
		t.Errorf("a second call at the same time: %v", err)
	}
	s.busy.Unlock()
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Call(done, "add", map[string]Tensor{"x": FromFloat32([]float32{1})}); !errors.Is(err, context.Canceled) || s.Pos() != 0 {
		t.Errorf("a call with a context that has ended: %v", err)
	}
}
