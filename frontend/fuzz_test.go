package frontend_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/memc-lang/memc/frontend"
)

// small holds a value for every parameter of the specs.
const small = `{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
"intermediate_size": 12, "vocab_size": 20, "window": 4, "sinks": 1, "mem_heads": 2, "mem_head_dim": 8, "mem_hidden": 6, "chunk": 8,
"chunk_size": 8, "temp_beacon_stride": 4, "temp_mem_budget": 3, "global_mem_size": 2, "temp_beacon_id": 3, "global_beacon_ids": [4, 5],
"mini_batch_size": 4, "heads": 2, "dim": 4, "hidden": 6, "kv_heads": 1, "K": 8, "N": 4}`

// FuzzLoad: no input makes the frontend panic or hang, and what loads is sound.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"../specs/*.spec", "../specs/*/*.spec", "testdata/bad/*.spec"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(src))
		}
	}
	raw, err := os.ReadFile("../docs/language.md")
	if err != nil {
		f.Fatal(err)
	}
	for _, part := range strings.Split(string(raw), "```spec\n")[1:] {
		src, _, _ := strings.Cut(part, "```")
		f.Add(src)
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal([]byte(small), &config); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src string) {
		// A hang becomes a crash, so that the fuzzer keeps the input.
		defer time.AfterFunc(20*time.Second, func() { panic("no answer within 20 seconds") }).Stop()
		read := func(name string) ([]byte, error) {
			if name == "a.spec" {
				return []byte(src), nil
			}
			return nil, fs.ErrNotExist
		}
		m, d := frontend.Load("a.spec", read, nil, config)
		if (m == nil) == (d == nil) {
			t.Fatal("neither a module nor faults, or both")
		}
		if d != nil && strings.TrimSpace(d.Error()) == "" {
			t.Fatal("a fault without words")
		}
		if m != nil {
			for _, err := range m.Verify() {
				t.Errorf("the spec loads, and the verifier says: %v", err)
			}
		}
		once, err := frontend.Format("a.spec", src)
		if err != nil {
			return
		}
		twice, err := frontend.Format("a.spec", once)
		if err != nil {
			t.Fatalf("what was formatted does not read: %v\n%s", err, once)
		}
		if once != twice {
			t.Fatalf("formatted twice:\n%s\nonce:\n%s", twice, once)
		}
	})
}
