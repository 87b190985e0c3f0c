package memc_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// TestRowNumbers: compiled code reads rows of the table alone. What an input
// numbers is checked by the call, what a spec's constants number when it is
// compiled, and what is computed is taken to the table's nearest row.
func TestRowNumbers(t *testing.T) {
	const head = "clock t\ndim d = 16, rows = 16\nfn row(i) = gather(weight(\"w\")[rows, d], i)\nentry forward(n i32[t], m i32[t]) -> y f32[t, d] = "
	spec := func(t *testing.T, body string) string {
		file := filepath.Join(t.TempDir(), "rows.spec")
		if err := os.WriteFile(file, []byte(head+body+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const far = 1 << 30
	for _, c := range []struct {
		body string
		n, m []int32
		want []int32 // the rows
		err  string
	}{
		{"row(n)", []int32{3, 15}, []int32{far, -far}, []int32{3, 15}, ""},
		{"row(n)", []int32{3, 16}, []int32{0, 0}, nil, "the value 16 at position 1 is not from 0 to 15"},
		{"row(if n < 2 then n else m)", []int32{0, 5}, []int32{3, 16}, nil, "the value 16 at position 1"},
		{"row(n * m)", []int32{2, far, far}, []int32{5, 1, -1}, []int32{10, 15, 0}, ""},
		{"row((n * 31 + shift(m, 1)) mod rows)", []int32{1, 2, -1}, []int32{4, far, 0}, []int32{15, 2, 1}, ""},
		{"row((n as f32 * 2) as i32)", []int32{3, far, -far}, []int32{0, 0, 0}, []int32{6, 15, 0}, ""},
		{"row(n as f32 as i32)", []int32{3, far, -far}, []int32{0, 0, 0}, []int32{3, 15, 0}, ""},
		{"row(shift(n, 1))", []int32{7, 9, 2}, []int32{0, 0, 0}, []int32{0, 7, 9}, ""},
	} {
		for _, target := range native(t) {
			t.Run(c.body+"/"+target, func(t *testing.T) {
				for _, cut := range []int{1, 100} {
					p := programs(t, spec(t, c.body), nil, memc.Options{}, target)[0]
					weights, err := p.DrawWeights(1)
					if err != nil {
						t.Fatal(err)
					}
					w, err := weights.Float32("w")
					if err != nil {
						t.Fatal(err)
					}
					s, err := p.NewSession(weights, runtime.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					var got []float32
					for at := 0; at < len(c.n); at += cut {
						end := min(at+cut, len(c.n))
						out, err := s.Call(context.Background(), "forward", map[string]runtime.Tensor{"n": runtime.FromInt32(c.n[at:end]), "m": runtime.FromInt32(c.m[at:end])})
						if c.err != "" {
							if cut > 1 && (err == nil || !strings.Contains(err.Error(), c.err)) {
								t.Errorf("got %v, want %q", err, c.err)
							}
							return
						}
						if err != nil {
							t.Fatal(err)
						}
						y, err := runtime.Float32(out["y"])
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, y...)
					}
					for i, r := range c.want {
						if got[16*i] != w[16*r] || got[16*i+15] != w[16*r+15] {
							t.Errorf("pieces of %d: row %d is not the table's row %d", cut, i, r)
						}
					}
				}
			})
		}
	}
	_, err := memc.Compile(context.Background(), spec(t, "row(index(t) + 16)"), memc.Options{Targets: []string{"sm_80"}})
	if err != nil {
		t.Errorf("what is computed is no fault of the spec: %v", err)
	}
	_, err = memc.Compile(context.Background(), spec(t, "row(if n < 2 then m as i64 else index(t) * 0 + 16)"), memc.Options{Targets: []string{"sm_80"}})
	if err == nil || !strings.Contains(err.Error(), "the rows of a table of 16 are numbered from 0; found numbers from 0 to 16") {
		t.Errorf("a constant outside: %v", err)
	}
}
