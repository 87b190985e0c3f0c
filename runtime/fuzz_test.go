package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/plan"
)

// FuzzReadState gives a session damaged states: it must refuse them or go on.
func FuzzReadState(f *testing.F) {
	p := tiny(f)
	w, err := p.DrawWeights(3)
	if err != nil {
		f.Fatal(err)
	}
	s := session(f, p, w, 1)
	for range 2 {
		var b strings.Builder
		if err := s.WriteState(&b); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(b.String()))
		feed(f, s, []int32{1, 2, 3, 4, 0, 1, 2})
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if s.ReadState(file) != nil {
			return
		}
		var b strings.Builder
		if err := s.WriteState(&b); err != nil {
			t.Fatal(err)
		}
		if s.Pos() < 1<<20 {
			feed(t, s, []int32{4, 3, 2, 1, 0, 1, 2})
		}
	})
}

// FuzzCodedWeights loads damaged files of quantised weights: they are refused, or hold
// numbers that quantising makes.
func FuzzCodedWeights(f *testing.F) {
	shape := []int{3, 35}
	for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
		_, to := quantisedFile(f, e, shape)
		b, err := os.ReadFile(to)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "w")
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
			w, err := reading("w", shape, e).LoadWeights(path)
			if err != nil || w.coded["w"] == nil {
				continue
			}
			v, err := w.Quantised("w", e)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range v {
				if !plan.Quantisable(x / 2) { // the scale was rounded up
					t.Fatalf("a weight is %v", x)
				}
			}
			w.file.Close()
		}
	})
}
