package runtime

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// TestLayout compares every element's place with kernel.Buf.Offset.
func TestLayout(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for range 300 {
		dims := make([]int, rng.IntN(5))
		total := 1
		for i := range dims {
			dims[i] = 1 + rng.IntN(7)
			total *= dims[i]
		}
		panel := 0
		if len(dims) > 1 && rng.IntN(3) > 0 {
			panel = 1 + rng.IntN(5)
		}
		e := []plan.Elem{plan.F32, plan.BF16, plan.I64, plan.Bool}[rng.IntN(4)]
		pairs := panel > 0 && e == plan.BF16 && dims[len(dims)-1]%2 == 0
		size, err := plan.Bytes(e, dims, panel)
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]byte, total*e.Size())
		for i := range rows {
			rows[i] = byte(rng.Uint32())
		}
		l := weightLayout(&plan.Buffer{Elem: e, Dims: dims, Panel: panel, Pairs: pairs})
		buffer := make([]byte, size)
		if rng.IntN(2) == 0 { // as a file may hold it
			rows = append(make([]byte, 1, len(rows)+1), rows...)[1:]
		}
		pack(l, buffer, rows)
		buf := kernel.Buf{Elem: e, Dims: dims, Panel: panel, Pairs: pairs}
		for i := range total {
			idx := make([]*ints.Expr, len(dims))
			for d, rest := len(dims)-1, i; d >= 0; d-- {
				idx[d] = ints.C(int64(rest % dims[d]))
				rest /= dims[d]
			}
			at, ok := buf.Offset(idx).IsConst()
			if !ok {
				t.Fatal("the offset is no constant")
			}
			if s := e.Size(); !bytes.Equal(buffer[int(at)*s:][:s], rows[i*s:][:s]) {
				t.Fatalf("%s %v panel %d, pairs %t: element %d is not at %d", e, dims, panel, pairs, i, at)
			}
		}
		odd := make([]byte, len(rows)+1)[1:]
		for g := range l.groups() {
			at, n, _ := l.piece(g)
			l.get(odd[at*l.size:][:n*l.cols*l.size], buffer, g)
		}
		if !bytes.Equal(unpack(l, buffer), rows) || !bytes.Equal(odd, rows) {
			t.Fatalf("%s %v panel %d: unpacked differently", e, dims, panel)
		}
	}
}

// TestDraw checks that elements do not depend on how they are asked for, and
// that the distributions are what they are called.
func TestDraw(t *testing.T) {
	for _, init := range []plan.Init{{Kind: "zeros"}, {Kind: "const", Scale: 3}, {Kind: "normal", Scale: 2}, {Kind: "uniform", Scale: 3}} {
		read := drawReader(7, "a.b", init)
		whole := make([]float32, 100_000)
		read(whole, 0)
		for from := 0; from < 1000; from += 37 {
			part := make([]float32, 50)
			read(part, from)
			if !slices.Equal(part, whole[from:from+50]) {
				t.Fatalf("%s: elements from %d differ when drawn alone", init.Kind, from)
			}
		}
		mean, square, largest := 0.0, 0.0, 0.0
		for _, f := range whole {
			mean += float64(f) / float64(len(whole))
			square += float64(f) * float64(f) / float64(len(whole))
			largest = max(largest, math.Abs(float64(f)))
		}
		want := map[string][3]float64{"zeros": {0, 0, 0}, "const": {3, 9, 3}, "normal": {0, 4, 8.4}, "uniform": {0, 3, 3}}[init.Kind]
		if math.Abs(mean-want[0]) > 0.03 || math.Abs(square-want[1]) > 0.06 || math.Abs(largest-want[2]) > 0.3 {
			t.Errorf("%s: mean %v, mean square %v, largest %v; want about %v", init.Kind, mean, square, largest, want)
		}
	}
	read := func(seed uint64, name string) []float32 {
		v := make([]float32, 4)
		drawReader(seed, name, plan.Init{Kind: "normal", Scale: 1})(v, 0)
		return v
	}
	if a := read(1, "a"); slices.Equal(a, read(2, "a")) || slices.Equal(a, read(1, "b")) {
		t.Error("another seed or another name draws the same")
	}
	// Drawn weights are part of what "the same program" means: these never change.
	if got, want := read(42, "model.embed_tokens.weight"), []float32{-1.3725178, 1.1489908, -0.67461663, -0.44377115}; !slices.Equal(got, want) {
		t.Errorf("the draw has changed: %v, was %v", got, want)
	}
}

// TestPackElems converts each source type to each buffer type.
func TestPackElems(t *testing.T) {
	needNative(t)
	le := binary.LittleEndian
	values := []float64{1, -1.0 / 3, math.Pi, 65000, 1e-6, 0x1.01p0, 0x1.010000001p0, math.Copysign(0, -1), 0x1.03p0, 3}
	sources := map[Elem][]byte{}
	for _, v := range values {
		sources[F64] = le.AppendUint64(sources[F64], math.Float64bits(v))
		sources[F32] = le.AppendUint32(sources[F32], math.Float32bits(float32(v)))
		sources[BF16] = le.AppendUint16(sources[BF16], toBrain(float32(v)))
		sources[F16] = le.AppendUint16(sources[F16], toHalf(float32(v)))
	}
	text := `plan "x"
slab 1
arena 0
record 2
buffer 0 "a" weight f32 [2, 5] panel 3 bytes 60 tensor "w" shape [2, 5] init "zeros" 0
buffer 1 "b" weight bf16 [5, 2] panel 4 bytes 32 tensor "w" shape [2, 5] init "zeros" 0
buffer 2 "c" weight f16 [10] bytes 20 tensor "w" shape [2, 5] init "zeros" 0
buffer 3 "d" table i32 [1] bytes 4 data "BwAAAA=="
slot 0 pos
slot 1 n
`
	for elem, data := range sources {
		path := filepath.Join(t.TempDir(), "w.safetensors")
		if err := safetensors.WriteFile(path, map[string]Tensor{"w": {Elem: elem, Shape: []int{2, 5}, Data: data}}, nil); err != nil {
			t.Fatal(err)
		}
		p, err := plan.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		target := tinyArtifact().Targets[0]
		e, err := newNative(p, &target)
		if err != nil {
			t.Fatal(err)
		}
		w, err := FromEngine("x", "x", "x", e).LoadWeights(path)
		if err != nil {
			t.Fatal(err)
		}
		source := Tensor{Elem: elem, Shape: []int{2, 5}, Data: data}
		exact := make([]float32, len(values))
		rounded, err := Float32(source)
		if err != nil {
			t.Fatal(err)
		}
		read, _ := floatReader(source, true)
		read(exact, 0)
		for i := range 3 {
			b := &p.Buffers[i]
			src := exact
			if b.Elem == plan.F32 {
				src = rounded
			}
			want := make([]byte, len(values)*b.Elem.Size())
			narrow(want, src, b.Elem)
			if got := unpack(weightLayout(b), w.packed.buffer(p, i)); !bytes.Equal(got, want) {
				t.Errorf("%s to %s: %x, want %x", elem, b.Elem, got, want)
			}
		}
		if got := w.packed.buffer(p, 3); got[0] != 7 {
			t.Errorf("the table holds %v", got)
		}
		for i, at := range w.packed.place {
			if at%64 != 0 || at+p.Buffers[i].Bytes+64 > w.packed.region.Len() {
				t.Errorf("buffer %d lies at %d", i, at)
			}
		}
	}
}
