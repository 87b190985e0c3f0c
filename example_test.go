package memc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

// A model is compiled for this machine, reads a stream with a key in it (1, then
// four symbols), and is asked for the key after a thousand tokens of noise (2).
func Example() {
	text, err := os.ReadFile("models/passkey-allmem/config.json")
	check(err)
	var config map[string]json.RawMessage
	check(json.Unmarshal(text, &config))

	ctx := context.Background()
	a, err := memc.Compile(ctx, "specs/allmem.spec", memc.Options{Config: config, Targets: memc.HostTargets()[:1]})
	check(err)
	p, err := runtime.New(a, "")
	check(err)
	w, err := p.LoadWeights("models/passkey-allmem")
	check(err)
	s, err := p.NewSession(w, runtime.Options{})
	check(err)
	defer s.Close()

	feed := func(tokens ...int32) int32 { // gives the likeliest next token
		out, err := s.Call(ctx, "next", map[string]runtime.Tensor{"tokens": runtime.FromInt32(tokens)})
		check(err)
		logits, err := runtime.Float32(out["logits"])
		check(err)
		best := 0
		for i, x := range logits {
			if x > logits[best] {
				best = i
			}
		}
		return int32(best)
	}

	feed(noise(0, 40)...)
	feed(1, 33, 60, 47, 52)
	state := s.StateBytes()
	feed(noise(40, 1000)...)
	got := []int32{feed(2)}
	for len(got) < 4 {
		got = append(got, feed(got[len(got)-1]))
	}
	fmt.Println("key", got, "after", s.Pos(), "tokens; the state grew by", s.StateBytes()-state, "bytes")
	// Output: key [33 60 47 52] after 1049 tokens; the state grew by 0 bytes
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// noise gives n tokens from 4 to 63.
func noise(from, n int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		x := uint64(from+i+1) * 0x9e3779b97f4a7c15
		x ^= x >> 31
		tokens[i] = 4 + int32(x*0xbf58476d1ce4e5b9>>33%60)
	}
	return tokens
}
