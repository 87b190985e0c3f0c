package artifact

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/xxh3"

	"github.com/memc-lang/memc/runtime/atomicfile"
)

const (
	magic      = "\x89memc\r\n\x1a"
	headerSize = 64
	entrySize  = 32
	align      = 64
	maxTargets = 64
	maxLength  = 1 << 31
)

// The kinds of section.
const (
	manifestSection = iota
	planSection
	codeSection
)

// section is a row of the section table, with its bytes.
type section struct {
	kind, target uint32
	bytes        []byte
}

// contents is the manifest as it lies in the file.
type contents struct {
	Manifest Manifest `cbor:"manifest"`
	Targets  []target `cbor:"targets"`
}

// target is a Target whose plan and code lie in sections of their own.
type target struct {
	Name     string           `cbor:"name"`
	Format   string           `cbor:"format"`
	Features []string         `cbor:"features"`
	Symbols  map[string]int64 `cbor:"symbols"`
	Scratch  map[string]int64 `cbor:"scratch"`
	Shared   map[string]int64 `cbor:"shared,omitempty"`
	Threads  map[string]int64 `cbor:"threads,omitempty"`
	Plan     bool             `cbor:"plan"`
	Code     bool             `cbor:"code"`
}

// Encode gives the artifact's file: the same bytes for the same artifact. An
// error says what a reader would reject.
func Encode(a *Artifact) ([]byte, error) {
	if err := check(a); err != nil {
		return nil, err
	}
	c := contents{Manifest: a.Manifest}
	sections := []section{{kind: manifestSection}}
	for i := range a.Targets {
		t := &a.Targets[i]
		c.Targets = append(c.Targets, target{t.Name, t.Format, t.Features, t.Symbols, t.Scratch, t.Shared, t.Threads, t.Plan != "", len(t.Code) > 0})
		if t.Plan != "" {
			sections = append(sections, section{planSection, uint32(i), []byte(t.Plan)})
		}
		if len(t.Code) > 0 {
			sections = append(sections, section{codeSection, uint32(i), t.Code})
		}
	}
	var err error
	if sections[0].bytes, err = encoder.Marshal(c); err != nil {
		return nil, fmt.Errorf("the manifest cannot be encoded: %w", err)
	}
	return pack(sections)
}

// pack arranges sections as a file.
func pack(sections []section) ([]byte, error) {
	at := int64(headerSize + entrySize*len(sections))
	table := make([]byte, 0, entrySize*len(sections))
	for _, s := range sections {
		at = up(at)
		table = binary.LittleEndian.AppendUint32(table, s.kind)
		table = binary.LittleEndian.AppendUint32(table, s.target)
		table = binary.LittleEndian.AppendUint64(table, uint64(at))
		table = binary.LittleEndian.AppendUint64(table, uint64(len(s.bytes)))
		table = binary.LittleEndian.AppendUint64(table, xxh3.Hash(s.bytes))
		at += int64(len(s.bytes))
	}
	if at > maxLength {
		return nil, fmt.Errorf("the artifact would have %d bytes: more than %d", at, int64(maxLength))
	}
	out := make([]byte, headerSize, at)
	out = append(out, table...)
	for _, s := range sections {
		out = append(out, make([]byte, up(int64(len(out)))-int64(len(out)))...)
		out = append(out, s.bytes...)
	}
	copy(out, magic)
	binary.LittleEndian.PutUint32(out[8:], Version)
	binary.LittleEndian.PutUint32(out[12:], uint32(len(sections)))
	binary.LittleEndian.PutUint64(out[16:], uint64(len(out)))
	sum := sha256.Sum256(out[headerSize:])
	copy(out[24:56], sum[:])
	binary.LittleEndian.PutUint64(out[56:], xxh3.Hash(out[:56]))
	return out, nil
}

func up(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// WriteFile writes the artifact to a file that appears whole or not at all.
func WriteFile(path string, a *Artifact) error {
	b, err := Encode(a)
	if err == nil {
		err = atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// check is what both the writer and the reader demand of an artifact.
func check(a *Artifact) error {
	if len(a.Targets) > maxTargets {
		return fmt.Errorf("%d targets: more than %d", len(a.Targets), maxTargets)
	}
	var names []string
	for i := range a.Targets {
		t := &a.Targets[i]
		if t.Name == "" || slices.Contains(names, t.Name) {
			return fmt.Errorf("target %d: the name %q is empty or used twice", i, t.Name)
		}
		names = append(names, t.Name)
		for symbol, at := range t.Symbols {
			if at < 0 || at >= int64(len(t.Code)) {
				return fmt.Errorf("target %s: the symbol %s is at byte %d of %d bytes of code", t.Name, symbol, at, len(t.Code))
			}
		}
		for what, amounts := range map[string]map[string]int64{"bytes of scratch": t.Scratch, "bytes of shared memory": t.Shared, "threads": t.Threads} {
			for kernel, n := range amounts {
				if n < 0 || n > math.MaxInt32 {
					return fmt.Errorf("target %s: the kernel %s needs %d %s, which is impossible", t.Name, kernel, n, what)
				}
			}
		}
	}
	return nil
}

// encoder and decoder are the two halves of one strict dialect of CBOR.
var encoder, decoder = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	enc, err1 := cbor.CoreDetEncOptions().EncMode()
	dec, err2 := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   8,
		MaxArrayElements:  1 << 20,
		MaxMapPairs:       1 << 20,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err := errors.Join(err1, err2); err != nil {
		panic(err) // the options are constants
	}
	return enc, dec
}
