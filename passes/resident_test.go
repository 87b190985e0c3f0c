package passes_test

import (
	"slices"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/passes"
)

// TestWeightsStay: of a memory whose weights fit, whole chunks run in one launch,
// which loads them before its first chunk and stores them behind its last one.
func TestWeightsStay(t *testing.T) {
	for _, c := range []struct {
		golden   string
		resident int
		stay     int // states that do, of each kernel that walks through chunks
	}{
		{"allmem-tiny", 1 << 14, 3},
		{"lact-tiny", 1 << 14, 0},       // its write is several groups
		{"allmem-tiny", 1 << 4, 0},      // too few
		{"ttt-linear-tiny", 1 << 14, 0}, // its rows are
	} {
		m, _ := load(t, c.golden)
		tiling := passes.DefaultTiling
		tiling.Resident = c.resident
		p := loweredWith(t, m, passes.Options{Target: "test", Slab: 64, Tiling: tiling, Fuse: true})
		if got := slices.ContainsFunc(p.Kernels, isRun); got != (c.stay > 0) {
			t.Errorf("%s, %d elements: whole chunks run in one launch: %t", c.golden, c.resident, got)
		}
		for _, k := range p.Kernels {
			if !isRun(k) {
				continue
			}
			body := k.Parts[0].Body
			at := slices.IndexFunc(body, func(s kernel.Stmt) bool { _, ok := s.(*kernel.For); return ok })
			inside := map[*kernel.Buf]bool{}
			kernel.Each(body[at:at+1], func(s kernel.Stmt) {
				switch s := s.(type) {
				case *kernel.Load:
					inside[s.Buf] = true
				case *kernel.Store:
					inside[s.Buf] = true
				}
			})
			loaded, stay := map[*kernel.Buf]bool{}, 0
			for _, s := range body[:at] {
				if l, ok := s.(*kernel.Load); ok {
					loaded[l.Buf] = true
				}
			}
			for _, s := range body[at+1:] {
				if st, ok := s.(*kernel.Store); ok && loaded[st.Buf] && !inside[st.Buf] {
					stay++
				}
			}
			if stay != c.stay {
				t.Errorf("%s: %d states stay, want %d\n%s", c.golden, stay, c.stay, k)
			}
		}
	}
}
