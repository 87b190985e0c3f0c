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
	parts := make([]Part, 0, len(tensors))
	for name, t := range tensors {
		if err := t.Check(); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		parts = append(parts, Part{name, t.Elem, t.Shape, func(w io.Writer) error {
			_, err := w.Write(t.Data)
			return err
		}})
	}
	return WriteParts(w, parts, meta)
}

// Part is a tensor whose bytes are written when it is their turn, so that a file
// may be larger than memory.
type Part struct {
	Name  string
	Elem  Elem
	Shape []int
	Write func(w io.Writer) error // writes as many bytes as Elem and Shape say
}

// WriteParts writes what Write does of the same tensors, and calls each part's
// Write once, in the order of the file. A part that writes more or fewer bytes
// than it should is an error, as is a name that comes twice.
func WriteParts(w io.Writer, parts []Part, meta map[string]string) error {
	parts = slices.Clone(parts)
	sizes := make(map[string]int64, len(parts))
	for _, p := range parts {
		n, err := bytesOf(p.Elem, p.Shape)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", p.Name, err)
		}
		if _, twice := sizes[p.Name]; twice {
			return fmt.Errorf("two tensors are called %s", p.Name)
		}
		if p.Name == metadata {
			return fmt.Errorf("a tensor cannot be called %s", p.Name)
		}
		sizes[p.Name] = n
	}
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Elem.Size(), a.Elem.Size()), cmp.Compare(a.Name, b.Name))
	})
	head, err := encodeHeader(parts, sizes, meta)
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
	for _, p := range parts {
		counted := counter{w: w}
		if err := p.Write(&counted); err != nil {
			return err
		}
		if counted.n != sizes[p.Name] {
			return fmt.Errorf("tensor %s: %s %v takes %d bytes, but %d are written", p.Name, p.Elem, p.Shape, sizes[p.Name], counted.n)
		}
	}
	return nil
}

// counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// encodeHeader gives the JSON, padded with blanks.
func encodeHeader(parts []Part, sizes map[string]int64, meta map[string]string) ([]byte, error) {
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
		put(jsontext.String(metadata), jsontext.BeginObject)
		for _, k := range slices.Sorted(maps.Keys(meta)) {
			put(jsontext.String(k), jsontext.String(meta[k]))
		}
		put(jsontext.EndObject)
	}
	at := int64(0)
	for _, p := range parts {
		put(jsontext.String(p.Name), jsontext.BeginObject, jsontext.String("dtype"), jsontext.String(p.Elem.String()), jsontext.String("shape"), jsontext.BeginArray)
		for _, d := range p.Shape {
			put(jsontext.Int(int64(d)))
		}
		put(jsontext.EndArray, jsontext.String("data_offsets"), jsontext.BeginArray, jsontext.Int(at))
		at += sizes[p.Name]
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
