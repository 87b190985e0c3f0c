package memc_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// TestLinkedLaunches: launches that workers run without waiting in between, and of whose
// blocks who is free takes more, have the bits of one worker; so they have one by one.
func TestLinkedLaunches(t *testing.T) {
	const rows, heads, size = 1200, 4, 16
	rng := rand.New(rand.NewPCG(8, 1))
	in := map[string]runtime.Tensor{}
	for _, name := range []string{"q", "k", "v", "mem_q", "mem_k", "mem_v"} {
		in[name] = around0(rng, rows, heads, size)
	}
	in["rates"], in["keep"] = around0(rng, rows, 3, heads), around0(rng, rows, heads)
	set := parameters(t, fmt.Sprintf(`{"heads": %d, "attn_heads": %[1]d, "kv_heads": %[1]d, "head_dim": %d, "dim": %[2]d, "hidden": 24, "chunk": 1024, "window": 24}`, heads, size))
	for _, p := range programs(t, "specs/bench/hybrid.spec", set, memc.Options{Hybrid: "apart"}, native(t)...) {
		w, err := p.DrawWeights(5)
		if err != nil {
			t.Fatal(err)
		}
		want := begin(t, p, w, 1, "forward", in).rest(every(512))
		for _, threads := range []int{2, 3, 5} {
			for range 5 {
				begin(t, p, w, threads, "forward", in).rest(every(512)).same(want, fmt.Sprintf("%s, %d threads", p.Target(), threads))
			}
			beginWith(t, p, w, runtime.Options{Threads: threads, Profile: true}, "forward", in).rest(every(512)).same(want, fmt.Sprintf("%s, %d threads, timed", p.Target(), threads))
		}
	}
}
