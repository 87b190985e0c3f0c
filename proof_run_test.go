package memc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/amd64"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// The proofs run a program as people do and hold it to what the language
// promises. This file has the steps that they share: to compile for every
// target that this machine runs, to feed a stream in pieces, to look at a state.

// without names what a test leaves out here by a part of it that is skipped: a summary
// of tests shows those.
func without(t *testing.T, name string, why error) {
	t.Run(name, func(t *testing.T) { t.Skipf("not run here: %v", why) })
}

// native lists the compiled targets of this machine and names those that it
// cannot run, so that a log shows what was not proved.
func native(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, name := range memc.Groups["cpu"] {
		if err := memc.Buildable(name); err != nil {
			t.Skipf("nothing can be compiled here: %v", err)
		}
		if err := memc.Runnable(name); err != nil {
			without(t, name, err)
			continue
		}
		out = append(out, name)
	}
	return out
}

// assembled has all that tests had llc assemble: many compile the same kernels with
// options that change a program's plan alone.
var assembled amd64.Objects

// programs compiles a spec once for the given targets, and names those of which it needs
// more than the processor has.
func programs(t *testing.T, spec string, set map[string]json.RawMessage, o memc.Options, targets ...string) []*runtime.Program {
	t.Helper()
	o.Set, o.Targets, o.Objects = set, targets, &assembled
	a, err := memc.Compile(context.Background(), spec, o)
	if err != nil {
		t.Fatal(err)
	}
	var out []*runtime.Program
	for _, name := range targets {
		p, err := runtime.New(a, name)
		if memc.Lacks(err) { // what these kernels alone need
			without(t, name, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// stream is one session that is fed piece by piece.
type stream struct {
	t       *testing.T
	session *runtime.Session
	entry   string
	in      map[string]runtime.Tensor
	rows    int
	at      int
	out     map[string]runtime.Tensor
}

// begin starts a stream over inputs whose first dimension is the base clock.
func begin(t *testing.T, p *runtime.Program, w *runtime.Weights, threads int, entry string, in map[string]runtime.Tensor) *stream {
	t.Helper()
	return beginWith(t, p, w, runtime.Options{Threads: threads}, entry, in)
}

// beginWith is begin with a session's options.
func beginWith(t *testing.T, p *runtime.Program, w *runtime.Weights, o runtime.Options, entry string, in map[string]runtime.Tensor) *stream {
	t.Helper()
	s, err := p.NewSession(w, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	x := &stream{t: t, session: s, entry: entry, in: in, out: map[string]runtime.Tensor{}}
	for _, v := range in {
		x.rows = v.Shape[0]
	}
	return x
}

// feed reads the next n rows, or those that are left, and joins the outputs to
// what came before: those over a clock end to end, others as they are now.
func (x *stream) feed(n int) {
	x.t.Helper()
	n = min(n, x.rows-x.at)
	in := map[string]runtime.Tensor{}
	for name, v := range x.in {
		in[name] = rowsOf(v, x.at, x.at+n)
	}
	out, err := x.session.Call(context.Background(), x.entry, in)
	if err != nil {
		x.t.Fatalf("rows %d to %d: %v", x.at, x.at+n, err)
	}
	x.at += n
	entries := x.session.Program().Entries()
	e := entries[slices.IndexFunc(entries, func(e runtime.Entry) bool { return e.Name == x.entry })]
	for _, port := range e.Outputs {
		v := out[port.Name]
		if old, ok := x.out[port.Name]; ok && len(port.Dims) > 0 && (port.Dims[0] < "0" || port.Dims[0] > "9") {
			v.Shape = append([]int{old.Shape[0] + v.Shape[0]}, v.Shape[1:]...)
			v.Data = append(old.Data, v.Data...)
		}
		x.out[port.Name] = v
	}
}

// rest reads what is left in pieces whose sizes cut gives.
func (x *stream) rest(cut func() int) *stream {
	x.t.Helper()
	for x.at < x.rows {
		x.feed(cut())
	}
	return x
}

// moved goes on in a new session of as many threads, which the state is loaded
// into from a saved one.
func (x *stream) moved(threads int) *stream {
	x.t.Helper()
	path := x.t.TempDir() + "/state.safetensors"
	if err := x.session.SaveState(path); err != nil {
		x.t.Fatal(err)
	}
	y := begin(x.t, x.session.Program(), x.session.Weights(), threads, x.entry, x.in)
	if err := y.session.LoadState(path); err != nil {
		x.t.Fatal(err)
	}
	if y.session.Pos() != int64(x.at) {
		x.t.Fatalf("the restored state stands at %d, not %d", y.session.Pos(), x.at)
	}
	y.at, y.out = x.at, x.out
	return y
}

// state is the saved form of the session's state.
func (x *stream) state() []byte {
	x.t.Helper()
	var b bytes.Buffer
	if err := x.session.WriteState(&b); err != nil {
		x.t.Fatal(err)
	}
	return b.Bytes()
}

// same wants two streams to have given the same bits and to have the same state.
func (x *stream) same(want *stream, how string) {
	x.t.Helper()
	for name, v := range want.out {
		got := x.out[name]
		if !slices.Equal(got.Shape, v.Shape) {
			x.t.Errorf("%s: %s has the shape %v, not %v", how, name, got.Shape, v.Shape)
			continue
		}
		for i := range v.Data {
			if got.Data[i] != v.Data[i] {
				row := i / (len(v.Data) / max(v.Shape[0], 1))
				x.t.Errorf("%s: %s has other bits from byte %d of %d on (row %d of %d)", how, name, i, len(v.Data), row, v.Shape[0])
				break
			}
		}
	}
	if !bytes.Equal(x.state(), want.state()) {
		x.t.Errorf("%s: the final state has other bits%s", how, stateDiff(x.t, x.state(), want.state()))
	}
}

// every gives pieces of one size, random ones of 1 to most rows.
func every(n int) func() int { return func() int { return n } }

func random(seed uint64, most int) func() int {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func() int { return 1 + rng.IntN(most) }
}

// rowsOf is a view of rows [from, to).
func rowsOf(v runtime.Tensor, from, to int) runtime.Tensor {
	size := len(v.Data) / v.Shape[0]
	return runtime.Tensor{Elem: v.Elem, Shape: append([]int{to - from}, v.Shape[1:]...), Data: v.Data[from*size : to*size]}
}

// relative is the size of got - want relative to want's; infinite where the
// lengths differ or a value is no number.
func relative(t *testing.T, got, want runtime.Tensor) float64 {
	t.Helper()
	g, err := runtime.Float64(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := runtime.Float64(want)
	if err != nil {
		t.Fatal(err)
	}
	if len(g) != len(w) {
		return math.Inf(1)
	}
	var d, n float64
	for i := range w {
		d += (g[i] - w[i]) * (g[i] - w[i])
		n += w[i] * w[i]
	}
	if e := math.Sqrt(d / n); !math.IsNaN(e) {
		return e
	}
	return math.Inf(1)
}

// stateDiff names the tensors in which two saved states differ.
func stateDiff(t *testing.T, got, want []byte) string {
	t.Helper()
	g, names, _, err := safetensors.Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	w, _, _, err := safetensors.Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, name := range names {
		a, b := g[name], w[name]
		if !slices.Equal(a.Shape, b.Shape) {
			fmt.Fprintf(&out, "; %s has the shape %v, not %v", name, a.Shape, b.Shape)
			continue
		}
		for i := range a.Data {
			if a.Data[i] != b.Data[i] {
				fmt.Fprintf(&out, "; %s %v from byte %d of %d on", name, a.Shape, i, len(a.Data))
				break
			}
		}
	}
	return out.String()
}
