package runtime

import (
	"testing"

	"github.com/memc-lang/memc/ir/plan"
)

// BenchmarkQuantise: what loading weights with codes takes, on one processor.
func BenchmarkQuantise(b *testing.B) {
	for _, e := range []plan.Elem{plan.Q8, plan.Q4} {
		b.Run(e.String(), func(b *testing.B) {
			const rows, cols, panel = 32, 1024, 32
			v := make([]float32, rows*cols)
			drawReader(1, "w", plan.Init{Kind: "normal", Scale: 1})(v, 0)
			j := job{tensor: "w", layout: layoutOf(e, []int{rows, cols}, panel), to: make([]byte, e.MatrixBytes(rows, cols, panel)), elem: e}
			b.SetBytes(4 * rows * cols)
			for b.Loop() {
				if err := j.quantise(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
