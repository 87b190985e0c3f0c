package memc_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime/artifact"
)

// TestCompileRepeats: compiling again gives the same bytes, so that states are
// restored and generated packages do not change.
func TestCompileRepeats(t *testing.T) {
	eachCase(t, func(t *testing.T, c goldenCase) {
		var first []byte
		for range 3 {
			a, err := memc.Compile(context.Background(), c.spec(), memc.Options{Set: c.Set, Targets: []string{"sm_80"}})
			if err != nil {
				t.Fatal(err)
			}
			b, err := artifact.Encode(a)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = b
			}
			if !bytes.Equal(b, first) {
				t.Fatal("the same spec and parameters give another artifact")
			}
		}
	})
}
