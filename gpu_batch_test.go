package memc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/cuda/cudatest"
)

// together feeds several streams of one program in one call, rows[i] to stream i.
func together(t *testing.T, b *runtime.Batch, streams []*stream, rows []int) {
	t.Helper()
	p := streams[0].session.Program()
	entry := slices.IndexFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == streams[0].entry })
	in, out := make([][]runtime.Tensor, len(streams)), make([][]runtime.Tensor, len(streams))
	for i, x := range streams {
		in[i] = []runtime.Tensor{rowsOf(x.in["tokens"], x.at, x.at+rows[i])}
		out[i] = make([]runtime.Tensor, 1)
	}
	if err := b.Run(context.Background(), entry, in, out); err != nil {
		t.Fatal(err)
	}
	for i, x := range streams {
		v := out[i][0]
		if old, ok := x.out["logits"]; ok {
			v.Shape[0] += old.Shape[0]
			v.Data = append(slices.Clip(old.Data), v.Data...)
		}
		x.out["logits"] = v
		x.at += rows[i]
	}
}

// batches runs streams at different places together and alone, and wants the
// same bits, states and probes.
func batches(t *testing.T, c goldenCase, p *runtime.Program, before []int, calls [][]int) {
	t.Helper()
	var streams, alone []*stream
	var sessions []*runtime.Session
	w, err := p.LoadWeights(c.file("weights"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range before {
		for _, list := range []*[]*stream{&streams, &alone} {
			x := begin(t, p, w, 1, c.Entry, tensors(t, c.file("inputs")))
			if n > 0 {
				x.feed(n)
			}
			*list = append(*list, x)
		}
		sessions = append(sessions, streams[len(streams)-1].session)
	}
	b, err := runtime.NewBatch(sessions)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for k, rows := range calls {
		together(t, b, streams, rows)
		for i, x := range alone {
			x.feed(rows[i])
			if got, want := streams[i].session.Probes(), x.session.Probes(); !slices.Equal(got, want) {
				t.Errorf("call %d, stream %d: the probes are %v, alone %v", k, i, got, want)
			}
		}
	}
	for i, x := range streams {
		x.same(alone[i], fmt.Sprintf("stream %d in a batch", i))
	}
	streams[0].feed(1) // alone again
	alone[0].feed(1)
	streams[0].same(alone[0], "after the batch")
}

// TestGPUBatch: streams at different places of their chunks, with calls of
// different lengths, some of several slabs.
func TestGPUBatch(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	d := &cudatest.Device{}
	a := c.ptxOf(t, "sm_80", memc.Options{Slab: 4})
	one := []int{1, 1, 1}
	batches(t, c, onGPU(t, d, a), []int{0, 5, 12}, [][]int{one, one, one, {6, 1, 1}, one})
	if d.Count("LaunchGraph") < 2 {
		t.Errorf("%d graphs were launched", d.Count("LaunchGraph"))
	}
	if d.Fault != nil {
		t.Error(d.Fault)
	}
	c = readCase(t, "testdata/golden/qwen3-tiny") // states that grow
	batches(t, c, onGPU(t, &cudatest.Device{}, c.ptxOf(t, "sm_80", memc.Options{Slab: 16})), []int{1, 0}, [][]int{{1, 1}, {2, 1}, {1, 5}})
}

// TestBatch: where nothing runs sessions at once, they run one after another.
func TestBatch(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	p := programs(t, c.spec(), c.Set, memc.Options{}, "interp")[0]
	batches(t, c, p, []int{0, 5}, [][]int{{1, 1}, {3, 8}})
}

// TestBatchErrors: what cannot be a batch, and what no batch can be given.
func TestBatchErrors(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	d := &cudatest.Device{}
	p := onGPU(t, d, c.ptxOf(t, "sm_80", memc.Options{Slab: 4}))
	w, err := p.LoadWeights(c.file("weights"))
	if err != nil {
		t.Fatal(err)
	}
	session := func(w *runtime.Weights) *runtime.Session {
		s, err := p.NewSession(w, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	x, y, closed := session(w), session(w), session(w)
	closed.Close()
	drawn, err := p.DrawWeights(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		sessions []*runtime.Session
		want     string
	}{
		{nil, "no sessions"},
		{[]*runtime.Session{x, x}, "session 1 of the batch: the session is in another call"},
		{[]*runtime.Session{x, closed}, "session 1 of the batch: the session is closed"},
		{[]*runtime.Session{x, session(drawn)}, "session 1 of the batch has another program or other weights"},
	} {
		if _, err := runtime.NewBatch(bad.sessions); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("got %v, want %q", err, bad.want)
		}
	}
	live := d.Live()
	b, err := runtime.NewBatch([]*runtime.Session{x, y})
	if err != nil {
		t.Fatal(err)
	}
	tokens := tensors(t, c.file("inputs"))["tokens"]
	in := func(n int) []runtime.Tensor { return []runtime.Tensor{rowsOf(tokens, 0, n)} }
	out := func() [][]runtime.Tensor {
		return [][]runtime.Tensor{make([]runtime.Tensor, 1), make([]runtime.Tensor, 1)}
	}
	wrong := []runtime.Tensor{runtime.FromFloat32([]float32{1})}
	for _, bad := range []struct {
		in   [][]runtime.Tensor
		want string
	}{
		{[][]runtime.Tensor{in(1)}, "a batch of 2 sessions is given inputs for 1"},
		{[][]runtime.Tensor{in(1), nil}, "session 1 of the batch: forward takes 1 inputs"},
		{[][]runtime.Tensor{in(1), wrong}, "session 1 of the batch: the input tokens of forward holds F32"},
	} {
		if err := b.Run(context.Background(), 0, bad.in, out()); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("got %v, want %q", err, bad.want)
		}
	}
	if err := b.Run(context.Background(), 9, nil, nil); err == nil {
		t.Error("entry 9 runs")
	}
	if x.Pos() != 0 || y.Pos() != 0 {
		t.Errorf("refused calls move sessions to %d and %d", x.Pos(), y.Pos())
	}
	err = b.Run(&endsAfter{Context: context.Background(), left: 3}, 0, [][]runtime.Tensor{in(5), in(17)}, out())
	if !errors.Is(err, context.Canceled) || x.Pos() != 5 || y.Pos() != 8 {
		t.Errorf("a call that is stopped after two slabs: %v, at %d and %d", err, x.Pos(), y.Pos())
	}
	b.Close()
	if d.Live() != live {
		t.Errorf("a closed batch leaves %d bytes", d.Live()-live)
	}
}
