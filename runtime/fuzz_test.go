package runtime

import (
	"strings"
	"testing"
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
