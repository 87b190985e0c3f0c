package runtime

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/safetensors"
)

//go:embed testdata/tiny.bin
var tinyCode []byte

// tinyPlan is a program small enough to follow by hand: it looks tokens up,
// keeps every row, and sums rows up in chunks of 4 that are added to a state
// when they are complete.
const tinyPlan = `plan "tiny"
slab 6
arena 256
record 9

buffer 0 "tokens" input i32 [6] bytes 24 at 0
buffer 1 "table" weight f32 [2, 5] panel 4 bytes 80 tensor "embed.weight" shape [2, 5] init "normal" 0.5
buffer 2 "x" temp f32 [6, 2] bytes 48 at 64
buffer 3 "keys" state f32 [2, 2] bytes 16 fill 0 grow = pos + n
buffer 4 "sum" state f32 [2] bytes 8 from 7
buffer 5 "acc" state f32 [2] bytes 8 fill 0
buffer 6 "y" output f32 [6, 2] bytes 48 at 128
buffer 7 "start" weight bf16 [2] bytes 4 tensor "sum.start" shape [2] init "const" 1.5
buffer 8 "loss" probe f32 [3] bytes 12 at 192 loop chunks

slot 0 pos
slot 1 n
slot 2 len
slot 3 chunks.first
slot 4 chunks.turns

loop chunks max 3 {
  turns = (pos + n + 3) div 4 - pos div 4
  carry len start 0 = min(len + 1, 3)
  slot 5 turn
  slot 6 row = max((pos div 4 + turn) * 4, pos)
  slot 7 rows = min((pos div 4 + turn + 1) * 4, pos + n) - row
  slot 8 done
  done = (row + rows) mod 4 == 0
}

kernel "embed" ints 1 (i32 [6], f32 [2, 5] panel 4, f32 [6, 2] write)
kernel "keep" ints 2 (f32 [6, 2], f32 [0, 2] write)
kernel "total" ints 3 (f32 [6, 2], f32 [2], f32 [0, 2], f32 [6, 2] write, f32 [2] write)
kernel "write" ints 1 (f32 [2] write, f32 [2] write, f32 [3] write)

entry "forward" doc "The sum of the chunks before, and a row from half way." {
  input "tokens" buffer 0 i32 [6] names ["t"] below 5 clock rows = n
  output "y" buffer 6 f32 [6, 2] names ["t", "d"] clock rows = n
  launch "embed" [0, 1, 2] [1]
  launch "keep" [2, 3] [0, 1]
  repeat chunks {
    launch "total" [2, 4, 3, 6, 5] [6, 7, 0]
    if 8 {
      launch "write" [5, 4, 8] [5]
    }
  }
}

entry "last" doc "The sum alone." {
  input "tokens" buffer 0 i32 [6] names ["t"] below 5 clock rows = n
  output "y" buffer 6 f32 [6, 2] names ["t", "d"] rows = 1
  launch "embed" [0, 1, 2] [1]
  launch "keep" [2, 3] [0, 1]
  repeat chunks {
    launch "total" [2, 4, 3, 6, 5] [6, 7, 0]
    if 8 {
      launch "write" [5, 4, 8] [5]
    }
  }
}
`

func tinyArtifact() *artifact.Artifact {
	return &artifact.Artifact{
		Manifest: artifact.Manifest{Name: "tiny", Compiler: "test"},
		Targets: []artifact.Target{{
			Name: "tiny", Format: "amd64", Features: []string{"sse2"}, Plan: tinyPlan, Code: tinyCode,
			Symbols: map[string]int64{"embed": 0x36a, "keep": 0x3bb, "total": 0x40e, "walk": 0x204, "work": 0x222, "write": 0x4e5},
			Scratch: map[string]int64{"total": 8},
		}},
	}
}

// needNative skips where the tests' machine code cannot run.
func needNative(t testing.TB) {
	t.Helper()
	if err := nativeHere(); err != nil {
		t.Skip(err)
	}
}

func tiny(t testing.TB) *Program {
	t.Helper()
	needNative(t)
	p, err := New(tinyArtifact(), "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var tinyTable = []float32{1, 2, 3, 4, 5, -10, -20, -30, -40, -50}

// tinyWeights writes a checkpoint and loads it.
func tinyWeights(t testing.TB, p *Program) *Weights {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := safetensors.WriteFile(path, map[string]Tensor{
		"embed.weight": FromFloat32(tinyTable, 2, 5),
		"sum.start":    FromFloat32([]float32{100, 200}),
		"other":        FromFloat32([]float32{1}),
	}, nil); err != nil {
		t.Fatal(err)
	}
	w, err := p.LoadWeights(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func session(t testing.TB, p *Program, w *Weights, threads int) *Session {
	t.Helper()
	s, err := p.NewSession(w, Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// oracle is what the tiny program gives for a stream.
func oracle(tokens []int32) (y []float32, probes []Probe) {
	sum, acc := [2]float32{100, 200}, [2]float32{}
	x := func(i, c int) float32 { return tinyTable[5*c+int(tokens[i])] }
	for i := range tokens {
		for c := range 2 {
			acc[c] += x(i, c)
			y = append(y, sum[c]+x(i/2, c))
		}
		if i%4 == 3 {
			probes = append(probes, Probe{"loss", int64(i / 4), acc[0]})
			for c := range 2 {
				sum[c] += acc[c]
				acc[c] = 0
			}
		}
	}
	return y, probes
}

func feed(t testing.TB, s *Session, tokens []int32) []float32 {
	t.Helper()
	out, err := s.Call(context.Background(), "forward", map[string]Tensor{"tokens": FromInt32(tokens)})
	if err != nil {
		t.Fatal(err)
	}
	y, err := Float32(out["y"])
	if err != nil {
		t.Fatal(err)
	}
	if want := []int{len(tokens), 2}; !slices.Equal(out["y"].Shape, want) {
		t.Fatalf("y has the shape %v, want %v", out["y"].Shape, want)
	}
	return y
}

func randomTokens(rng *rand.Rand, n int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = rng.Int32N(5)
	}
	return v
}

// TestStream feeds one stream whole and cut, with several numbers of workers.
func TestStream(t *testing.T) {
	p := tiny(t)
	w := tinyWeights(t, p)
	rng := rand.New(rand.NewPCG(3, 4))
	tokens := randomTokens(rng, 400)
	want, probes := oracle(tokens)
	for _, threads := range []int{1, 2, 3} {
		s := session(t, p, w, threads)
		if got := feed(t, s, tokens); !slices.Equal(got, want) {
			t.Fatalf("%d threads, whole: got %v, want %v", threads, got[:20], want[:20])
		}
		if got := s.Probes(); !slices.Equal(got, probes) {
			t.Errorf("%d threads: probes %v, want %v", threads, got, probes)
		}
		s = session(t, p, w, threads)
		var got []float32
		var seen []Probe
		for at := 0; at < len(tokens); {
			n := min(1+rng.IntN(9), len(tokens)-at)
			got = append(got, feed(t, s, tokens[at:at+n])...)
			seen = append(seen, s.Probes()...)
			at += n
			if s.Pos() != int64(at) {
				t.Fatalf("at %d the position is %d", at, s.Pos())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads: in pieces the stream differs", threads)
		}
		if !slices.Equal(seen, probes) {
			t.Errorf("%d threads: in pieces the probes are %v, want %v", threads, seen, probes)
		}
	}
}

// TestProfile runs the stream with a clock around each launch.
func TestProfile(t *testing.T) {
	p := tiny(t)
	s, err := p.NewSession(tinyWeights(t, p), Options{Threads: 2, Profile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tokens := randomTokens(rand.New(rand.NewPCG(5, 5)), 50)
	want, _ := oracle(tokens)
	if got := feed(t, s, tokens); !slices.Equal(got, want) {
		t.Error("a timed stream differs")
	}
	// 50 rows are 9 slabs; slab borders at 6, 18, 30 and 42 cut chunks in two.
	calls := map[string]int64{"embed": 9, "keep": 9, "total": 17, "write": 12}
	for _, k := range s.Profile() {
		if k.Calls != calls[k.Kernel] || k.Time <= 0 {
			t.Errorf("%s: %d calls in %v, want %d", k.Kernel, k.Calls, k.Time, calls[k.Kernel])
		}
	}
	if len(s.Profile()) != 4 || session(t, p, s.Weights(), 1).Profile() != nil {
		t.Error("not every kernel is told, or one without being asked")
	}
}

// TestSample: what is not wanted is not launched, and a rewound stream that
// launches all again is as if nothing had been left out.
func TestSample(t *testing.T) {
	p := tiny(t)
	s, err := p.NewSession(tinyWeights(t, p), Options{Threads: 2, Profile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start, err := s.Mark()
	if err != nil {
		t.Fatal(err)
	}
	tokens := randomTokens(rand.New(rand.NewPCG(5, 5)), 50)
	seen := 0
	if err := s.Sample(func(kernel string) bool {
		if kernel == "total" {
			seen++
		}
		return kernel == "total" && seen%4 == 1
	}); err != nil {
		t.Fatal(err)
	}
	feed(t, s, tokens)
	for _, k := range s.Profile() {
		if want := map[string]int64{"total": 5}[k.Kernel]; k.Calls != want {
			t.Errorf("%s: %d launches, want %d", k.Kernel, k.Calls, want)
		}
	}
	if err := errors.Join(s.Rewind(start), s.Sample(nil)); err != nil {
		t.Fatal(err)
	}
	want, _ := oracle(tokens)
	if got := feed(t, s, tokens); !slices.Equal(got, want) || seen != 17 {
		t.Errorf("after %d launches that were asked for, the stream differs", seen)
	}
	if err := session(t, p, s.Weights(), 1).Sample(nil); err == nil {
		t.Error("launches that nobody times are chosen")
	}
}

func TestLastCallCounts(t *testing.T) {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 1)
	tokens := randomTokens(rand.New(rand.NewPCG(5, 6)), 13)
	out, err := s.Call(context.Background(), "last", map[string]Tensor{"tokens": FromInt32(tokens)})
	if err != nil {
		t.Fatal(err)
	}
	y, _ := Float32(out["y"])
	want, _ := oracle(tokens)
	if !slices.Equal(out["y"].Shape, []int{1, 2}) || !slices.Equal(y, want[24:]) { // the last slab begins at row 12
		t.Errorf("got %v %v, want the last slab's first row %v", out["y"].Shape, y, want[24:])
	}
}

func TestFork(t *testing.T) {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 2)
	rng := rand.New(rand.NewPCG(7, 8))
	a, b, c := randomTokens(rng, 37), randomTokens(rng, 21), randomTokens(rng, 50)
	feed(t, s, a)
	f, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, x := range []struct {
		s    *Session
		next []int32
	}{{s, b}, {f, c}} {
		got := feed(t, x.s, x.next)
		want, probes := oracle(slices.Concat(a, x.next))
		if !slices.Equal(got, want[2*len(a):]) {
			t.Error("a fork and its origin disturb each other")
		}
		if !slices.Equal(x.s.Probes(), probes[len(a)/4:]) {
			t.Errorf("probes %v, want %v", x.s.Probes(), probes[len(a)/4:])
		}
	}
}

func TestSaveState(t *testing.T) {
	p := tiny(t)
	w := tinyWeights(t, p)
	s := session(t, p, w, 1)
	rng := rand.New(rand.NewPCG(9, 10))
	a, b := randomTokens(rng, 43), randomTokens(rng, 30)
	feed(t, s, a)
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := s.SaveState(path); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := feed(t, s, b)

	// The file says what it holds, in rows.
	tensors, _, meta, err := safetensors.Decode(first)
	if err != nil {
		t.Fatal(err)
	}
	if meta["memc.pos"] != "43" || meta["memc.int.len.len"] != "3" || meta["memc.int.chunks.chunks"] != "10" {
		t.Errorf("metadata %v", meta)
	}
	if k := tensors["keys"]; !slices.Equal(k.Shape, []int{43, 2}) {
		t.Errorf("keys is saved as %v", k.Shape)
	}
	other := session(t, p, w, 2)
	feed(t, other, b)
	for range 2 { // onto a longer stream, and once more
		if err := other.LoadState(path); err != nil {
			t.Fatal(err)
		}
		if other.Pos() != 43 {
			t.Errorf("the position is %d", other.Pos())
		}
		if got := feed(t, other, b); !slices.Equal(got, want) {
			t.Error("the restored stream goes on differently")
		}
	}
	if err := other.ReadState(first); err != nil {
		t.Fatal(err)
	}
	var again strings.Builder
	if err := other.WriteState(&again); err != nil || again.String() != string(first) {
		t.Errorf("saving a restored state gives other bytes (%v)", err)
	}

	// What does not fit is refused, and changes nothing.
	drawn, err := p.DrawWeights(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := session(t, p, drawn, 1).LoadState(path); err == nil || !strings.Contains(err.Error(), "of other weights") {
		t.Errorf("onto other weights: %v", err)
	}
	for _, c := range []struct {
		want   string
		change func(tensors map[string]Tensor, meta map[string]string)
	}{
		{"not a saved state", func(_ map[string]Tensor, m map[string]string) { delete(m, "memc.state") }},
		{"another format", func(_ map[string]Tensor, m map[string]string) { m["memc.state"] = "1" }},
		{"another program", func(_ map[string]Tensor, m map[string]string) { m["memc.program"] = "x" }},
		{"was saved on x, where this program keeps its states in another form than on tiny: its integers are counted otherwise", func(_ map[string]Tensor, m map[string]string) { m["memc.layout"], m["memc.target"] = "y", "x" }},
		{"in another form than on tiny: the tensor sum is F32 [3], the program's is F32 [2]", func(t map[string]Tensor, m map[string]string) {
			t["sum"], m["memc.layout"] = FromFloat32([]float32{1, 2, 3}), "y"
		}},
		{"no position", func(_ map[string]Tensor, m map[string]string) { m["memc.pos"] = "-1" }},
		{"no integer", func(_ map[string]Tensor, m map[string]string) { m["memc.int.len.len"] = "a" }},
		{"the program has", func(_ map[string]Tensor, m map[string]string) { m["memc.int.more"] = "1" }},
		{"the state's len.len is 9; it is from 0 to 3", func(_ map[string]Tensor, m map[string]string) { m["memc.int.len.len"] = "9" }},
		{"the state's len.len is -1; it is from 0 to 3", func(_ map[string]Tensor, m map[string]string) { m["memc.int.len.len"] = "-1" }},
		{"chunks is 44, and 43 rows", func(_ map[string]Tensor, m map[string]string) { m["memc.int.chunks.chunks"] = "44" }},
		{"chunks is -1, and 43 rows", func(_ map[string]Tensor, m map[string]string) { m["memc.int.chunks.chunks"] = "-1" }},
		{"the tensor keys has 43 rows; a stream at position 1000000000 has 1000000000", func(_ map[string]Tensor, m map[string]string) { m["memc.pos"] = "1000000000" }},
		{"has 2 tensors, the program has 3", func(t map[string]Tensor, _ map[string]string) { delete(t, "sum") }},
		{"lacks the tensor sum", func(t map[string]Tensor, _ map[string]string) { t["summ"] = t["sum"]; delete(t, "sum") }},
		{"the tensor sum is I32 [2]", func(t map[string]Tensor, _ map[string]string) { t["sum"] = FromInt32([]int32{1, 2}) }},
		{"the tensor keys is F32 [1 2]", func(t map[string]Tensor, _ map[string]string) { t["keys"] = FromFloat32([]float32{1, 2}, 1, 2) }},
		{"the tensor keys is F32 [3]", func(t map[string]Tensor, _ map[string]string) { t["keys"] = FromFloat32([]float32{1, 2, 3}) }},
	} {
		tensors, _, meta, err := safetensors.Decode(first)
		if err != nil {
			t.Fatal(err)
		}
		c.change(tensors, meta)
		bad := filepath.Join(dir, "bad")
		if err := safetensors.WriteFile(bad, tensors, meta); err != nil {
			t.Fatal(err)
		}
		if err := other.LoadState(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if got := feed(t, other, b); !slices.Equal(got, want) {
		t.Error("a refused state leaves a trace")
	}
}

func TestStateGrows(t *testing.T) {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 1)
	if n := s.StateBytes(); n != 16+8+8 {
		t.Errorf("a new session's state takes %d bytes", n)
	}
	feed(t, s, randomTokens(rand.New(rand.NewPCG(1, 1)), 100))
	if n := s.StateBytes(); n < 100*8+16 || n > 200*8+16 {
		t.Errorf("after 100 rows of 8 bytes the state takes %d bytes", n)
	}
}

func TestCallErrors(t *testing.T) {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 1)
	good := FromInt32([]int32{1, 2})
	for _, c := range []struct {
		entry string
		in    map[string]Tensor
		want  string
	}{
		{"backward", nil, `no entry point backward; it has ["forward" "last"]`},
		{"forward", map[string]Tensor{"token": good}, `no input token; its inputs are ["tokens"]`},
		{"forward", nil, "lacks its input tokens"},
		{"forward", map[string]Tensor{"tokens": FromFloat32([]float32{1})}, "holds F32, it takes I32"},
		{"forward", map[string]Tensor{"tokens": FromInt32([]int32{1, 2}, 1, 2)}, "has the shape [1 2], it takes [t]"},
		{"forward", map[string]Tensor{"tokens": FromInt32([]int32{1, 2}, 3)}, "takes 12 bytes, but there are 8"},
		{"forward", map[string]Tensor{"tokens": FromInt32([]int32{1, 5})}, "the value 5 at position 1 is not from 0 to 4"},
		{"forward", map[string]Tensor{"tokens": FromInt32([]int32{-1})}, "the value -1 at position 0"},
		{"forward", map[string]Tensor{"tokens": FromInt32(nil)}, "is given no rows"},
		{"forward", map[string]Tensor{"tokens": {Elem: 99}}, "element type 99"},
	} {
		if _, err := s.Call(context.Background(), c.entry, c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if s.Pos() != 0 {
		t.Errorf("refused calls move the position to %d", s.Pos())
	}
	if err := s.Run(context.Background(), 2, nil, nil); err == nil {
		t.Error("entry 2 of 2 runs")
	}
	if err := s.Run(context.Background(), 0, nil, nil); err == nil {
		t.Error("a call without inputs runs")
	}
	if _, err := p.NewSession(nil, Options{}); err == nil || !strings.Contains(err.Error(), "reads 2 weights and is given none") {
		t.Errorf("a session without weights: %v", err)
	}
	if _, err := tiny(t).NewSession(s.Weights(), Options{}); err == nil {
		t.Error("weights of another program are taken")
	}
	s.Close()
	if _, err := s.Call(context.Background(), "forward", map[string]Tensor{"tokens": good}); !errors.Is(err, errClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

// stopAfter is a context that ends when it has been asked so many times.
type stopAfter struct {
	context.Context
	left int
}

func (c *stopAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancel(t *testing.T) {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 1)
	tokens := randomTokens(rand.New(rand.NewPCG(2, 2)), 40)
	_, err := s.Call(&stopAfter{context.Background(), 4}, "forward", map[string]Tensor{"tokens": FromInt32(tokens)})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "after 18 of 40 rows") {
		t.Errorf("cancelled: %v", err)
	}
	if s.Pos() != 18 {
		t.Fatalf("the position is %d", s.Pos())
	}
	want, _ := oracle(tokens)
	if got := feed(t, s, tokens[18:]); !slices.Equal(got, want[36:]) {
		t.Error("the stream does not go on where it was stopped")
	}
}

func TestWeights(t *testing.T) {
	p := tiny(t)
	w := tinyWeights(t, p)
	if got := w.Extra(); !slices.Equal(got, []string{"other"}) {
		t.Errorf("extra tensors %q", got)
	}
	id, err := w.Identity()
	if again, _ := tinyWeights(t, p).Identity(); err != nil || again != id {
		t.Errorf("the same weights are called %s and %s (%v)", id, again, err)
	}
	a, _ := p.DrawWeights(1)
	b, _ := p.DrawWeights(2)
	ida, _ := a.Identity()
	if idb, _ := b.Identity(); ida == idb {
		t.Error("two seeds give the same weights")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "w.safetensors")
	for _, c := range []struct {
		want    []string
		tensors map[string]Tensor
	}{
		{[]string{"embed.weight is missing: is it called embed.weights here?", "sum.start is missing"}, map[string]Tensor{"embed.weights": FromFloat32(tinyTable)}},
		{[]string{"embed.weight is missing: is it called model.embed.weight here?"}, map[string]Tensor{"model.embed.weight": FromFloat32(tinyTable)}},
		{[]string{"embed.weight has the shape [5 2], the program wants [2 5]", "sum.start: it holds I32"}, map[string]Tensor{"embed.weight": FromFloat32(tinyTable, 5, 2), "sum.start": FromInt32([]int32{1, 2})}},
	} {
		if err := safetensors.WriteFile(path, c.tensors, nil); err != nil {
			t.Fatal(err)
		}
		_, err := p.LoadWeights(path)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	}
	f, err := w.Float32("embed.weight")
	if err != nil || !slices.Equal(f, tinyTable) {
		t.Errorf("embed.weight is %v, %v", f, err)
	}
	if _, err := w.Float32("other"); err == nil {
		t.Error("a tensor that is no weight of the program is given")
	}
}

func TestOpen(t *testing.T) {
	needNative(t)
	path := filepath.Join(t.TempDir(), "tiny.memc")
	if err := artifact.WriteFile(path, tinyArtifact()); err != nil {
		t.Fatal(err)
	}
	p, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name() != "tiny" || p.Target() != "tiny" || len(p.Identity()) != 64 || p.Artifact() == nil {
		t.Errorf("%q %q %q", p.Name(), p.Target(), p.Identity())
	}
	in, out := []Port{{Name: "tokens", Elem: "i32", Dims: []string{"t"}}}, []Port{{Name: "y", Elem: "f32", Dims: []string{"t", "2"}}}
	want := []Entry{
		{Name: "forward", Doc: "The sum of the chunks before, and a row from half way.", Inputs: in, Outputs: out},
		{Name: "last", Doc: "The sum alone.", Inputs: in, Outputs: out},
	}
	if diff := cmp.Diff(want, p.Entries()); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		name, want, target string
		change             func(t *artifact.Target)
		machine            bool // the machine is at fault
	}{
		{"target", `no target avx9; it has ["tiny"]`, "avx9", func(*artifact.Target) {}, false},
		{"features", "target tiny needs quantum, which this processor", "", func(t *artifact.Target) { t.Features = []string{"sse2", "quantum"} }, true},
		{"format", `nothing in this program runs the format "brain"`, "", func(t *artifact.Target) { t.Format = "brain" }, true},
		{"plan", "the plan: 1:1: expected", "", func(t *artifact.Target) { t.Plan = "nonsense" }, false},
		{"verify", "the plan: slab is 0", "", func(t *artifact.Target) { t.Plan = strings.Replace(t.Plan, "slab 6", "slab 0", 1) }, false},
		{"walk", "lacks the function walk", "", func(t *artifact.Target) { delete(t.Symbols, "walk") }, false},
		{"work", "lacks the function work; compile the program again", "", func(t *artifact.Target) { delete(t.Symbols, "work") }, false},
		{"symbol", "is at byte 5000 of", "", func(t *artifact.Target) { t.Symbols["keep"] = 5000 }, false},
		{"scratch", "needs -1 bytes of scratch", "", func(t *artifact.Target) { t.Scratch["keep"] = -1 }, false},
		{"weights", "the weight embed.weight holds i32", "", func(t *artifact.Target) {
			t.Plan = strings.Replace(strings.Replace(t.Plan, `"table" weight f32`, `"table" weight i32`, 1), "(i32 [6], f32", "(i32 [6], i32", 1)
		}, false},
	} {
		a := tinyArtifact()
		c.change(&a.Targets[0])
		_, err := New(a, c.target)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		var lacks *Unsupported
		if errors.As(err, &lacks) != c.machine {
			t.Errorf("%s: whose fault it is, is told wrongly: %v", c.name, err)
		}
	}
}

// TestSteadyCallAllocates holds a decode call to no allocation at all.
func TestSteadyCallAllocates(t *testing.T) {
	p := tiny(t)
	s := session(t, p, tinyWeights(t, p), 1)
	in, out := []Tensor{FromInt32([]int32{3})}, make([]Tensor, 1)
	ctx := context.Background()
	for range 2000 {
		if err := s.Run(ctx, 0, in, out); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(40, func() { // no growth: room doubles
		if err := s.Run(ctx, 0, in, out); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("a steady call allocates %v times", n)
	}
}

// TestSleepingWorkers gives workers time to fall asleep, wakes them, and ends
// sessions without Close.
func TestSleepingWorkers(t *testing.T) {
	p := tiny(t)
	w := tinyWeights(t, p)
	before := goruntime.NumGoroutine()
	for range 5 {
		s, err := p.NewSession(w, Options{Threads: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			feed(t, s, []int32{1, 2, 3})
			for range i % 7 * 20_000 {
				goruntime.KeepAlive(s)
			}
		}
	}
	for range 1000 {
		goruntime.GC()
		if goruntime.NumGoroutine() <= before {
			return
		}
		goruntime.Gosched()
	}
	t.Errorf("%d goroutines are left of sessions that nothing refers to, %d before", goruntime.NumGoroutine(), before)
}

func TestDrawnWeightsRun(t *testing.T) {
	p := tiny(t)
	w, err := p.DrawWeights(42)
	if err != nil {
		t.Fatal(err)
	}
	y := feed(t, session(t, p, w, 1), []int32{4})
	table, err := w.Float32("embed.weight")
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{1.5 + table[4], 1.5 + table[9]}; !slices.Equal(y, want) || math.Abs(float64(table[4])) > 3 {
		t.Errorf("got %v, want %v", y, want)
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := tiny(b)
			s := session(b, p, tinyWeights(b, p), threads)
			in, out := []Tensor{FromInt32([]int32{3})}, make([]Tensor, 1)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Run(ctx, 0, in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
