package runtime

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc/runtime/artifact"
)

// TestAdoptWeights: another program computes with weights as if they had been
// loaded for it, and refuses what lies otherwise.
func TestAdoptWeights(t *testing.T) {
	p, q := tiny(t), tiny(t)
	w := tinyWeights(t, p)
	tokens := randomTokens(rand.New(rand.NewPCG(3, 4)), 30)
	want := feed(t, session(t, p, w, 1), tokens)
	if _, err := q.NewSession(w, Options{}); err == nil {
		t.Fatal("weights of another program are taken as they are")
	}
	adopted, err := q.AdoptWeights(w)
	if err != nil {
		t.Fatal(err)
	}
	if got := feed(t, session(t, q, adopted, 1), tokens); !slices.Equal(got, want) {
		t.Error("with adopted weights it computes something else")
	}
	a, b := tinyArtifact(), tinyArtifact()
	b.Targets[0].Plan = strings.Replace(tinyPlan, `"sum.start"`, `"sum.begin"`, 1)
	for _, x := range []*artifact.Artifact{a, b} {
		other, err := New(x, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.AdoptWeights(w); (err == nil) != (x == a) || err != nil && !strings.Contains(err.Error(), "as this program lays it out") {
			t.Errorf("onto a program whose tensors are others (%v): %v", x == b, err)
		}
	}
}
