package memc

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/memc-lang/memc/ir"
)

// TestWriteIsSpread: in a model of 0.6 billion weights, 28 layers of them with a
// memory of 4 heads x (3 x 256 x 256) weights that learns from chunks of 2048
// tokens, no token costs more than one and a half times what the median costs,
// neither in operations nor in bytes; of 4 bits a weight, which leave the states of the
// memories more than half of a token's bytes, 1.8 times. Both are counted, not measured.
func TestWriteIsSpread(t *testing.T) {
	for _, c := range []struct {
		weights, quantize, cache string
		flops, bytes             float64 // of the dearest token, in medians
	}{
		{"f32", "", "", 1.5, 1.5},
		{"bf16", "", "bf16", 1.5, 1.5},
		{"bf16", "q8", "q8", 1.5, 1.5},
		{"bf16", "q4", "q8", 1.5, 1.8},
	} {
		t.Run(fmt.Sprintf("weights %s %s, cache %s", c.weights, c.quantize, c.cache), func(t *testing.T) {
			const chunk, window = 2048, 4096
			m, err := Load("specs/allmem.spec", Options{Quantize: c.quantize, Cache: c.cache, Set: settings("hidden_size", "1024", "num_hidden_layers", "28", "intermediate_size", "3072",
				"num_attention_heads", "16", "num_key_value_heads", "8", "head_dim", "128", "vocab_size", "151936", "tie_word_embeddings", "true",
				"rms_norm_eps", "1e-6", "rope_theta", "1000000", "window", "4096", "mem_heads", "4", "mem_head_dim", "256", "mem_hidden", "256", "chunk", "2048",
				"weights", strconv.Quote(c.weights))})
			if err != nil {
				t.Fatal(err)
			}
			if m, err = Optimise(m, false, nil); err != nil {
				t.Fatal(err)
			}
			g := m.Entries[slices.IndexFunc(m.Entries, func(g *ir.Graph) bool { return g.Name == "next" })]
			// The chunk's blocks are alike: its first and its last 64 tokens stand for all.
			var flops, bytes []int64
			for at := int64(0); at < chunk; at++ {
				if at == 64 {
					at = chunk - 64
				}
				x, err := g.Cost(window+at, 1)
				if err != nil {
					t.Fatal(err)
				}
				flops, bytes = append(flops, x.Flops), append(bytes, x.Bytes)
			}
			for _, c := range []struct {
				what  string
				costs []int64
				most  float64
			}{{"operations", flops, c.flops}, {"bytes", bytes, c.bytes}} {
				last := c.costs[len(c.costs)-1]
				slices.Sort(c.costs)
				median, dearest := c.costs[len(c.costs)/2], c.costs[len(c.costs)-1]
				t.Logf("%s: median %d, dearest %d (%.2f), that of the write %d (%.2f)", c.what, median, dearest, float64(dearest)/float64(median), last, float64(last)/float64(median))
				if float64(dearest) > c.most*float64(median) {
					t.Errorf("the dearest token takes %d %s, the median %d", dearest, c.what, median)
				}
			}
		})
	}
}
