// Package cudatest is a CUDA driver for tests: its device is the simulator of
// PTX text, its memory is this machine's. It does what the driver's manual says
// of order and of errors: work given to a stream is done when something waits
// for it and no sooner, so that a copy which is looked at too early, or whose
// source is used again, shows; a fault in a kernel makes all further calls fail.
package cudatest

import (
	"fmt"
	"strings"
	"sync"

	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/runtime/cuda"
	"github.com/memc-lang/memc/runtime/memory"
)

// Device is a driver with one device. Its exported fields are set before it is
// started; zero values stand for a GPU of compute capability 8.0 under CUDA 12.4
// with 1 GiB, 3 multiprocessors and one CTA on each.
type Device struct {
	Name            string
	Memory          int64
	Capability      int
	CUDA            int
	Multiprocessors int
	Shared          int // the most bytes of a CTA

	// Fail, where given, is asked before each call, by the name of the API's
	// method; a result other than Success becomes the call's.
	Fail func(call string) cuda.Result

	mutex   sync.Mutex
	Calls   map[string]int // how often each method was called
	Fault   error          // what the simulator said of the kernel that failed
	sticky  cuda.Result
	current map[int]bool // threads that have the context
	memory  sim.Memory
	sizes   map[cuda.Addr]int64
	used    int64
	pinned  map[uintptr]*memory.Region
	modules []*sim.Program
	kernels []kernel
	streams map[cuda.StreamID]*stream
	graphs  map[uintptr][]work // graphs and executable graphs
	events  map[cuda.EventID]int
	clock   int
	next    uintptr
}

type kernel struct {
	module *sim.Program
	name   string
	shared int // that may be asked for
}

type stream struct {
	queue     []work
	capturing bool
	captured  []work
}

// work is one thing that a stream does; it runs with the device's mutex held.
type work func() cuda.Result

const (
	theDevice  cuda.DeviceID  = 7
	theContext cuda.ContextID = 70
)

// Start gives the driver to run programs on.
func (d *Device) Start() (*cuda.Driver, error) { return cuda.Start(d) }

// enter begins a call: it takes the mutex, counts, and says whether the call is
// to fail.
func (d *Device) enter(call string, context bool) (leave func(), r cuda.Result) {
	d.mutex.Lock()
	if d.Calls == nil {
		d.Calls, d.current, d.sizes = map[string]int{}, map[int]bool{}, map[cuda.Addr]int64{}
		d.pinned, d.streams = map[uintptr]*memory.Region{}, map[cuda.StreamID]*stream{}
		d.graphs, d.events = map[uintptr][]work{}, map[cuda.EventID]int{}
		d.next = 1000
	}
	d.Calls[call]++
	const invalidContext = 201
	switch {
	case d.Fail != nil && d.Fail(call) != cuda.Success:
		r = d.Fail(call)
	case context && !d.current[thread()]:
		r = invalidContext
	case context:
		r = d.sticky
	}
	return d.mutex.Unlock, r
}

// Count is how often a method of the API was called.
func (d *Device) Count(call string) int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.Calls[call]
}

// Live is how many bytes of the device's memory are allocated.
func (d *Device) Live() int64 {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.used
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Init is cuInit.
func (d *Device) Init() cuda.Result {
	leave, r := d.enter("Init", false)
	defer leave()
	return r
}

// DriverVersion is cuDriverGetVersion.
func (d *Device) DriverVersion() (int, cuda.Result) { return or(d.CUDA, 12040), cuda.Success }

// ErrorName is cuGetErrorName, for the errors that tests meet.
func (d *Device) ErrorName(r cuda.Result) string { return names[r][0] }

// ErrorString is cuGetErrorString.
func (d *Device) ErrorString(r cuda.Result) string { return names[r][1] }

var names = map[cuda.Result][2]string{
	cuda.InvalidValue:          {"CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	cuda.OutOfMemory:           {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	cuda.NoDevice:              {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	cuda.InvalidPTX:            {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	cuda.UnsupportedPTXVersion: {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
	cuda.NotFound:              {"CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	cuda.IllegalAddress:        {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	cuda.LaunchOutOfResources:  {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
	201:                        {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
}

// DeviceCount is cuDeviceGetCount.
func (d *Device) DeviceCount() (int, cuda.Result) { return 1, cuda.Success }

// Device is cuDeviceGet.
func (d *Device) Device(ordinal int) (cuda.DeviceID, cuda.Result) {
	if ordinal != 0 {
		return 0, cuda.InvalidDevice
	}
	return theDevice, cuda.Success
}

// DeviceName is cuDeviceGetName.
func (d *Device) DeviceName(cuda.DeviceID) (string, cuda.Result) {
	return or(d.Name, "Simulated"), cuda.Success
}

// DeviceMemory is cuDeviceTotalMem.
func (d *Device) DeviceMemory(cuda.DeviceID) (int64, cuda.Result) {
	return or(d.Memory, 1<<30), cuda.Success
}

// DeviceAttribute is cuDeviceGetAttribute.
func (d *Device) DeviceAttribute(_ cuda.DeviceID, a cuda.DeviceAttribute) (int, cuda.Result) {
	switch a {
	case cuda.Major:
		return or(d.Capability, 80) / 10, cuda.Success
	case cuda.Minor:
		return or(d.Capability, 80) % 10, cuda.Success
	case cuda.Multiprocessors:
		return or(d.Multiprocessors, 3), cuda.Success
	case cuda.SharedOptIn:
		return or(d.Shared, 163<<10), cuda.Success
	}
	return 0, cuda.InvalidValue
}

// RetainPrimary is cuDevicePrimaryCtxRetain.
func (d *Device) RetainPrimary(dev cuda.DeviceID) (cuda.ContextID, cuda.Result) {
	leave, r := d.enter("RetainPrimary", false)
	defer leave()
	return theContext, r
}

// SetCurrent is cuCtxSetCurrent.
func (d *Device) SetCurrent(c cuda.ContextID) cuda.Result {
	leave, r := d.enter("SetCurrent", false)
	defer leave()
	d.current[thread()] = c == theContext
	return r
}

// MemInfo is cuMemGetInfo.
func (d *Device) MemInfo() (free, total int64, r cuda.Result) {
	leave, r := d.enter("MemInfo", true)
	defer leave()
	return or(d.Memory, 1<<30) - d.used, or(d.Memory, 1<<30), r
}

// Alloc is cuMemAlloc: a kernel that reads the memory before anything has
// written it is at fault.
func (d *Device) Alloc(n int64) (cuda.Addr, cuda.Result) {
	leave, r := d.enter("Alloc", true)
	defer leave()
	if r != cuda.Success {
		return 0, r
	}
	if n <= 0 {
		return 0, cuda.InvalidValue
	}
	if n > or(d.Memory, 1<<30)-d.used {
		return 0, cuda.OutOfMemory
	}
	a := cuda.Addr(d.memory.Fresh(fmt.Sprintf("allocation %d of %d bytes", d.Calls["Alloc"], n), int(n)))
	d.sizes[a] = n
	d.used += n
	return a, r
}

// Free is cuMemFree: it waits for all work.
func (d *Device) Free(a cuda.Addr) cuda.Result {
	leave, r := d.enter("Free", true)
	defer leave()
	for _, s := range d.streams {
		d.drain(s)
	}
	if d.memory.Free(uint64(a)) != nil {
		return cuda.InvalidValue
	}
	d.used -= d.sizes[a]
	delete(d.sizes, a)
	return r
}

// HostAlloc is cuMemHostAlloc.
func (d *Device) HostAlloc(n int64) (uintptr, cuda.Result) {
	leave, r := d.enter("HostAlloc", true)
	defer leave()
	m, err := memory.New(n)
	if err != nil || r != cuda.Success {
		return 0, max(r, cuda.OutOfMemory)
	}
	d.pinned[m.Addr(0)] = m
	return m.Addr(0), r
}

// HostFree is cuMemFreeHost.
func (d *Device) HostFree(p uintptr) cuda.Result {
	leave, r := d.enter("HostFree", true)
	defer leave()
	m := d.pinned[p]
	if m == nil {
		return cuda.InvalidValue
	}
	for _, s := range d.streams {
		d.drain(s)
	}
	m.Free()
	delete(d.pinned, p)
	return r
}

// LoadModule is cuModuleLoadDataEx.
func (d *Device) LoadModule(ptx []byte) (cuda.ModuleID, string, cuda.Result) {
	leave, r := d.enter("LoadModule", true)
	defer leave()
	if r != cuda.Success {
		return 0, "", r
	}
	p, err := sim.Parse(string(ptx))
	if err != nil {
		return 0, "ptxas application ptx input, " + err.Error(), cuda.InvalidPTX
	}
	d.modules = append(d.modules, p)
	return cuda.ModuleID(len(d.modules)), "", r
}

// UnloadModule is cuModuleUnload.
func (d *Device) UnloadModule(cuda.ModuleID) cuda.Result {
	leave, r := d.enter("UnloadModule", true)
	defer leave()
	return r
}

// ModuleFunction is cuModuleGetFunction.
func (d *Device) ModuleFunction(m cuda.ModuleID, name string) (cuda.FunctionID, cuda.Result) {
	leave, r := d.enter("ModuleFunction", true)
	defer leave()
	if r != cuda.Success {
		return 0, r
	}
	p := d.modules[m-1]
	if err := p.Run(name, sim.Launch{Memory: &sim.Memory{}}); err != nil && strings.Contains(err.Error(), "no entry") {
		return 0, cuda.NotFound
	}
	d.kernels = append(d.kernels, kernel{p, name, 48 << 10})
	return cuda.FunctionID(len(d.kernels)), r
}

// FunctionAttribute is cuFuncGetAttribute.
func (d *Device) FunctionAttribute(_ cuda.FunctionID, a cuda.FunctionAttribute) (int, cuda.Result) {
	leave, r := d.enter("FunctionAttribute", true)
	defer leave()
	return map[cuda.FunctionAttribute]int{cuda.MaxThreads: 1024, cuda.Registers: 64}[a], r
}

// SetFunctionAttribute is cuFuncSetAttribute.
func (d *Device) SetFunctionAttribute(f cuda.FunctionID, a cuda.FunctionAttribute, v int) cuda.Result {
	leave, r := d.enter("SetFunctionAttribute", true)
	defer leave()
	if a != cuda.MaxDynamicShared || v > or(d.Shared, 163<<10) {
		return cuda.InvalidValue
	}
	d.kernels[f-1].shared = v
	return r
}

// Occupancy is cuOccupancyMaxActiveBlocksPerMultiprocessor: one.
func (d *Device) Occupancy(cuda.FunctionID, int, int) (int, cuda.Result) {
	leave, r := d.enter("Occupancy", true)
	defer leave()
	return 1, r
}
