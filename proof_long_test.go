package memc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
)

var longTokens = flag.Int("tokens", 1<<16, "the length of TestLongStreams' streams; the models hold a key over 1048576")

// passkey is a stream of models/README.md: a marked key near the start, noise,
// and at the end a query for the key.
type passkey struct {
	seed         uint64
	length, mark int
	key          []int32
}

func newPasskey(seed uint64, length int, depth float64, symbols int) *passkey {
	p := &passkey{seed: seed, length: length, mark: max(20, int(math.Floor(depth*float64(length-2*symbols-1))))}
	for j := range symbols {
		p.key = append(p.key, 32+int32(splitmix(seed<<32+1<<31+uint64(j))%32))
	}
	return p
}

func (p *passkey) token(i int) int32 {
	n := len(p.key)
	switch asked := i - (p.length - n); {
	case i == p.mark:
		return 1
	case i > p.mark && i <= p.mark+n:
		return p.key[i-p.mark-1]
	case asked == 0:
		return 2
	case asked > 0:
		return p.key[asked-1]
	}
	return 4 + int32(splitmix(p.seed<<32+uint64(i))%60)
}

func splitmix(state uint64) uint64 {
	z := state + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// trained are the models of models/ and how many symbols their keys have.
var trained = map[string]int{"passkey-allmem": 4, "passkey-comet": 2}

// TestLongStreams: over a long stream the models still know the key, the state
// and the memory of the process stay as large as they are, and other pieces on
// another number of threads end in the same bits.
func TestLongStreams(t *testing.T) {
	length := *longTokens
	if testing.Short() {
		length = min(length, 1<<13)
	}
	targets := native(t)
	for model, symbols := range trained {
		dir := filepath.Join("models", model)
		raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		config := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
		spec := fmt.Sprintf("specs/%s.spec", strings.Trim(string(config["spec"]), `"`))
		for _, p := range programs(t, spec, nil, memc.Options{Config: config}, targets...) {
			t.Run(model+"/"+p.Target(), func(t *testing.T) {
				w, err := p.LoadWeights(dir)
				if err != nil {
					t.Fatal(err)
				}
				key := newPasskey(1, length, 0.001, symbols)
				logits, state := key.read(t, p, w, 1, random(1, 1500), every(symbols))
				for i, want := range key.key {
					row := logits[i*len(logits)/symbols:][:64]
					if got := slices.Index(row, slices.Max(row)); got != int(want) {
						t.Errorf("symbol %d of the key is %d, not %d", i, got, want)
					}
				}
				again, stateAgain := key.read(t, p, w, 2, random(2, 700), every(1))
				if !slices.Equal(logits, again) {
					t.Error("other pieces on two threads give other logits at the end")
				}
				if !bytes.Equal(state, stateAgain) {
					t.Errorf("other pieces on two threads end in another state%s", stateDiff(t, stateAgain, state))
				}
			})
		}
	}
}

// read feeds the stream: up to the query in pieces of cut, then in pieces of
// end. It gives the logits from the query on and the final state.
func (k *passkey) read(t *testing.T, p *runtime.Program, w *runtime.Weights, threads int, cut, end func() int) ([]float32, []byte) {
	t.Helper()
	s, err := p.NewSession(w, runtime.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	entry := slices.IndexFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == "forward" })
	var logits []float32
	var ids []int32
	out := make([]runtime.Tensor, 1) // reused: a steady stream allocates nothing
	stateBytes, warm := int64(0), int64(0)
	query := k.length - len(k.key)
	for at := 0; at < k.length; {
		n := min(end(), k.length-at)
		if at < query {
			n = min(cut(), query-at)
		}
		ids = ids[:0]
		for i := range n {
			ids = append(ids, k.token(at+i))
		}
		if err := s.Run(context.Background(), entry, []runtime.Tensor{runtime.FromInt32(ids)}, out); err != nil {
			t.Fatalf("at token %d: %v", at, err)
		}
		if at >= query {
			v, err := runtime.Float32(out[0])
			if err != nil {
				t.Fatal(err)
			}
			logits = append(logits, v...)
		}
		at += n
		switch b := s.StateBytes(); {
		case stateBytes == 0:
			stateBytes = b
		case b != stateBytes:
			t.Fatalf("the state grew from %d to %d bytes at token %d", stateBytes, b, at)
		}
		if warm == 0 && at >= k.length/4 {
			warm = resident(t)
		}
	}
	if grown := resident(t) - warm; warm > 0 && grown > 8<<20 {
		t.Errorf("the process grew by %d bytes in the last three quarters of the stream", grown)
	}
	var state bytes.Buffer
	if err := s.WriteState(&state); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tokens on %d threads, a state of %d bytes, a process of %d", s.Pos(), threads, stateBytes, resident(t))
	return logits, state.Bytes()
}

// resident is the memory that the process has in use, in bytes; 0 where the
// system does not say.
func resident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		without(t, "memory", err)
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
