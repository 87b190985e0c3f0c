package frontend_test

import (
	"testing"

	"github.com/memc-lang/memc/frontend"
)

// BenchmarkLoad elaborates a model of 28 layers with a memory each.
func BenchmarkLoad(b *testing.B) {
	config := values(b, `{"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
		"intermediate_size": 3072, "vocab_size": 151936, "window": 4096, "mem_heads": 4, "mem_head_dim": 256, "mem_hidden": 256, "chunk": 2048}`)
	for b.Loop() {
		if _, d := frontend.Load("../specs/allmem.spec", nil, nil, config); d != nil {
			b.Fatal(d)
		}
	}
}
