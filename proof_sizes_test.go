package memc_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/memc-lang/memc"
)

var sizes = flag.Int("sizes", 3, "how many random sizes TestSizes tries of each spec")

// sizesTolerance is that of the golden cases, with room for memories whose
// chunks are a few tokens long: they amplify rounding most.
const sizesTolerance = 1e-3

// TestSizes: the specs at sizes that nobody would choose: chunks of one token,
// windows of one row and larger than the stream, heads and widths that no tile
// divides. Compiled code is near the interpreter and does not depend on cuts.
func TestSizes(t *testing.T) {
	targets := native(t)
	for name, draw := range drawSizes {
		for seed := range uint64(*sizes) {
			rng := rand.New(rand.NewPCG(seed, 4))
			pick := func(from ...int) int { return from[rng.IntN(len(from))] }
			set := map[string]json.RawMessage{}
			for k, v := range draw(pick) {
				set[k] = json.RawMessage(v)
			}
			rows := pick(1, 2, 63, 64, 65, 129, 200)
			target := targets[rng.IntN(len(targets))]
			o := memc.Options{Slab: pick(16, 64, 128), NoFuse: rng.IntN(4) == 0}
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				text, err := json.Marshal(set)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s, %d rows, slabs of %d, unfused %t, %s", text, rows, o.Slab, o.NoFuse, target)
				in := tokens(seed, rows, 50)
				var want *stream
				for _, p := range programs(t, "specs/"+name+".spec", set, o, "interp", target) {
					w, err := p.DrawWeights(seed)
					if err != nil {
						t.Fatal(err)
					}
					x := begin(t, p, w, 1, "forward", in).rest(every(1 << 20))
					if want == nil {
						want = x
						continue
					}
					if e := relative(t, x.out["logits"], want.out["logits"]); !(e <= sizesTolerance) {
						t.Errorf("relative error %g, want at most %g", e, sizesTolerance)
					}
					begin(t, p, w, 2, "forward", in).rest(random(seed, 30)).same(x, "random pieces")
					begin(t, p, w, 1, "forward", in).rest(every(1)).same(x, "token by token")
				}
			})
		}
	}
}

// drawSizes draws parameters for each spec.
var drawSizes = map[string]func(pick func(...int) int) map[string]string{
	"qwen3": func(pick func(...int) int) map[string]string {
		return with(decoder(pick), "window", pick(0, 1, 2, 15, 63, 64, 65, 300), "sinks", pick(0, 1, 5, 64, 70))
	},
	"allmem": func(pick func(...int) int) map[string]string {
		return with(decoder(pick), "window", pick(0, 1, 7, 64, 65, 300), "sinks", pick(0, 0, 1, 9), "chunk", pick(1, 2, 7, 63, 64, 65, 130),
			"mem_heads", pick(1, 2, 3), "mem_head_dim", pick(1, 5, 8, 16, 33), "mem_hidden", pick(1, 3, 20, 40))
	},
	"lact": func(pick func(...int) int) map[string]string {
		return with(decoder(pick), "window", pick(1, 7, 64, 65, 300), "chunk", pick(2, 7, 63, 64, 65, 130),
			"mem_heads", pick(1, 2, 3), "mem_head_dim", pick(2, 5, 8, 16, 33), "mem_hidden", pick(2, 3, 20, 40))
	},
	"ttt_linear": func(pick func(...int) int) map[string]string {
		set := decoder(pick)
		heads := pick(1, 2, 3)
		return with(set, "num_attention_heads", heads, "num_key_value_heads", heads, "hidden_size", heads*pick(2, 6, 16), "mini_batch_size", pick(1, 2, 7, 16, 63, 65))
	},
	"comet": func(pick func(...int) int) map[string]string {
		set := with(decoder(pick), "chunk_size", pick(1, 2, 7, 31, 32, 64, 70), "temp_beacon_stride", pick(1, 3, 8, 100), "temp_mem_budget", pick(1, 2, 9, 40), "temp_beacon_id", 3)
		n := pick(1, 2, 5)
		ids, _ := json.Marshal([]int{4, 5, 6, 7, 8}[:n])
		set["global_beacon_ids"] = string(ids)
		return with(set, "global_mem_size", n)
	},
}

func decoder(pick func(...int) int) map[string]string {
	groups := pick(1, 2)
	return with(map[string]string{}, "hidden_size", pick(4, 17, 32, 64), "vocab_size", pick(50, 64, 101), "intermediate_size", pick(1, 10, 33, 64),
		"num_hidden_layers", pick(1, 1, 2), "num_attention_heads", groups*pick(1, 2, 3), "num_key_value_heads", groups, "head_dim", pick(2, 6, 16, 34))
}

func with(set map[string]string, pairs ...any) map[string]string {
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i].(string)] = fmt.Sprint(pairs[i+1])
	}
	return set
}
