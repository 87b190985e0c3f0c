package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/memc-lang/memc/runtime/atomicfile"
)

// WriteFile writes tensors and metadata (may be nil) to a file that appears
// whole or not at all.
func WriteFile(path string, tensors map[string]Tensor, meta map[string]string) error {
	if err := atomicfile.Write(path, func(w io.Writer) error { return Write(w, tensors, meta) }); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Write writes tensors and metadata: the same ones as the same bytes. Tensors
// of wide elements come first, so that each lies aligned to its elements; the
// data begins at a multiple of 64 bytes.
func Write(w io.Writer, tensors map[string]Tensor, meta map[string]string) error {
	names := slices.Collect(maps.Keys(tensors))
	for _, name := range names {
		t := tensors[name]
		if err := t.Check(); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		if name == "__metadata__" {
			return fmt.Errorf("a tensor cannot be called %s", name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(tensors[b].Elem.Size(), tensors[a].Elem.Size()), cmp.Compare(a, b))
	})
	head, err := encodeHeader(names, tensors, meta)
	if err != nil {
		return err
	}
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(head)))
	for _, b := range [][]byte{length[:], head} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, err := w.Write(tensors[name].Data); err != nil {
			return err
		}
	}
	return nil
}

// encodeHeader gives the JSON, padded with blanks.
func encodeHeader(names []string, tensors map[string]Tensor, meta map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	enc := jsontext.NewEncoder(&buf)
	var err error
	put := func(tokens ...jsontext.Token) {
		for _, t := range tokens {
			if err == nil {
				err = enc.WriteToken(t)
			}
		}
	}
	put(jsontext.BeginObject)
	if meta != nil {
		put(jsontext.String("__metadata__"), jsontext.BeginObject)
		for _, k := range slices.Sorted(maps.Keys(meta)) {
			put(jsontext.String(k), jsontext.String(meta[k]))
		}
		put(jsontext.EndObject)
	}
	at := int64(0)
	for _, name := range names {
		t := tensors[name]
		put(jsontext.String(name), jsontext.BeginObject, jsontext.String("dtype"), jsontext.String(t.Elem.String()), jsontext.String("shape"), jsontext.BeginArray)
		for _, d := range t.Shape {
			put(jsontext.Int(int64(d)))
		}
		put(jsontext.EndArray, jsontext.String("data_offsets"), jsontext.BeginArray, jsontext.Int(at))
		at += int64(len(t.Data))
		put(jsontext.Int(at), jsontext.EndArray, jsontext.EndObject)
	}
	put(jsontext.EndObject)
	if err != nil {
		return nil, fmt.Errorf("the header cannot be written: %w", err)
	}
	head := bytes.TrimRight(buf.Bytes(), "\n")
	for (len(head)+8)%64 != 0 {
		head = append(head, ' ')
	}
	if len(head) > maxHeader {
		return nil, fmt.Errorf("the header takes %d bytes: more than the %d that the format allows", len(head), maxHeader)
	}
	return head, nil
}
