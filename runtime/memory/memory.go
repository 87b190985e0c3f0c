// Package memory holds memory that Go's collector does not manage: mapped
// files, anonymous pages that compiled code reads and writes, and code pages.
// Everything unsafe about turning addresses into slices and back is here.
//
// A Region is released when nothing refers to it any more, or by Free. Slices
// and addresses taken from it do not keep it: their holder keeps the Region.
package memory

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Slack is the number of readable bytes behind every buffer: kernels may load
// whole vectors at a buffer's end.
const Slack = 64

// Align is the alignment of every buffer.
const Align = 64

// Region is a range of pages.
type Region struct {
	bytes   []byte
	cleanup runtime.Cleanup
}

// Bytes is the region's memory.
func (r *Region) Bytes() []byte { return r.bytes }

// Len is the region's size in bytes.
func (r *Region) Len() int64 { return int64(len(r.bytes)) }

// Addr is the address of byte off, which may be the one behind the last.
func (r *Region) Addr(off int64) uintptr {
	if off < 0 || off > int64(len(r.bytes)) {
		panic("memory: an address outside its region")
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(r.bytes))) + uintptr(off)
}

// Free gives the pages back at once; the region is empty afterwards.
func (r *Region) Free() {
	if r == nil || r.bytes == nil {
		return
	}
	r.cleanup.Stop()
	release(r.bytes)
	r.bytes = nil
}

// own makes a region of mapped pages that are released with it.
func own(pages []byte) *Region {
	r := &Region{bytes: pages}
	r.cleanup = runtime.AddCleanup(r, release, pages)
	return r
}

// Poison fills fresh memory with bytes 0xff, which are no number in any
// floating type, so that what is read before it is written shows. Only tests set
// it, before they map anything.
var Poison bool

// New maps n zeroed bytes and Slack readable ones behind them, page-aligned.
// The error says how much could not be had.
func New(n int64) (*Region, error) {
	if n < 0 || n > math.MaxInt-1<<20 {
		return nil, fmt.Errorf("%d bytes of memory are impossible", n)
	}
	pages, err := anonymous(int(n) + Slack)
	if err != nil {
		return nil, fmt.Errorf("no memory for %d bytes: %w", n, err)
	}
	if Poison {
		for i := range pages {
			pages[i] = 0xff
		}
	}
	return own(pages), nil
}

// Numbers is a value of fixed size without pointers.
type Numbers interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int32 | ~int64 | ~float32 | ~float64 | ~uintptr
}

// View shows count values at byte off of the region, which must lie inside it
// and be aligned to their size.
func View[T Numbers](r *Region, off int64, count int) []T {
	var one T
	size := int64(unsafe.Sizeof(one))
	if off < 0 || count < 0 || off%size != 0 || off > r.Len() || int64(count) > (r.Len()-off)/size {
		panic("memory: a view outside its region")
	}
	if count == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&r.bytes[off])), count)
}

// Up rounds n up to a multiple of Align.
func Up(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// Raw shows the bytes of a slice of values, and as capacity those of its capacity.
func Raw[T Numbers](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	size := int(unsafe.Sizeof(v[0]))
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), cap(v)*size)[:len(v)*size]
}

// Values shows bytes as values, where they are aligned for them and a whole
// number of them: ok is false otherwise.
func Values[T Numbers](b []byte) (v []T, ok bool) {
	var one T
	size := int(unsafe.Sizeof(one))
	p := unsafe.SliceData(b)
	if len(b)%size != 0 || uintptr(unsafe.Pointer(p))%unsafe.Alignof(one) != 0 {
		return nil, false
	}
	if len(b) == 0 {
		return nil, true
	}
	return unsafe.Slice((*T)(unsafe.Pointer(p)), len(b)/size), true
}

// Address is where a slice of Go's heap lies, for calls of foreign code: the
// slice's holder keeps it until the call has returned. 0 for an empty slice.
func Address[T Numbers](v []T) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(v)))
}

// At shows n bytes at an address that foreign code gave, outside Go's heap.
func At(addr uintptr, n int64) []byte {
	if addr == 0 || n < 0 || n > math.MaxInt {
		panic("memory: no bytes at this address")
	}
	return unsafe.Slice((*byte)(pointer(addr)), n)
}

// Text is the string at an address that foreign code gave, up to its zero byte;
// empty at 0.
func Text(addr uintptr) string {
	if addr == 0 {
		return ""
	}
	const most = 1 << 12
	for n := int64(0); n < most; n++ {
		if b := At(addr, n+1); b[n] == 0 {
			return string(b[:n])
		}
	}
	return string(At(addr, most))
}

// pointer is an address outside Go's heap as a pointer, which the collector
// leaves alone.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
