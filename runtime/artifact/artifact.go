// Package artifact is the file that a compiled program is kept in: a manifest,
// and for each target a plan and its code. Weights are not in it.
//
// The file (integers little-endian):
//
//	 0  magic "\x89memc\r\n\x1a"
//	 8  version, uint32
//	12  number of sections, uint32
//	16  length of the file, uint64
//	24  SHA-256 of everything from byte 64 on: the artifact's identity
//	56  XXH3-64 of bytes 0 to 56
//	64  the section table, 32 bytes each: kind uint32, target uint32, offset
//	    uint64, length uint64, XXH3-64 of the section's bytes uint64
//	    the sections, each at the next multiple of 64, zeros between them
//
// Section 0 is the manifest in deterministic CBOR (RFC 8949, 4.2.1); then come,
// for each of its targets in order, a plan and a code section where the target
// has them. There is exactly one file for an artifact: a reader rejects every
// other arrangement of the same sections. Checksums find damage, not malice: an
// artifact is trusted as an executable is. Readers are safe on any input.
package artifact

import (
	"crypto/sha256"
	"encoding/hex"
)

// Version is the version of the format; readers accept no other.
const Version = 4

// Artifact is a compiled program.
type Artifact struct {
	Manifest Manifest
	Targets  []Target
}

// Manifest says what the program is, whatever it runs on.
type Manifest struct {
	Name     string            `cbor:"name"`               // the spec's
	Doc      string            `cbor:"doc"`                // the spec's leading comment
	Compiler string            `cbor:"compiler"`           // memc's version
	Params   map[string]string `cbor:"params"`             // the spec's parameters, values as JSON
	Products string            `cbor:"products,omitempty"` // what compiled targets round operands of products to ("bf16"); "": they do not
	Entries  []Entry           `cbor:"entries"`
	Graph    string            `cbor:"graph"` // the graph's text, from which it can be compiled again
}

// Entry is an entry point as callers see it.
type Entry struct {
	Name    string `cbor:"name"`
	Doc     string `cbor:"doc"`
	Inputs  []Port `cbor:"inputs"`
	Outputs []Port `cbor:"outputs"`
}

// Port is an input or output: an element type's name ("i32") and its dims, each
// a number or the name of a clock.
type Port struct {
	Name string   `cbor:"name"`
	Elem string   `cbor:"elem"`
	Dims []string `cbor:"dims"`
	Doc  string   `cbor:"doc"`
}

// Target is the program compiled for one kind of machine.
type Target struct {
	Name     string           // "avx512", "avx2", "interp", "sm_80", ...
	Format   string           // what Code is: "amd64", "ptx"; "graph" where the manifest's graph is run
	Features []string         // CPU features that the code uses, as cpuid names them
	Symbols  map[string]int64 // byte offsets into Code
	Scratch  map[string]int64 // bytes of scratch that a kernel needs for each worker, or CTA
	Shared   map[string]int64 // PTX: bytes of dynamic shared memory of a CTA
	Threads  map[string]int64 // PTX: threads of a CTA
	Plan     string           // the plan's text
	Code     []byte
}

// Find gives the target of that name, nil where the artifact has none.
func (a *Artifact) Find(target string) *Target {
	for i := range a.Targets {
		if a.Targets[i].Name == target {
			return &a.Targets[i]
		}
	}
	return nil
}

// Identity names the program on one target, in hexadecimal: the same code, plan
// and graph have the same one, whatever else an artifact holds.
func (a *Artifact) Identity(t *Target) string {
	h := sha256.New()
	put := func(b []byte) {
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	put([]byte(a.Manifest.Graph))
	put([]byte(t.Name))
	put([]byte(t.Format))
	put([]byte(t.Plan))
	put(t.Code)
	return hex.EncodeToString(h.Sum(nil))
}
