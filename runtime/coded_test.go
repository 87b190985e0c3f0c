package runtime

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// reads is an engine that reads weights and does nothing.
type reads []Param

func (r reads) Entries() []Entry                              { return nil }
func (r reads) Params() []Param                               { return r }
func (r reads) NewMachine(*Weights, Options) (Machine, error) { return nil, errors.New("no machine") }

func reading(name string, shape []int, as ...plan.Elem) *Program {
	return FromEngine("x", "x", "x", reads{{Name: name, Shape: shape, Init: plan.Init{Kind: "zeros"}, Stored: as}})
}

// quantisedFile writes drawn weights with a tensor besides, and what quantising them
// gives.
func quantisedFile(t testing.TB, e plan.Elem, shape []int) (from, to string) {
	t.Helper()
	dir := t.TempDir()
	from, to = filepath.Join(dir, "from"), filepath.Join(dir, "to")
	v := make([]float32, count(shape))
	drawReader(1, "w", plan.Init{Kind: "normal", Scale: 1})(v, 0)
	for i := range min(len(v), 70) { // groups of nothing, of tiny numbers and of large ones
		v[i] = []float32{0, 1e-40, 1e30}[i/35%3]
	}
	err := safetensors.WriteFile(from, map[string]Tensor{"w": FromFloat32(v, shape...), "x.scales": FromInt32([]int32{7})}, map[string]string{"format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	w := loaded(t, reading("w", shape, e), from)
	q, err := w.WriteQuantised(context.Background(), to)
	if err != nil {
		t.Fatal(err)
	}
	if q.Types["w"] != e || q.Copied != 1 || q.Elements != int64(len(v)) {
		t.Errorf("%+v", q)
	}
	return from, to
}

func loaded(t testing.TB, p *Program, path string) *Weights {
	t.Helper()
	w, err := p.LoadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestCodedWeights: codes of a file are those that loading makes, in every layout;
// the identity too is the same, and other programs read code times scale.
func TestCodedWeights(t *testing.T) {
	for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
		for _, shape := range [][]int{{1, 1}, {3, 33}, {70, 64}, {40, 100}, {9, 7}, {2, 5, 65}, {300, 512}, {33}, {4, 0}, {0, 4}} {
			from, to := quantisedFile(t, e, shape)
			p := reading("w", shape, e)
			a, b := loaded(t, p, from), loaded(t, p, to)
			what := fmt.Sprintf("%s %v", e, shape)
			for _, panel := range []int{0, 8, 32} {
				if len(shape) < 2 && panel > 0 {
					continue
				}
				size, err := plan.Bytes(e, shape, panel)
				if err != nil {
					t.Fatal(err)
				}
				lies := &plan.Plan{Buffers: []plan.Buffer{{Elem: e, Dims: shape, Panel: panel, Bytes: size, Tensor: "w", Shape: shape}}}
				x, err := packPlan(lies, a)
				if err != nil {
					t.Fatal(err)
				}
				y, err := packPlan(lies, b)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(x.buffer(lies, 0), y.buffer(lies, 0)) {
					t.Errorf("%s in panels of %d: the file's codes lie otherwise than those that loading makes", what, panel)
				}
				want, err := a.Quantised("w", e)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range want[:len(want)*max(min(3-len(shape), 1), 0)] { // of one matrix
					ks := shape[len(shape)-1]
					code, scale, shift := e.Place(int64(i/ks), int64(i%ks), int64(ks), panel)
					m := y.buffer(lies, 0)
					c := float32(int8(m[code]))
					if e == plan.Q4 {
						c = float32(binary.LittleEndian.Uint32(m[code:])>>shift&15) - 8
					}
					if got := c * fromBrain(binary.LittleEndian.Uint16(m[scale:])); got != v {
						t.Fatalf("%s in panels of %d: element %d is %v, want %v", what, panel, i, got, v)
					}
				}
			}
			want, err := a.Quantised("w", e)
			if err != nil {
				t.Fatal(err)
			}
			source, _ := a.Float32("w")
			rounded := slices.Clone(source)
			e.Round(rounded, shape[len(shape)-1])
			got, err := b.Quantised("w", e)
			if err != nil || !slices.Equal(got, want) || !slices.Equal(want, rounded) {
				t.Errorf("%s: the file's values are others: %v", what, err)
			}
			for _, as := range []plan.Elem{plan.F32, plan.BF16} {
				w := loaded(t, reading("w", shape, as), to)
				if got, err := w.Float32("w"); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: a program of %s reads others: %v", what, as, err)
				}
			}
			ida, erra := a.Identity()
			idb, errb := b.Identity()
			if ida != idb || erra != nil || errb != nil {
				t.Errorf("%s: the identity is %s or %s, %v, %v", what, ida, idb, erra, errb)
			}
			if extra := b.Extra(); !slices.Equal(extra, []string{"x.scales"}) {
				t.Errorf("%s: unread are %q", what, extra)
			}
			if b.file.Meta["format"] != "pt" || !bytes.Equal(b.file.Tensors["x.scales"].Data, []byte{7, 0, 0, 0}) {
				t.Errorf("%s: what is no weight was not copied", what)
			}
		}
	}
}

// TestCodedSize: a large matrix takes what its codes and scales take.
func TestCodedSize(t *testing.T) {
	for e, bits := range map[plan.Elem]float64{plan.Q8: 8.25, plan.Q4: 4.5} {
		_, to := quantisedFile(t, e, []int{512, 1024})
		st, err := os.Stat(to)
		if err != nil {
			t.Fatal(err)
		}
		if got := 8 * float64(st.Size()) / (512 * 1024); got < bits || got > bits+0.01 {
			t.Errorf("%s: %.3f bits an element, want %v", e, got, bits)
		}
	}
}

// TestHostileCodes: what memc does not write is refused, by the tensor's name and
// with what to do.
func TestHostileCodes(t *testing.T) {
	type parts struct {
		tensors map[string]Tensor
		meta    map[string]string
	}
	scale := func(v float32) func(*parts) {
		return func(p *parts) {
			binary.LittleEndian.PutUint16(p.tensors["w.scales"].Data[2:], uint16(math.Float32bits(v)>>16))
		}
	}
	kind := func(v string) func(*parts) { return func(p *parts) { p.meta["memc.quantized.w"] = v } }
	for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
		for _, c := range []struct {
			name, want string
			do         func(*parts)
			only       plan.Elem // 0: both
		}{
			{"no scales", "the tensor w: it is stored as q", func(p *parts) { delete(p.tensors, "w.scales") }, 0},
			{"no codes", "the file has no tensor w:", func(p *parts) { delete(p.tensors, "w") }, 0},
			{"nothing", "the tensor w is missing", func(p *parts) { clear(p.tensors); p.meta = nil }, 0},
			{"no metadata", "if these are codes", func(p *parts) { p.meta = nil }, 0},
			{"version", `is "2"; this memc reads "1"`, func(p *parts) { p.meta["memc.quantized"] = "2" }, 0},
			{"no version", `is ""; this memc reads "1"`, func(p *parts) { delete(p.meta, "memc.quantized") }, 0},
			{"type", `stored as "q5"; there are q8 and q4`, kind("q5 [40,67]"), 0},
			{"lying type", "where that is U8", kind("q4 [40,67]"), plan.Q8},
			{"lying type", "where that is I8", kind("q8 [40,67]"), plan.Q4},
			{"shape", "none of a weight", kind(e.String() + " 40x67"), 0},
			{"no shape", "none of a weight", kind(e.String()), 0},
			{"scalar", "none of a weight", kind(e.String() + " []"), 0},
			{"null", "none of a weight", kind(e.String() + " null"), 0},
			{"negative", "none of a weight", kind(e.String() + " [-40,67]"), 0},
			{"too large", "where that is", kind(e.String() + " [4611686018427387904,9223372036854775807]"), 0},
			{"other shape", "where that is", kind(e.String() + " [67,40]"), 0},
			{"another tensor", "the tensor v: it is stored as", func(p *parts) { p.meta["memc.quantized.v"] = "q8 [1,1]" }, 0},
			{"type of codes", "w is U16", func(p *parts) {
				x := p.tensors["w"]
				p.tensors["w"] = Tensor{Elem: safetensors.U16, Shape: x.Shape, Data: make([]byte, 2*len(x.Data))}
			}, 0},
			{"type of scales", "w.scales is F16", func(p *parts) { x := p.tensors["w.scales"]; x.Elem = F16; p.tensors["w.scales"] = x }, 0},
			{"shape of scales", "w.scales is BF16", func(p *parts) {
				p.tensors["w.scales"] = Tensor{Elem: BF16, Shape: []int{1}, Data: make([]byte, 2)}
			}, 0},
			{"NaN", "the tensor w: it has the scale NaN", scale(float32(math.NaN())), 0},
			{"infinite", "it has the scale +Inf", scale(float32(math.Inf(1))), 0},
			{"negative scale", "it has the scale -0.5", scale(-0.5), 0},
			{"minus zero", "it has the scale -0", scale(float32(math.Copysign(0, -1))), 0},
			{"absurd", "it has the scale 1", scale(1.2e30), 0},
			{"zero", "the scale 0 for codes that are not", scale(0), 0},
			{"least code", "the code -128", func(p *parts) { p.tensors["w"].Data[777] = 0x80 }, plan.Q8},
			{"least code", "the code -8", func(p *parts) { p.tensors["w"].Data[777] &= 0x0f }, plan.Q4},
			{"least code", "the code -8", func(p *parts) { p.tensors["w"].Data[34*3+33-1] &= 0xf0 }, plan.Q4},
			{"padding", "behind a row's last", func(p *parts) { p.tensors["w"].Data[34*3+33] |= 0x80 }, plan.Q4},
		} {
			if c.only != 0 && c.only != e {
				continue
			}
			_, to := quantisedFile(t, e, []int{40, 67})
			f, err := safetensors.Open(to)
			if err != nil {
				t.Fatal(err)
			}
			p := parts{map[string]Tensor{}, maps.Clone(f.Meta)}
			for name, x := range f.Tensors {
				x.Data = slices.Clone(x.Data)
				p.tensors[name] = x
			}
			f.Close()
			binary.LittleEndian.PutUint16(p.tensors["w.scales"].Data[2:], 0x3f80) // of codes that are not all 0
			p.tensors["w"].Data[rowCodes(e, e.Group())] = 0x99                    // -103, or 1 and 1
			c.do(&p)
			if err := safetensors.WriteFile(to, p.tensors, p.meta); err != nil {
				t.Fatal(err)
			}
			for _, as := range []plan.Elem{e, plan.F32} {
				_, err := reading("w", []int{40, 67}, as).LoadWeights(to)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s of %s, read as %s: %v, want %q", c.name, e, as, err, c.want)
				} else if c.name != "nothing" && !strings.Contains(err.Error(), "memc quantize") {
					t.Errorf("%s of %s: %v, which does not say what to do", c.name, e, err)
				}
			}
		}
	}
	_, to := quantisedFile(t, plan.Q8, []int{40, 67})
	for _, c := range []struct {
		p    *Program
		want string
	}{
		{reading("w", []int{40, 67}, plan.Q4), "the tensor w is stored as q8, and the program stores it as q4: give the original weights"},
		{reading("w", []int{67, 40}, plan.Q8), "the tensor w has the shape [40 67], the program wants [67 40]"},
	} {
		if _, err := c.p.LoadWeights(to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestWriteQuantisedFails: what cannot be written says why, and leaves nothing.
func TestWriteQuantisedFails(t *testing.T) {
	shape := []int{300, 512}
	from, to := quantisedFile(t, plan.Q8, shape)
	q8 := reading("w", shape, plan.Q8)
	link := filepath.Join(filepath.Dir(from), "link")
	if err := os.Link(from, link); err != nil {
		t.Skip("no links can be made here:", err)
	}
	drawn, err := q8.DrawWeights(1)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(filepath.Dir(from), "bad")
	v := make([]float32, count(shape))
	v[len(v)-1] = float32(math.NaN())
	if err := safetensors.WriteFile(bad, map[string]Tensor{"w": FromFloat32(v, shape...)}, nil); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(filepath.Dir(from), "taken")
	if err := safetensors.WriteFile(taken, map[string]Tensor{"w": FromFloat32(make([]float32, len(v)), shape...), "w.scales": FromFloat32(v[:1])}, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		w    *Weights
		path string
		want string
	}{
		{done, loaded(t, q8, from), out, "canceled"},
		{t.Context(), loaded(t, q8, from), from, "would replace"},
		{t.Context(), loaded(t, q8, from), link, "would replace"},
		{t.Context(), drawn, out, "drawn"},
		{t.Context(), loaded(t, q8, to), out, "nothing would change"},
		{t.Context(), loaded(t, reading("w", shape, plan.F32), from), out, "nothing would change"},
		{t.Context(), loaded(t, reading("w", shape, plan.F32, plan.Q8), from), out, "nothing would change"},
		{t.Context(), loaded(t, q8, bad), out, "the tensor w holds NaN, which cannot be stored as q8"},
		{t.Context(), loaded(t, q8, taken), out, "the tensor w.scales is there"},
		{t.Context(), loaded(t, q8, from), filepath.Join(dir, "no", "out"), "no such file"},
	} {
		if _, err := c.w.WriteQuantised(c.ctx, c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: files are left behind: %v", c.want, left)
		}
	}
	shrunk := loaded(t, q8, from)
	if err := os.Truncate(from, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := shrunk.WriteQuantised(t.Context(), out); err == nil || !strings.Contains(err.Error(), "shrank") {
		t.Errorf("of a file that shrinks: %v", err)
	}
	coded := loaded(t, q8, to)
	if err := os.Truncate(to, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := coded.Quantised("w", plan.Q8); err == nil || !strings.Contains(err.Error(), "shrank") {
		t.Errorf("of codes that shrink: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("files are left behind: %v", left)
	}
}
