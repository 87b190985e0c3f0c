package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxHeader is the longest header that readers of the format accept, in bytes.
const maxHeader = 100_000_000

// metadata is the key of the header that is no tensor's.
const metadata = "__metadata__"

// maxDims is more dimensions than any tensor has.
const maxDims = 32

// Decode reads a file that lies in memory. The tensors' Data are parts of b.
// Names has the tensors in the order of their bytes; meta is the header's
// __metadata__, nil where there is none.
//
// An error says what is wrong with which tensor: a header that is no JSON
// object or repeats a key, an unknown element type, a shape whose bytes differ
// from its offsets, offsets that overlap, leave a gap or leave the file.
func Decode(b []byte) (tensors map[string]Tensor, names []string, meta map[string]string, err error) {
	if len(b) < 8 {
		return nil, nil, nil, fmt.Errorf("the file has %d bytes: too few for a safetensors header", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader {
		return nil, nil, nil, fmt.Errorf("the header's length is given as %d bytes: more than the %d that the format allows (is this a safetensors file?)", n, maxHeader)
	}
	if n > uint64(len(b)-8) {
		return nil, nil, nil, fmt.Errorf("the header's length is given as %d bytes, but only %d follow", n, len(b)-8)
	}
	h := header{dec: jsontext.NewDecoder(bytes.NewBuffer(b[8 : 8+n : 8+n])), data: b[8+n:]}
	if err := h.read(); err != nil {
		return nil, nil, nil, fmt.Errorf("header: %w", err)
	}
	return h.tensors()
}

// header reads the JSON of a header.
type header struct {
	dec     *jsontext.Decoder
	data    []byte
	entries []entry
	meta    map[string]string
}

type entry struct {
	name       string
	elem       Elem
	shape      []int
	begin, end int64
}

func (h *header) read() error {
	if err := h.open('{', "an object"); err != nil {
		return err
	}
	for h.dec.PeekKind() != '}' {
		name, err := h.str("a tensor's name")
		if err != nil {
			return err
		}
		if name == metadata {
			err = h.metadata()
		} else {
			err = h.entry(name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := h.dec.ReadToken(); err != nil {
		return err
	}
	if _, err := h.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func (h *header) open(kind jsontext.Kind, what string) error {
	t, err := h.dec.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != kind {
		return fmt.Errorf("expected %s, found %s", what, t.Kind())
	}
	return nil
}

func (h *header) str(what string) (string, error) {
	t, err := h.dec.ReadToken()
	if err != nil {
		return "", err
	}
	if t.Kind() != '"' {
		return "", fmt.Errorf("expected %s, a string, found %s", what, t.Kind())
	}
	return t.String(), nil
}

// whole reads an array of whole numbers of at most limit items.
func (h *header) whole(what string, limit int) ([]int64, error) {
	if err := h.open('[', "an array of whole numbers for "+what); err != nil {
		return nil, err
	}
	v := []int64{}
	for h.dec.PeekKind() != ']' {
		t, err := h.dec.ReadToken()
		if err != nil {
			return nil, err
		}
		k, err := strconv.ParseInt(t.String(), 10, 64)
		if t.Kind() != '0' || err != nil || k < 0 {
			return nil, fmt.Errorf("%s: %s is not a whole number of 63 bits", what, t)
		}
		if len(v) == limit {
			return nil, fmt.Errorf("%s: more than %d numbers", what, limit)
		}
		v = append(v, k)
	}
	_, err := h.dec.ReadToken()
	return v, err
}

func (h *header) metadata() error {
	if err := h.open('{', "an object of strings"); err != nil {
		return err
	}
	h.meta = map[string]string{}
	for h.dec.PeekKind() != '}' {
		k, err := h.str("a key")
		if err != nil {
			return err
		}
		if h.meta[k], err = h.str("the value of " + strconv.Quote(k)); err != nil {
			return err
		}
	}
	_, err := h.dec.ReadToken()
	return err
}

func (h *header) entry(name string) error {
	if err := h.open('{', "an object"); err != nil {
		return err
	}
	e := entry{name: name}
	seen := 0
	for h.dec.PeekKind() != '}' {
		key, err := h.str("a key")
		if err != nil {
			return err
		}
		seen++ // a repeated key is an error of the decoder's
		switch key {
		case "dtype":
			s, err := h.str("dtype")
			if err != nil {
				return err
			}
			k := slices.IndexFunc(elems[:], func(x struct {
				name string
				size int
			}) bool {
				return x.name == s
			})
			if k < 0 {
				return fmt.Errorf("dtype %q is not known", s)
			}
			e.elem = Elem(k)
		case "shape":
			dims, err := h.whole("shape", maxDims)
			if err != nil {
				return err
			}
			e.shape = make([]int, len(dims))
			for i, d := range dims {
				if e.shape[i] = int(d); int64(e.shape[i]) != d {
					return fmt.Errorf("dimension %d does not fit this machine", d)
				}
			}
		case "data_offsets":
			at, err := h.whole("data_offsets", 2)
			if err != nil {
				return err
			}
			if len(at) != 2 {
				return fmt.Errorf("data_offsets has %d numbers, not 2", len(at))
			}
			e.begin, e.end = at[0], at[1]
		default:
			return fmt.Errorf("unknown key %q", key)
		}
	}
	if _, err := h.dec.ReadToken(); err != nil {
		return err
	}
	if seen != 3 {
		return errors.New("dtype, shape and data_offsets are needed")
	}
	need, err := bytesOf(e.elem, e.shape)
	if err != nil {
		return err
	}
	if e.begin > e.end || e.end > int64(len(h.data)) {
		return fmt.Errorf("bytes %d to %d do not lie in the %d of the file's data", e.begin, e.end, len(h.data))
	}
	if e.end-e.begin != need {
		return fmt.Errorf("%s %v takes %d bytes, but data_offsets gives it %d", e.elem, e.shape, need, e.end-e.begin)
	}
	h.entries = append(h.entries, e)
	return nil
}

// tensors checks that the entries cover the data and gives each its bytes.
func (h *header) tensors() (map[string]Tensor, []string, map[string]string, error) {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		if a.begin != b.begin {
			return int(min(max(a.begin-b.begin, -1), 1))
		}
		return int(min(max(a.end-b.end, -1), 1))
	})
	tensors := make(map[string]Tensor, len(h.entries))
	names := make([]string, 0, len(h.entries))
	at := int64(0)
	for _, e := range h.entries {
		switch {
		case e.begin < at:
			return nil, nil, nil, fmt.Errorf("%s: its bytes begin at %d, inside the tensor that ends at %d", e.name, e.begin, at)
		case e.begin > at:
			return nil, nil, nil, fmt.Errorf("%s: bytes %d to %d before it belong to no tensor", e.name, at, e.begin)
		}
		at = e.end
		tensors[e.name] = Tensor{Elem: e.elem, Shape: e.shape, Data: h.data[e.begin:e.end:e.end]}
		names = append(names, e.name)
	}
	if at != int64(len(h.data)) {
		return nil, nil, nil, fmt.Errorf("%d bytes behind the last tensor belong to none", int64(len(h.data))-at)
	}
	return tensors, names, h.meta, nil
}
