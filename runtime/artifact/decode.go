package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/memc-lang/memc/runtime/regular"
)

// ReadFile reads an artifact; errors name the file.
func ReadFile(path string) (*Artifact, error) {
	b, err := regular.Read(path, maxLength)
	if err != nil {
		return nil, err
	}
	a, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// Decode reads an artifact's file. The artifact's code is a part of b. An error
// says which part is damaged.
func Decode(b []byte) (*Artifact, error) {
	sections, err := unpack(b)
	if err != nil {
		return nil, err
	}
	if len(sections) == 0 || sections[0].kind != manifestSection || sections[0].target != 0 {
		return nil, errors.New("the first section is not the manifest")
	}
	var c contents
	if err := decoder.Unmarshal(sections[0].bytes, &c); err != nil {
		return nil, fmt.Errorf("the manifest: %w", err)
	}
	if again, err := encoder.Marshal(c); err != nil || !bytes.Equal(again, sections[0].bytes) {
		return nil, errors.New("the manifest is not in deterministic form")
	}
	a := &Artifact{Manifest: c.Manifest}
	rest := sections[1:]
	take := func(has bool, kind uint32, i int) ([]byte, error) {
		if !has {
			return nil, nil
		}
		if len(rest) == 0 || rest[0].kind != kind || rest[0].target != uint32(i) || len(rest[0].bytes) == 0 {
			return nil, fmt.Errorf("target %d lacks its %s", i, [...]string{"", "plan", "code"}[kind])
		}
		s := rest[0].bytes
		rest = rest[1:]
		return s, nil
	}
	for i, t := range c.Targets {
		text, err := take(t.Plan, planSection, i)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(text) {
			return nil, fmt.Errorf("target %d: the plan is not UTF-8", i)
		}
		code, err := take(t.Code, codeSection, i)
		if err != nil {
			return nil, err
		}
		a.Targets = append(a.Targets, Target{t.Name, t.Format, t.Features, t.Symbols, t.Scratch, t.Shared, t.Threads, string(text), code})
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d sections belong to no target", len(rest))
	}
	if err := check(a); err != nil {
		return nil, err
	}
	return a, nil
}

// unpack checks lengths and checksums and gives the sections.
func unpack(b []byte) ([]section, error) {
	if len(b) < headerSize || string(b[:8]) != magic {
		return nil, errors.New("not a memc artifact: it does not begin with its magic")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return nil, fmt.Errorf("the artifact has format %d, this memc reads format %d: compile it again", v, Version)
	}
	if binary.LittleEndian.Uint64(b[56:]) != xxh3.Hash(b[:56]) {
		return nil, errors.New("the header is damaged: its checksum differs")
	}
	if n := binary.LittleEndian.Uint64(b[16:]); n != uint64(len(b)) {
		return nil, fmt.Errorf("the artifact should have %d bytes and has %d", n, len(b))
	}
	count := binary.LittleEndian.Uint32(b[12:])
	if count > 1+2*maxTargets || headerSize+entrySize*int64(count) > int64(len(b)) {
		return nil, fmt.Errorf("%d sections do not fit", count)
	}
	sections := make([]section, count)
	at := headerSize + entrySize*int64(count)
	for i := range sections {
		row := b[headerSize+entrySize*i:][:entrySize]
		offset, length := binary.LittleEndian.Uint64(row[8:]), binary.LittleEndian.Uint64(row[16:])
		start := up(at)
		if offset != uint64(start) || start > int64(len(b)) || length > uint64(int64(len(b))-start) {
			return nil, fmt.Errorf("section %d: %d bytes at %d do not follow the section before", i, length, offset)
		}
		for _, pad := range b[at:start] {
			if pad != 0 {
				return nil, fmt.Errorf("section %d: something lies before it", i)
			}
		}
		at = start + int64(length)
		s := b[start:at:at]
		if binary.LittleEndian.Uint64(row[24:]) != xxh3.Hash(s) {
			return nil, fmt.Errorf("section %d is damaged: its checksum differs", i)
		}
		sections[i] = section{binary.LittleEndian.Uint32(row), binary.LittleEndian.Uint32(row[4:]), s}
	}
	if at != int64(len(b)) {
		return nil, fmt.Errorf("%d bytes follow the last section", int64(len(b))-at)
	}
	if sum := sha256.Sum256(b[headerSize:]); !bytes.Equal(sum[:], b[24:56]) {
		return nil, errors.New("the artifact is damaged: its SHA-256 differs")
	}
	return sections, nil
}
