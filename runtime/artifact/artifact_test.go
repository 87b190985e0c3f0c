package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

func sample() *Artifact {
	return &Artifact{
		Manifest: Manifest{
			Name: "tiny", Doc: "A tiny one.", Compiler: "0.1", Params: map[string]string{"b": "2", "a": "1", "window": "[1,2]"}, Products: "bf16", Graph: "graph tiny\n",
			Entries: []Entry{{"forward", "", []Port{{"tokens", "i32", []string{"t"}, ""}}, []Port{{"logits", "f32", []string{"t", "64"}, "of each"}}}},
		},
		Targets: []Target{
			{Name: "avx2", Format: "amd64", Features: []string{"AVX2", "FMA3"}, Symbols: map[string]int64{"walk": 0, "k": 2, "a.b": 1}, Scratch: map[string]int64{"k": 100}, Plan: "plan \"avx2\"\n", Code: []byte("\xc3\xc3\xc3")},
			{Name: "interp", Format: "graph", Features: []string{}},
		},
	}
}

func encode(t testing.TB, a *Artifact) []byte {
	t.Helper()
	b, err := Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	b := encode(t, sample())
	for range 20 { // maps are walked in another order each time
		if !bytes.Equal(b, encode(t, sample())) {
			t.Fatal("the same artifact gives other bytes")
		}
	}
	a, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), a); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(b, encode(t, a)) {
		t.Error("what was read is written differently")
	}
	path := filepath.Join(t.TempDir(), "a.memc")
	if err := WriteFile(path, a); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(path); err != nil || cmp.Diff(a, got) != "" {
		t.Errorf("from a file: %v", err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "a.memc: ") {
		t.Errorf("a truncated file: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	a := sample()
	id := a.Identity(&a.Targets[0])
	if len(id) != 64 || id == a.Identity(&a.Targets[1]) {
		t.Errorf("identity %q of two targets", id)
	}
	a.Targets = a.Targets[:1]
	if a.Identity(a.Find("avx2")) != id {
		t.Error("another target changes the identity")
	}
	a.Targets[0].Code[1]++
	if a.Identity(a.Find("avx2")) == id {
		t.Error("other code has the same identity")
	}
	if a.Find("interp") != nil {
		t.Error("a target is found that is not there")
	}
}

// TestDamage flips every bit of an artifact and cuts it at every byte.
func TestDamage(t *testing.T) {
	good := encode(t, sample())
	for i := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if _, err := Decode(b); err == nil {
				t.Fatalf("bit %d of byte %d can be flipped unseen", bit, i)
			}
		}
		if _, err := Decode(good[:i]); err == nil {
			t.Fatalf("the first %d bytes are accepted", i)
		}
	}
	if _, err := Decode(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a trailing byte is accepted")
	}
}

// seal makes the checksums right again, so that what lies behind them is tested.
func seal(b []byte) []byte {
	if len(b) < headerSize {
		return b
	}
	b = bytes.Clone(b)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], Version)
	binary.LittleEndian.PutUint64(b[16:], uint64(len(b)))
	for i := range int64(min(binary.LittleEndian.Uint32(b[12:]), 200)) {
		if headerSize+entrySize*(i+1) > int64(len(b)) {
			break
		}
		row := b[headerSize+entrySize*i:][:entrySize]
		at, n := binary.LittleEndian.Uint64(row[8:]), binary.LittleEndian.Uint64(row[16:])
		if at <= uint64(len(b)) && n <= uint64(len(b))-at {
			binary.LittleEndian.PutUint64(row[24:], xxh3.Hash(b[at:at+n]))
		}
	}
	sum := sha256.Sum256(b[headerSize:])
	copy(b[24:56], sum[:])
	binary.LittleEndian.PutUint64(b[56:], xxh3.Hash(b[:56]))
	return b
}

func TestForged(t *testing.T) {
	good := encode(t, sample())
	row := func(i int) []byte { return good[headerSize+entrySize*i:] }
	for _, c := range []struct {
		name, want string
		forge      func(b []byte) []byte
	}{
		{"an older version", fmt.Sprintf("format %d", Version-1), func(b []byte) []byte { b = seal(b); b[8] = Version - 1; return b }},
		{"a newer version", fmt.Sprintf("format %d", Version+1), func(b []byte) []byte { b = seal(b); b[8] = Version + 1; return b }},
		{"overlap", "do not follow", func(b []byte) []byte { copy(b[headerSize+entrySize+8:], row(0)[8:24]); return seal(b) }},
		{"too long", "do not follow", func(b []byte) []byte { b[headerSize+16+7] = 0x7f; return seal(b) }},
		{"trailing", "follow the last section", func(b []byte) []byte { return seal(append(b, 0)) }},
		{"padding", "something lies before", func(b []byte) []byte { b[headerSize+3*entrySize+1] = 1; return seal(b) }},
		{"many sections", "do not fit", func(b []byte) []byte { b[14] = 1; return seal(b) }},
		{"kind", "lacks its plan", func(b []byte) []byte { b[headerSize+entrySize] = 2; return seal(b) }},
		{"no manifest", "not the manifest", func(b []byte) []byte { b[headerSize] = 1; return seal(b) }},
		{"manifest", "the manifest: ", func(b []byte) []byte { b[headerSize+3*entrySize+32] = 0xff; return seal(b) }},
	} {
		_, err := Decode(c.forge(bytes.Clone(good)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	for name, change := range map[string]func(a *Artifact){
		"symbol":  func(a *Artifact) { a.Targets[0].Symbols["k"] = 3 },
		"scratch": func(a *Artifact) { a.Targets[0].Scratch["k"] = -1 },
		"shared":  func(a *Artifact) { a.Targets[0].Shared = map[string]int64{"k": -1} },
		"threads": func(a *Artifact) { a.Targets[0].Threads = map[string]int64{"k": 1 << 40} },
		"twice":   func(a *Artifact) { a.Targets[1].Name = "avx2" },
	} {
		a := sample()
		change(a)
		if _, err := Encode(a); err == nil {
			t.Errorf("%s: a wrong artifact is written", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add(encode(f, &Artifact{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, seal(b)} {
			a, err := Decode(b)
			if err != nil {
				continue
			}
			if !bytes.Equal(encode(t, a), b) {
				t.Fatal("an artifact has two files")
			}
		}
	})
}
