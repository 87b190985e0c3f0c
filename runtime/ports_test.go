package runtime

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
)

// echoPlan runs no kernel: outputs lie where inputs do. It has an input for
// each way in which rows can arrive.
const echoPlan = `plan "echo"
slab 6
arena 448
record 4
buffer 0 "a" input i64 [6] bytes 48 at 0
buffer 1 "b" input f32 [2, 2] bytes 16 at 64
buffer 2 "c" input f32 [3] bytes 12 at 128
buffer 3 "d" input f32 [] bytes 4 at 192
buffer 4 "e" input bool [6] bytes 6 at 256
buffer 5 "ya" output i64 [6] bytes 48 at 0
buffer 6 "yb" output f32 [2, 2] bytes 16 at 64
buffer 7 "yc" output f32 [3] bytes 12 at 128
buffer 8 "yd" output f32 [] bytes 4 at 192
buffer 9 "ye" output bool [6] bytes 6 at 256
slot 0 pos
slot 1 n
slot 2 full = (pos + n) div 4 - pos div 4
slot 3 always = min(n, 2)
entry "echo" doc "" {
  input "a" buffer 0 i64 [6] names ["t"] below 1000 clock rows = n
  input "b" buffer 1 f32 [2, 2] names ["c", "d"] clock rows = full
  input "c" buffer 2 f32 [3] names ["e"]
  input "d" buffer 3 f32 [] names []
  input "e" buffer 4 bool [6] names ["f"] rows = always
  output "a" buffer 5 i64 [6] names ["t"] clock rows = n
  output "b" buffer 6 f32 [2, 2] names ["c", "d"] clock rows = full
  output "c" buffer 7 f32 [3] names ["e"]
  output "d" buffer 8 f32 [] names []
  output "e" buffer 9 bool [6] names ["f"] rows = always
}
entry "sized" doc "" {
  input "c" buffer 2 f32 [3] names ["e"]
  output "a" buffer 5 i64 [6] names ["t"] rows = 6 + pos
}
`

func TestPorts(t *testing.T) {
	needNative(t)
	p, err := New(&artifact.Artifact{Targets: []artifact.Target{{Name: "echo", Format: "amd64", Plan: echoPlan, Code: tinyCode, Symbols: tinyArtifact().Targets[0].Symbols}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession(nil, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bools := func(n int) Tensor { return Tensor{Elem: Bool, Shape: []int{n}, Data: []byte{1, 0, 1, 1, 1, 1}[:n]} }
	make1 := func(n, chunks, e int) map[string]Tensor {
		a := Tensor{Elem: I64, Shape: []int{n}}
		for i := range n {
			a.Data = binary.LittleEndian.AppendUint64(a.Data, uint64(i))
		}
		b := make([]float32, 2*chunks)
		for i := range b {
			b[i] = float32(i) + 0.5
		}
		return map[string]Tensor{"a": a, "b": FromFloat32(b, chunks, 2), "c": FromFloat32([]float32{7, 8, 9}), "d": {Elem: F32, Shape: []int{}, Data: FromFloat32([]float32{4}).Data}, "e": bools(e)}
	}
	for _, c := range []struct{ n, chunks, e int }{{3, 0, 2}, {14, 4, 2}, {1, 0, 1}, {2, 1, 2}} {
		in := make1(c.n, c.chunks, c.e)
		out, err := s.Call(context.Background(), "echo", in)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range in {
			if got := out[name]; got.Elem != want.Elem || !slices.Equal(got.Shape, want.Shape) || string(got.Data) != string(want.Data) {
				t.Errorf("%d rows at %d: %s is %v, want %v", c.n, s.Pos(), name, got, want)
			}
		}
	}
	at := s.Pos()
	for _, c := range []struct {
		in   map[string]Tensor
		want string
	}{
		{make1(3, 1, 2), "the input b of echo has 1 rows, it takes 0 here"},
		{make1(14, 2, 2), "the input b of echo has 2 rows, it takes 3 here"},
		{make1(7, 2, 2), "the input e of echo has 2 rows at first and 1 later"},
		{make1(2, 0, 1), "the input e of echo has 1 rows, it takes 2 here"},
	} {
		if _, err := s.Call(context.Background(), "echo", c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	in := make1(2, 0, 2)
	binary.LittleEndian.PutUint64(in["a"].Data[8:], 1000)
	if _, err := s.Call(context.Background(), "echo", in); err == nil || !strings.Contains(err.Error(), "the value 1000 at position 1") {
		t.Errorf("a value out of range: %v", err)
	}
	if _, err := s.Call(context.Background(), "sized", map[string]Tensor{"c": FromFloat32([]float32{1, 2, 3})}); err == nil || !strings.Contains(err.Error(), "there is room for 6") {
		t.Errorf("more rows than there is room for: %v", err)
	}
	if s.Pos() != at {
		t.Errorf("refused calls move the position from %d to %d", at, s.Pos())
	}
	if _, err := p.NewSession(nil, Options{Threads: 1 << 30}); err == nil {
		t.Error("a billion threads are started")
	}
}

// TestABI holds the constants that generated code shares.
func TestABI(t *testing.T) {
	var s plan.NativeStep
	var b plan.NativeBarrier
	if unsafe.Sizeof(s) != 64 || unsafe.Offsetof(s.Fn) != 8 || unsafe.Offsetof(s.Body) != 48 || unsafe.Offsetof(b.Pieces) != 384 || unsafe.Offsetof(b.Round) != 64 ||
		unsafe.Offsetof(b.Claimed) != 128 || unsafe.Offsetof(b.Done) != 192 || unsafe.Offsetof(b.Side) != 256 || unsafe.Offsetof(b.Side.Done) != 64 {
		t.Error("the step or the barrier has another layout than generated code reads")
	}
	var w plan.NativeTeam
	if unsafe.Offsetof(w.Left) != 64 || unsafe.Offsetof(w.Asleep) != 128 || unsafe.Offsetof(w.Waiting) != 192 || unsafe.Offsetof(w.Job) != 256 ||
		unsafe.Offsetof(w.Steps) != 264 || unsafe.Offsetof(w.Barrier) != 320 || unsafe.Offsetof(w.To) != 328 || unsafe.Offsetof(w.Rest) != 352 || unsafe.Offsetof(w.Walk) != 360 {
		t.Error("the team has another layout than generated code reads")
	}
}

// TestFeatureNames holds that every name in use is one that cpuid knows.
func TestFeatureNames(t *testing.T) {
	for _, f := range []string{"avx", "avx2", "fma", "f16c", "bmi", "bmi2", "avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512bf16", "avx512fp16", "avx512vnni", "amx-bf16", "amx-int8", "sse4.1", "sse4.2", "AVX2", "FMA3"} {
		if feature(f) == cpuid.UNKNOWN {
			t.Errorf("cpuid does not know %s", f)
		}
	}
	if err := supported("x", []string{"sse2"}); err != nil && nativeHere() == nil {
		t.Error(err)
	}
}
