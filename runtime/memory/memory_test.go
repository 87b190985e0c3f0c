package memory

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestNew(t *testing.T) {
	r, err := New(100)
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() < 100+Slack || r.Addr(0)%Align != 0 {
		t.Fatalf("%d bytes at %#x", r.Len(), r.Addr(0))
	}
	v := View[int32](r, 96, 17) // into the slack
	v[16] = -1
	if b := r.Bytes()[160:164]; b[0] != 255 || b[3] != 255 {
		t.Errorf("a view shows other memory: %v", b)
	}
	for _, c := range []struct {
		off   int64
		count int
	}{{-4, 1}, {2, 1}, {160, 2}, {168, 0}, {0, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a view of %d values at %d is granted", c.count, c.off)
				}
			}()
			View[int32](r, c.off, c.count)
		}()
	}
	r.Free()
	r.Free()
	if r.Len() != 0 {
		t.Error("a freed region still has bytes")
	}
	if _, err := New(-1); err == nil {
		t.Error("negative memory is granted")
	}
	if _, err := New(1 << 60); err == nil {
		t.Error("an exabyte is granted")
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := File(path)
	if err != nil || string(r.Bytes()) != "hello" {
		t.Fatalf("%q, %v", r.Bytes(), err)
	}
	r.Free()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = File(path); err != nil || r.Len() != 0 {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := File(t.TempDir()); err == nil {
		t.Error("a folder is mapped")
	}
}

func TestValues(t *testing.T) {
	b := Raw([]float32{1, 2})
	if v, ok := Values[float32](b); !ok || len(v) != 2 || v[1] != 2 {
		t.Errorf("round trip: %v %v", v, ok)
	}
	if _, ok := Values[float32](b[1:5]); ok {
		t.Error("unaligned bytes are shown as floats")
	}
	if _, ok := Values[float32](b[:7]); ok {
		t.Error("seven bytes are shown as floats")
	}
}

// TestAt: memory at an address, as foreign code gives it.
func TestAt(t *testing.T) {
	r, err := New(2 << 12)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Free()
	copy(r.Bytes(), "text\x00more")
	if s := string(At(r.Addr(5), 4)); s != "more" {
		t.Errorf("%q lies there", s)
	}
	if s := Text(r.Addr(0)); s != "text" {
		t.Errorf("the text is %q", s)
	}
	if Text(0) != "" {
		t.Error("there is a text at 0")
	}
	for i := range r.Bytes() {
		r.Bytes()[i] = 'x'
	}
	if n := len(Text(r.Addr(0))); n != 1<<12 {
		t.Errorf("a text without an end has %d bytes", n)
	}
	v := []uint64{1, 2}
	if a := Address(v[1:]) - Address(v); a != 8 || Address(v[:0:0]) != Address(v) || Address[int32](nil) != 0 {
		t.Errorf("the second value is %d bytes behind the first", a)
	}
	defer func() {
		if recover() == nil {
			t.Error("memory at 0 is shown")
		}
	}()
	At(0, 1)
}

// TestAvailable: what can be had is not nothing, nor more than a machine's
// addresses, where the system tells it.
func TestAvailable(t *testing.T) {
	if n := Available(); runtime.GOOS == "linux" && (n < 1<<20 || n > 1<<50) {
		t.Errorf("%d bytes of memory can be had", n)
	}
}
