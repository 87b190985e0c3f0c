package memc

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/runtime"
)

// interpreted is a golden case's program on the interpreter, with its weights.
func interpreted(t *testing.T, name string) (*runtime.Program, *runtime.Weights) {
	t.Helper()
	dir := filepath.Join("testdata", "golden", name)
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Spec string
		Set  map[string]json.RawMessage
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	a, err := Compile(t.Context(), "specs/"+c.Spec+".spec", Options{Targets: []string{"interp"}, Set: c.Set})
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.New(a, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.LoadWeights(filepath.Join(dir, "weights.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return p, w
}

func begun(t *testing.T, p *runtime.Program, w *runtime.Weights) *runtime.Session {
	t.Helper()
	s, err := p.NewSession(w, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func someTokens(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i*i%89 + i%7)
	}
	return out
}

func fed(t *testing.T, s *runtime.Session, entry string, tokens []int32) []byte {
	t.Helper()
	out, err := s.Call(t.Context(), entry, map[string]runtime.Tensor{"tokens": runtime.FromInt32(tokens)})
	if err != nil {
		t.Fatal(err)
	}
	return out["logits"].Data
}

// A stream of more than one slab, whole, in pieces, forked half way, and saved
// and restored half way, gives the same bits.
func TestInterpStream(t *testing.T) {
	for _, name := range []string{"allmem-tiny", "comet-tiny", "qwen3-window"} {
		t.Run(name, func(t *testing.T) {
			p, w := interpreted(t, name)
			tokens := someTokens(interpSlab + 45)
			whole := begun(t, p, w)
			want := fed(t, whole, "forward", tokens)

			s := begun(t, p, w)
			got := fed(t, s, "forward", tokens[:37])
			got = append(got, fed(t, s, "forward", tokens[37:150])...)
			fork, err := s.Fork()
			if err != nil {
				t.Fatal(err)
			}
			var saved bytes.Buffer
			if err := s.WriteState(&saved); err != nil {
				t.Fatal(err)
			}
			restored := begun(t, p, w)
			if err := restored.ReadState(saved.Bytes()); err != nil {
				t.Fatal(err)
			}
			for how, s := range map[string]*runtime.Session{"cut": s, "forked": fork, "restored": restored} {
				if s.Pos() != 150 {
					t.Errorf("%s: position %d, want 150", how, s.Pos())
				}
				if all := append(slices.Clone(got), fed(t, s, "forward", tokens[150:])...); !bytes.Equal(all, want) {
					t.Errorf("%s: the results differ", how)
				}
				if s.StateBytes() != whole.StateBytes() {
					t.Errorf("%s: the state has %d bytes, want %d", how, s.StateBytes(), whole.StateBytes())
				}
			}
		})
	}
}

// The probes of a call are those of the chunks that it completed, named after
// their scan.
func TestInterpProbes(t *testing.T) {
	p, w := interpreted(t, "allmem-tiny") // chunks of 16, memories in two layers
	s := begun(t, p, w)
	fed(t, s, "next", someTokens(40))
	var names []string
	for _, x := range s.Probes() {
		names = append(names, x.Name)
	}
	slices.Sort(names)
	if got, want := strings.Join(names, " "), "model.layers.0.mem.inner_loss model.layers.0.mem.inner_loss model.layers.1.mem.inner_loss model.layers.1.mem.inner_loss"; got != want {
		t.Errorf("probes %s, want %s", got, want)
	}
	fed(t, s, "next", someTokens(3))
	if n := len(s.Probes()); n != 0 {
		t.Errorf("%d probes of a call that completes no chunk", n)
	}
}

// A call that is refused or was cancelled leaves the stream where it was.
func TestInterpRefuses(t *testing.T) {
	p, w := interpreted(t, "qwen3-tiny") // a vocabulary of 96
	s := begun(t, p, w)
	fed(t, s, "forward", someTokens(5))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		in   runtime.Tensor
		want string
	}{
		{t.Context(), runtime.FromInt32([]int32{1, 96}), "96"},
		{t.Context(), runtime.FromInt32([]int32{1, -1}), "-1"},
		{t.Context(), runtime.FromInt32(nil), "no rows"},
		{t.Context(), runtime.FromFloat32([]float32{1}), "takes I32"},
		{t.Context(), runtime.FromInt32([]int32{1, 2}, 1, 2), "shape [1 2]"},
		{cancelled, runtime.FromInt32([]int32{1}), "canceled"},
	} {
		_, err := s.Call(c.ctx, "forward", map[string]runtime.Tensor{"tokens": c.in})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if s.Pos() != 5 {
		t.Errorf("position %d, want 5", s.Pos())
	}
	fresh := begun(t, p, w)
	fed(t, fresh, "forward", someTokens(5))
	if !bytes.Equal(fed(t, s, "forward", someTokens(9)), fed(t, fresh, "forward", someTokens(9))) {
		t.Error("the stream goes on otherwise than one that saw no faults")
	}
}
