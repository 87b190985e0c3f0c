package amd64

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// features are the processor's names of llc's features.
var features = map[string]cpuid.FeatureID{"avx": cpuid.AVX, "avx2": cpuid.AVX2, "fma": cpuid.FMA3, "f16c": cpuid.F16C, "bmi": cpuid.BMI1, "bmi2": cpuid.BMI2,
	"avx512f": cpuid.AVX512F, "avx512vl": cpuid.AVX512VL, "avx512bw": cpuid.AVX512BW, "avx512dq": cpuid.AVX512DQ, "amx-tile": cpuid.AMXTILE, "amx-bf16": cpuid.AMXBF16, "amx-int8": cpuid.AMXINT8, "avx512vnni": cpuid.AVX512VNNI, "avx512bf16": cpuid.AVX512BF16}

// without names what a test leaves out here by a part of it that is skipped: a summary
// of tests shows those.
func without(t testing.TB, name, format string, args ...any) {
	if t, ok := t.(*testing.T); ok {
		t.Run(name, func(t *testing.T) { t.Skipf(format, args...) })
	}
}

// machines gives the targets that this processor can run, saying which it
// cannot.
func machines(t testing.TB) []Machine {
	var ms []Machine
	for _, m := range []Machine{AMX, AVX512, AVX2} {
		ok := true
		for _, f := range m.Features {
			id, known := features[f]
			if !known {
				t.Fatalf("%s needs %s, which this test cannot look up", m.Name, f)
			}
			if !cpuid.CPU.Supports(id) {
				without(t, m.Name, "not run here: the processor lacks %s", f)
				ok = false
				break
			}
		}
		if ok && m.Squares {
			// ARCH_REQ_XCOMP_PERM for the tiles' data (Linux, arch/x86/xstate).
			if _, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, 0x1023, 18, 0); errno != 0 {
				without(t, m.Name, "not run here: the system does not grant matrix tiles: %v", errno)
				ok = false
			}
		}
		if f := m.Pairs; ok && f != "" && !cpuid.CPU.Supports(features[f]) {
			without(t, m.Name+"/"+f, "not run here: the processor lacks %s; products of bf16 go another way", f)
			m.Pairs = ""
		}
		if ok {
			ms = append(ms, m)
		}
	}
	if len(ms) == 0 {
		t.Skip("this processor has neither AVX-512 nor AVX2: compiled code is not run")
	}
	return ms
}

// program is a blob in executable memory.
type program struct {
	*Blob
	mem []byte
}

// assembled has what tests had llc assemble, most often the functions that kernels call.
var assembled Objects

func compile(t testing.TB, m Machine, ks ...*kernel.Kernel) *program {
	t.Helper()
	return compileWith(t, m, &assembled, ks...)
}

func compileWith(t testing.TB, m Machine, known *Objects, ks ...*kernel.Kernel) *program {
	t.Helper()
	b, err := Compile(context.Background(), ks, m, known)
	if errors.As(err, new(Missing)) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range b.Features {
		id, known := features[f]
		if !known {
			t.Fatalf("%s needs %s, which this test cannot look up", m.Name, f)
		}
		if !cpuid.CPU.Supports(id) {
			t.Skipf("not run on %s: the processor lacks %s", m.Name, f)
		}
	}
	return load(t, b)
}

func load(t testing.TB, b *Blob) *program {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, (len(b.Code)+4095)/4096*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, b.Code)
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return &program{b, mem}
}

func (p *program) fn(t testing.TB, name string) uintptr {
	off, ok := p.Symbols[name]
	if !ok {
		t.Fatalf("the code has no %s", name)
	}
	return uintptr(unsafe.Pointer(&p.mem[off]))
}

// address is where v lies, for compiled code, until the pinner lets go of it. Memory
// that is only kept alive would not do: it may lie on a stack, and stacks move.
func address[T any](pin *runtime.Pinner, v []T) uintptr {
	at := unsafe.SliceData(v)
	pin.Pin(at)
	return uintptr(unsafe.Pointer(at))
}

// aligned is zeroed memory that begins at a multiple of 64 bytes.
func aligned(n int64) []byte {
	b := make([]byte, n+64)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 63
	return b[skip : int64(skip)+n]
}

// guard is what lies behind every buffer in tests: it must stay as it is.
const guard = 0xa5

// arena copies memories to aligned places with readable, guarded space behind.
func arena(mems []kernel.Memory) [][]byte {
	var out [][]byte
	for _, m := range mems {
		b := aligned(int64(len(m)) + 128)
		copy(b, m)
		for i := len(m); i < len(b); i++ {
			b[i] = guard
		}
		out = append(out, b)
	}
	return out
}

// run calls a kernel with so many workers, each on a thread of its own, through
// walk, and gives the buffers back.
func (p *program) run(t testing.TB, k *kernel.Kernel, mems []kernel.Memory, args []int64, workers int) []kernel.Memory {
	t.Helper()
	var pin runtime.Pinner
	defer pin.Unpin()
	bufs := arena(mems)
	ptrs := make([]uintptr, len(bufs)+1)
	for i, b := range bufs {
		ptrs[i] = address(&pin, b)
	}
	// The record has the arguments backwards, so that slots matter.
	slots, record := make([]int64, len(args)+1), make([]int64, len(args)+1)
	for i, a := range args {
		slots[i] = int64(len(args) - 1 - i)
		record[slots[i]] = a
	}
	step := plan.NativeStep{Kind: int64(plan.Launch), Fn: p.fn(t, k.Name), Bufs: address(&pin, ptrs), Slots: address(&pin, slots)}
	p.walk(t, []plan.NativeStep{step}, record, int64(len(record)), p.Scratch[k.Name], workers)
	out := make([]kernel.Memory, len(bufs))
	for i, b := range bufs {
		for j, c := range b[len(mems[i]):] {
			if c != guard {
				t.Fatalf("kernel %s wrote byte %d behind buffer %s", k.Name, j, k.Bufs[i].Name)
			}
		}
		out[i] = kernel.Memory(b[:len(mems[i])])
	}
	return out
}

func (p *program) walk(t testing.TB, steps []plan.NativeStep, records []int64, length, scratch int64, workers int) {
	t.Helper()
	fn := p.fn(t, walkName)
	var pin runtime.Pinner
	defer pin.Unpin()
	first, record, barrier := address(&pin, steps), address(&pin, records), address(&pin, aligned(int64(unsafe.Sizeof(plan.NativeBarrier{}))))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var pin runtime.Pinner
			defer pin.Unpin()
			near := aligned(plan.HostBytes + scratch + 256)
			for i := range near {
				near[i] = 0xff // NaN: what is undefined must not show
			}
			binary.LittleEndian.PutUint64(near, uint64(12*(w%2))) // nothing depends on it
			near = near[plan.HostBytes:]
			purego.SyscallN(fn, first, uintptr(len(steps)), record, uintptr(length), address(&pin, near), uintptr(w), uintptr(workers), barrier)
			for i, c := range near[scratch:] {
				if c != 0xff {
					t.Errorf("a worker wrote byte %d behind its scratch", i)
					break
				}
			}
		})
	}
	wg.Wait()
}

// parse reads kernels in their text form.
func parse(t testing.TB, src string) []*kernel.Kernel {
	t.Helper()
	ks, err := kernel.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func readKernels(t testing.TB, name string) []*kernel.Kernel {
	t.Helper()
	src, err := os.ReadFile("../../ir/kernel/testdata/" + name + ".kernel")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, strings.TrimSpace(string(src)))
}
