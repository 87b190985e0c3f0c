package safetensors

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file puts a header before some data.
func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func TestRoundTrip(t *testing.T) {
	in := map[string]Tensor{
		"b":       {BF16, []int{3}, []byte("abcdef")},
		"a \"q\"": {F32, []int{1, 2}, []byte("12345678")},
		"none":    {I64, []int{0, 7}, []byte{}},
		"scalar":  {F64, []int{}, []byte("87654321")},
		"byte":    {Bool, []int{1}, []byte{1}},
	}
	meta := map[string]string{"k": "v", "é": ""}
	var buf, again bytes.Buffer
	if err := Write(&buf, in, meta); err != nil {
		t.Fatal(err)
	}
	if err := Write(&again, in, meta); err != nil || !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Error("the same tensors give other bytes")
	}
	out, names, m, err := Decode(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out) + cmp.Diff(meta, m); diff != "" {
		t.Error(diff)
	}
	if want := []string{"none", "scalar", "a \"q\"", "b", "byte"}; !slices.Equal(names, want) {
		t.Errorf("order %q, want %q", names, want)
	}
	if err := Write(&buf, map[string]Tensor{"x": {F32, []int{2}, []byte("1234")}}, nil); err == nil {
		t.Error("a tensor with too few bytes is written")
	}
}

// malformed holds one file for each thing that the reader rejects.
var malformed = []struct {
	name, want string
	file       []byte
}{
	{"short", "has 3 bytes", []byte("abc")},
	{"long header", "more than the 100000000", binary.LittleEndian.AppendUint64(nil, 1<<40)},
	{"header past the end", "but only 2 follow", append(binary.LittleEndian.AppendUint64(nil, 3), "{}"...)},
	{"empty header", "header", file("", "")},
	{"array", "expected an object", file("[]", "")},
	{"truncated JSON", "header", file(`{"a":`, "")},
	{"two values", "something follows", file("{} {}", "")},
	{"duplicate name", "duplicate", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "x")},
	{"duplicate key", "duplicate", file(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "x")},
	{"missing key", "are needed", file(`{"a":{"dtype":"U8","shape":[1]}}`, "")},
	{"unknown key", `unknown key "extra"`, file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}}`, "x")},
	{"unknown dtype", `dtype "Q4" is not known`, file(`{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,1]}}`, "x")},
	{"fraction", "not a whole number", file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, "x")},
	{"exponent", "not a whole number", file(`{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}`, "x")},
	{"negative", "not a whole number", file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, "x")},
	{"string for number", "not a whole number", file(`{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, "x")},
	{"overflow", "too large for 64 bits", file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, "")},
	{"overflow to zero", "too large for 64 bits", file(`{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,0]}}`, "")},
	{"wrong size", "takes 8 bytes, but data_offsets gives it 4", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "1234")},
	{"outside", "do not lie in the 1", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, "x")},
	{"backwards", "do not lie in", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}}`, "xx")},
	{"three offsets", "more than 2 numbers", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, "x")},
	{"overlap", "b: its bytes begin at 1, inside", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "xyz")},
	{"gap", "bytes 1 to 2 before it belong to no tensor", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "xyz")},
	{"rest", "2 bytes behind the last tensor", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "xyz")},
	{"metadata", "expected the value of", file(`{"__metadata__":{"a":1}}`, "")},
	{"dims", "more than 32 numbers", file(`{"a":{"dtype":"U8","shape":[1`+strings.Repeat(",1", 40)+`],"data_offsets":[0,1]}}`, "x")},
	{"UTF-8", "header", file("{\"\xff\":{}}", "")},
	{"nested", "expected an object", file(`{"a":`+strings.Repeat("[", 20000), "")},
}

func TestMalformed(t *testing.T) {
	for _, c := range malformed {
		_, _, _, err := Decode(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fails := func(path, want string) {
		t.Helper()
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", filepath.Base(path), err, want)
		}
	}
	fails(filepath.Join(dir, "missing"), "no such file")
	fails(dir, "neither model.safetensors nor")
	fails(put("empty", nil), "too few")
	fails(put("bad.safetensors", malformed[0].file), "bad.safetensors: the file has 3 bytes")

	one := Tensor{U8, []int{2}, []byte("ab")}
	two := Tensor{F32, []int{1}, []byte("1234")}
	if err := WriteFile(filepath.Join(dir, "model.safetensors"), map[string]Tensor{"one": one}, nil); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "b.safetensors"), map[string]Tensor{"two": two, "more": two}, nil); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Tensor{"one": one}, c.Tensors); diff != "" {
		t.Error(diff)
	}
	if err := c.Guard(func() error { _ = c.Tensors["one"].Data[1]; return nil }); err != nil {
		t.Error(err)
	}
	c.Close()
	index := func(s string) { put("model.safetensors.index.json", []byte(s)) }
	index(`{"metadata":{"total_size":6},"weight_map":{"one":"model.safetensors","two":"b.safetensors"}}`)
	if c, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Tensor{"one": one, "two": two}, c.Tensors); diff != "" {
		t.Error(diff)
	}
	c.Close()
	for s, want := range map[string]string{
		`{}`:                                       "no weight_map",
		`{"weight_map":{"a":"../x"}}`:              "not the name of a file",
		`{"weight_map":{"a":"/etc/x"}}`:            "not the name of a file",
		`{"weight_map":{"a":".."}}`:                "not the name of a file",
		`{"weight_map":{"a":1}}`:                   "expected the file of a",
		`{"weight_map":{"three":"b.safetensors"}}`: "which it does not",
		`{"weight_map":{"a":"c.safetensors"}}`:     "no such file",
		`{"weight_map":{"a":"b","a":"b"}}`:         "duplicate",
		`[`:                                        "expected an object",
	} {
		index(s)
		fails(dir, want)
	}
}

func TestShrinkingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.safetensors")
	big := Tensor{U8, []int{1 << 20}, make([]byte, 1<<20)}
	if err := WriteFile(path, map[string]Tensor{"x": big}, nil); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	var b byte
	err = c.Guard(func() error { b = c.Tensors["x"].Data[1<<20-1]; return nil })
	if err == nil || !strings.Contains(err.Error(), "shrank") {
		t.Errorf("reading what is gone gives %v, %d", err, b)
	}
	c.Close()
}

func FuzzDecode(f *testing.F) {
	for _, c := range malformed {
		if len(c.file) < 1000 {
			f.Add(c.file)
		}
	}
	f.Add(file(`{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"s":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}  `, "12345678x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, names, meta, err := Decode(b)
		if err != nil {
			return
		}
		if len(names) != len(tensors) {
			t.Fatalf("%d names for %d tensors", len(names), len(tensors))
		}
		var buf bytes.Buffer
		if err := Write(&buf, tensors, meta); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, _, _, err := Decode(buf.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(tensors, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{},"weight_map":{"one":"model.safetensors"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := parseIndex(b)
		if err != nil {
			return
		}
		for file := range files {
			if strings.ContainsAny(file, "/") || file == ".." || file == "." || file == "" {
				t.Fatalf("the index leads out of its folder: %q", file)
			}
		}
	})
}
