package cuda

import (
	"fmt"
	goruntime "runtime"
	"sync/atomic"

	"github.com/memc-lang/memc/runtime/memory"
)

// GPU is a device that is ready for work. Its methods, and those of what it
// gives, are called between Enter and Leave.
type GPU struct {
	Info
	driver  *Driver
	api     API
	context ContextID
	broken  atomic.Pointer[error] // what made the driver refuse all further work
}

// Driver is the GPU's.
func (g *GPU) Driver() *Driver { return g.driver }

// Enter keeps the goroutine on its thread and makes the GPU's context current
// there. Each has one Leave.
func (g *GPU) Enter() error {
	if e := g.broken.Load(); e != nil {
		return fmt.Errorf("%s takes no more work in this process, since: %w", g.Name, *e)
	}
	goruntime.LockOSThread()
	if r := g.api.SetCurrent(g.context); r != Success {
		goruntime.UnlockOSThread()
		return g.fail("make its context current", r)
	}
	return nil
}

// Leave ends what Enter began.
func (g *GPU) Leave() { goruntime.UnlockOSThread() }

// fail makes an error of a result and remembers one that nothing survives.
func (g *GPU) fail(doing string, r Result) error {
	if r == Success {
		return nil
	}
	err := g.driver.fail(doing, r)
	if lost(err) {
		g.broken.CompareAndSwap(nil, &err)
	}
	return err
}

// Room is nil where the device has so many bytes of memory free; else a *Lacks
// says how much is needed for what, and how much there is.
func (g *GPU) Room(bytes int64, what string) error {
	free, total, r := g.api.MemInfo()
	if r != Success {
		return g.fail("tell how much memory is free", r)
	}
	if bytes > free {
		return &Lacks{fmt.Sprintf("%s needs %s of GPU memory; of the %s that %s has, %s is free", what, gigabytes(bytes), gigabytes(total), g.Name, gigabytes(free))}
	}
	return nil
}

// gigabytes is a size for people.
func gigabytes(n int64) string {
	if n < 1<<27 {
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

// Memory is a piece of the device's memory. It is freed when nothing refers to
// it any more, or by Free.
type Memory struct {
	Addr    Addr
	Len     int64
	gpu     *GPU
	cleanup goruntime.Cleanup
}

// Alloc gives so many bytes, aligned to 256, of whatever was in them; what is
// for the error. A *Lacks says that there is no room.
func (g *GPU) Alloc(bytes int64, what string) (*Memory, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("%s needs %d bytes of GPU memory, which is impossible", what, bytes)
	}
	m := &Memory{Len: bytes, gpu: g}
	if bytes == 0 {
		return m, nil
	}
	if err := g.Room(bytes, what); err != nil {
		return nil, err
	}
	a, r := g.api.Alloc(bytes)
	if r == OutOfMemory {
		return nil, &Lacks{fmt.Sprintf("%s needs %s of GPU memory, and %s has no piece as large free", what, gigabytes(bytes), g.Name)}
	}
	if r != Success {
		return nil, g.fail("give memory for "+what, r)
	}
	m.Addr = a
	m.cleanup = goruntime.AddCleanup(m, func(a Addr) { g.release(func() { g.api.Free(a) }) }, a)
	return m, nil
}

// release runs calls that free something, from wherever the collector does. An
// error of theirs has no one to tell.
func (g *GPU) release(calls func()) {
	if g.Enter() == nil {
		calls()
		g.Leave()
	}
}

// Free gives the memory back at once; nil has none.
func (m *Memory) Free() {
	if m == nil || m.Addr == 0 {
		return
	}
	m.cleanup.Stop()
	m.gpu.api.Free(m.Addr)
	m.Addr, m.Len = 0, 0
}

// Pinned is page-locked memory of the host, from and to which the device copies
// while other work goes on.
type Pinned struct {
	addr    uintptr
	bytes   []byte
	gpu     *GPU
	cleanup goruntime.Cleanup
}

// Pin gives so many bytes of page-locked memory.
func (g *GPU) Pin(bytes int64) (*Pinned, error) {
	p := &Pinned{gpu: g}
	if bytes == 0 {
		return p, nil
	}
	addr, r := g.api.HostAlloc(bytes)
	if r != Success {
		return nil, g.fail(fmt.Sprintf("give %s of page-locked memory", gigabytes(bytes)), r)
	}
	p.addr, p.bytes = addr, memory.At(addr, bytes)
	p.cleanup = goruntime.AddCleanup(p, func(a uintptr) { g.release(func() { g.api.HostFree(a) }) }, addr)
	return p, nil
}

// Bytes is the memory. The holder of the bytes keeps p.
func (p *Pinned) Bytes() []byte { return p.bytes }

// Values shows the memory from a byte on as 64-bit integers.
func (p *Pinned) Values(off, count int) []int64 {
	v, ok := memory.Values[int64](p.bytes[off : off+8*count])
	if !ok {
		panic("cuda: unaligned memory")
	}
	return v
}

// Free gives the memory back at once; nil has none.
func (p *Pinned) Free() {
	if p == nil || p.addr == 0 {
		return
	}
	p.cleanup.Stop()
	p.gpu.api.HostFree(p.addr)
	p.addr, p.bytes = 0, nil
}

// Module is loaded code.
type Module struct {
	gpu *GPU
	id  ModuleID
}

// Load compiles PTX text for the device. An error has what the driver's
// compiler says.
func (g *GPU) Load(ptx []byte) (*Module, error) {
	if err := g.driver.Reads(string(ptx)); err != nil {
		return nil, err
	}
	id, log, r := g.api.LoadModule(ptx)
	switch {
	case r == UnsupportedPTXVersion:
		version, _, _ := needs(string(ptx))
		return nil, &Lacks{fmt.Sprintf("the program is PTX %s, which this machine's driver, of CUDA %s, does not read: a newer one does", version, g.driver.Version())}
	case r != Success && log != "":
		return nil, fmt.Errorf("%w\n%s", g.fail("compile the program's PTX", r), log)
	case r != Success:
		return nil, g.fail("compile the program's PTX", r)
	}
	m := &Module{gpu: g, id: id}
	goruntime.AddCleanup(m, func(id ModuleID) { g.release(func() { g.api.UnloadModule(id) }) }, id)
	return m, nil
}

// Function is a kernel that is ready for launches of one shape.
type Function struct {
	Name    string
	Threads int // of a CTA
	Shared  int // bytes of dynamic shared memory
	Fits    int // CTAs that the device runs at once

	Registers int // of a thread
	Local     int // bytes of a thread that did not fit in registers

	module *Module // kept
	id     FunctionID
}

// Function finds a kernel and asks for its shared memory. A *Lacks says that
// the device has too little of something.
func (m *Module) Function(name string, threads, shared int) (*Function, error) {
	g := m.gpu
	f := &Function{Name: name, Threads: threads, Shared: shared, module: m}
	var r Result
	if f.id, r = g.api.ModuleFunction(m.id, name); r != Success {
		return nil, g.fail("find the kernel "+name+" in the program", r)
	}
	if shared > g.Shared {
		return nil, &Lacks{fmt.Sprintf("the kernel %s needs %d bytes of shared memory; %s has %d for a CTA", name, shared, g.Name, g.Shared)}
	}
	const without = 48 << 10 // more is asked for (CUDA C++ Programming Guide, "Shared Memory")
	if shared > without {
		if r := g.api.SetFunctionAttribute(f.id, MaxDynamicShared, shared); r != Success {
			return nil, g.fail(fmt.Sprintf("give the kernel %s %d bytes of shared memory", name, shared), r)
		}
	}
	var each int
	var results [3]Result
	each, results[0] = g.api.Occupancy(f.id, threads, shared)
	f.Registers, results[1] = g.api.FunctionAttribute(f.id, Registers)
	f.Local, results[2] = g.api.FunctionAttribute(f.id, LocalBytes)
	for _, r := range results {
		if r != Success {
			return nil, g.fail("describe the kernel "+name, r)
		}
	}
	if each < 1 {
		return nil, &Lacks{fmt.Sprintf("a CTA of the kernel %s, with %d threads of %d registers and %d bytes of shared memory, does not fit on %s", name, threads, f.Registers, shared, g.Name)}
	}
	f.Fits = each * max(g.Multiprocessors, 1)
	return f, nil
}
