package cuda

import (
	"math"
	"sync"

	"github.com/memc-lang/memc/runtime/foreign"
	"github.com/memc-lang/memc/runtime/memory"
)

// driverLibrary is the name that the driver's library goes by on every system
// that has it.
const driverLibrary = "libcuda.so.1"

// call numbers the driver's functions.
type call int

const (
	cuInit call = iota
	cuDriverGetVersion
	cuGetErrorName
	cuGetErrorString
	cuDeviceGetCount
	cuDeviceGet
	cuDeviceGetName
	cuDeviceTotalMem
	cuDeviceGetAttribute
	cuDevicePrimaryCtxRetain
	cuCtxSetCurrent
	cuMemGetInfo
	cuMemAlloc
	cuMemFree
	cuMemHostAlloc
	cuMemFreeHost
	cuMemcpyHtoDAsync
	cuMemcpyDtoHAsync
	cuMemcpyDtoDAsync
	cuModuleLoadDataEx
	cuModuleUnload
	cuModuleGetFunction
	cuFuncGetAttribute
	cuFuncSetAttribute
	cuOccupancy
	cuLaunchKernel
	cuStreamCreate
	cuStreamDestroy
	cuStreamSynchronize
	cuEventCreate
	cuEventDestroy
	cuEventRecord
	cuEventElapsedTime
	cuStreamBeginCapture
	cuStreamEndCapture
	cuGraphInstantiate
	cuGraphDestroy
	cuGraphLaunch
	cuGraphExecDestroy
	calls
)

// exported are the names under which the library has the functions. A function
// whose meaning has changed has a version in its name; cuda.h maps the plain
// names to these.
var exported = [calls]string{
	cuInit:                   "cuInit",
	cuDriverGetVersion:       "cuDriverGetVersion",
	cuGetErrorName:           "cuGetErrorName",
	cuGetErrorString:         "cuGetErrorString",
	cuDeviceGetCount:         "cuDeviceGetCount",
	cuDeviceGet:              "cuDeviceGet",
	cuDeviceGetName:          "cuDeviceGetName",
	cuDeviceTotalMem:         "cuDeviceTotalMem_v2",
	cuDeviceGetAttribute:     "cuDeviceGetAttribute",
	cuDevicePrimaryCtxRetain: "cuDevicePrimaryCtxRetain",
	cuCtxSetCurrent:          "cuCtxSetCurrent",
	cuMemGetInfo:             "cuMemGetInfo_v2",
	cuMemAlloc:               "cuMemAlloc_v2",
	cuMemFree:                "cuMemFree_v2",
	cuMemHostAlloc:           "cuMemHostAlloc",
	cuMemFreeHost:            "cuMemFreeHost",
	cuMemcpyHtoDAsync:        "cuMemcpyHtoDAsync_v2",
	cuMemcpyDtoHAsync:        "cuMemcpyDtoHAsync_v2",
	cuMemcpyDtoDAsync:        "cuMemcpyDtoDAsync_v2",
	cuModuleLoadDataEx:       "cuModuleLoadDataEx",
	cuModuleUnload:           "cuModuleUnload",
	cuModuleGetFunction:      "cuModuleGetFunction",
	cuFuncGetAttribute:       "cuFuncGetAttribute",
	cuFuncSetAttribute:       "cuFuncSetAttribute",
	cuOccupancy:              "cuOccupancyMaxActiveBlocksPerMultiprocessor",
	cuLaunchKernel:           "cuLaunchKernel",
	cuStreamCreate:           "cuStreamCreate",
	cuStreamDestroy:          "cuStreamDestroy_v2",
	cuStreamSynchronize:      "cuStreamSynchronize",
	cuEventCreate:            "cuEventCreate",
	cuEventDestroy:           "cuEventDestroy_v2",
	cuEventRecord:            "cuEventRecord",
	cuEventElapsedTime:       "cuEventElapsedTime",
	cuStreamBeginCapture:     "cuStreamBeginCapture_v2",
	cuStreamEndCapture:       "cuStreamEndCapture",
	cuGraphInstantiate:       "cuGraphInstantiateWithFlags",
	cuGraphDestroy:           "cuGraphDestroy",
	cuGraphLaunch:            "cuGraphLaunch",
	cuGraphExecDestroy:       "cuGraphExecDestroy",
}

// Library is the driver's library.
type Library struct{ at [calls]uintptr }

// Load opens the library and finds its functions. An error says that there is
// no driver, or that it is too old to have a function.
func Load() (*Library, error) { return load(driverLibrary) }

func load(file string) (*Library, error) {
	lib, err := foreign.Open(file)
	if err != nil {
		return nil, &Lacks{"there is no NVIDIA driver: " + err.Error() + "; it comes with the driver for Linux (nvidia.com/drivers), in a container with the NVIDIA Container Toolkit"}
	}
	l := &Library{}
	for i, name := range exported {
		if l.at[i], err = lib.Symbol(name); err != nil {
			return nil, &Lacks{"the NVIDIA driver is too old: " + err.Error() + ", which drivers have from CUDA 11.4 (version 470) on"}
		}
	}
	return l, nil
}

var _ API = (*Library)(nil)

// frame is the memory of one call that the driver reads and writes. It lies in
// Go's heap, where nothing moves, and is used again.
type frame struct {
	args   [11]uintptr
	out    [2]uint64
	params [4]uint64
	places [4]uintptr
}

var frames = sync.Pool{New: func() any { return new(frame) }}

// call calls a function.
func (l *Library) call(c call, args ...uintptr) Result {
	f := frames.Get().(*frame)
	n := copy(f.args[:], args)
	r := Result(foreign.Call(l.at[c], f.args[:n]))
	frames.Put(f)
	return r
}

// give calls a function whose first argument is where to put what it gives.
func (l *Library) give(c call, args ...uintptr) (uint64, Result) {
	f := frames.Get().(*frame)
	f.out[0] = 0
	f.args[0] = memory.Address(f.out[:])
	n := copy(f.args[1:], args)
	r := Result(foreign.Call(l.at[c], f.args[:1+n]))
	v := f.out[0]
	frames.Put(f)
	return v, r
}

// text calls a function of an error's number that gives the address of a text.
func (l *Library) text(c call, r Result) string {
	f := frames.Get().(*frame)
	f.out[0] = 0
	f.args[0], f.args[1] = uintptr(uint32(r)), memory.Address(f.out[:])
	foreign.Call(l.at[c], f.args[:2])
	at := uintptr(f.out[0])
	frames.Put(f)
	return memory.Text(at)
}

// Init is cuInit.
func (l *Library) Init() Result { return l.call(cuInit, 0) }

// DriverVersion is cuDriverGetVersion.
func (l *Library) DriverVersion() (int, Result) { return whole(l.give(cuDriverGetVersion)) }

// ErrorName is cuGetErrorName.
func (l *Library) ErrorName(r Result) string { return l.text(cuGetErrorName, r) }

// ErrorString is cuGetErrorString.
func (l *Library) ErrorString(r Result) string { return l.text(cuGetErrorString, r) }

// whole reads an int of C.
func whole(v uint64, r Result) (int, Result) { return int(int32(v)), r }

// DeviceCount is cuDeviceGetCount.
func (l *Library) DeviceCount() (int, Result) { return whole(l.give(cuDeviceGetCount)) }

// Device is cuDeviceGet.
func (l *Library) Device(ordinal int) (DeviceID, Result) {
	v, r := l.give(cuDeviceGet, uintptr(ordinal))
	return DeviceID(int32(v)), r
}

// DeviceName is cuDeviceGetName.
func (l *Library) DeviceName(d DeviceID) (string, Result) {
	const most = 256
	name, err := memory.New(most)
	if err != nil {
		return "", OutOfMemory
	}
	defer name.Free()
	r := l.call(cuDeviceGetName, name.Addr(0), most, uintptr(d))
	if r != Success {
		return "", r
	}
	return memory.Text(name.Addr(0)), r
}

// DeviceMemory is cuDeviceTotalMem.
func (l *Library) DeviceMemory(d DeviceID) (int64, Result) {
	v, r := l.give(cuDeviceTotalMem, uintptr(d))
	return int64(v), r
}

// DeviceAttribute is cuDeviceGetAttribute.
func (l *Library) DeviceAttribute(d DeviceID, a DeviceAttribute) (int, Result) {
	return whole(l.give(cuDeviceGetAttribute, uintptr(a), uintptr(d)))
}

// RetainPrimary is cuDevicePrimaryCtxRetain.
func (l *Library) RetainPrimary(d DeviceID) (ContextID, Result) {
	v, r := l.give(cuDevicePrimaryCtxRetain, uintptr(d))
	return ContextID(v), r
}

// SetCurrent is cuCtxSetCurrent.
func (l *Library) SetCurrent(c ContextID) Result { return l.call(cuCtxSetCurrent, uintptr(c)) }

// MemInfo is cuMemGetInfo.
func (l *Library) MemInfo() (free, total int64, r Result) {
	f := frames.Get().(*frame)
	defer frames.Put(f)
	f.args[0], f.args[1] = memory.Address(f.out[:1]), memory.Address(f.out[1:])
	r = Result(foreign.Call(l.at[cuMemGetInfo], f.args[:2]))
	return int64(f.out[0]), int64(f.out[1]), r
}

// Alloc is cuMemAlloc.
func (l *Library) Alloc(n int64) (Addr, Result) {
	v, r := l.give(cuMemAlloc, uintptr(n))
	return Addr(v), r
}

// Free is cuMemFree.
func (l *Library) Free(a Addr) Result { return l.call(cuMemFree, uintptr(a)) }

// HostAlloc is cuMemHostAlloc without flags.
func (l *Library) HostAlloc(n int64) (uintptr, Result) {
	v, r := l.give(cuMemHostAlloc, uintptr(n), 0)
	return uintptr(v), r
}

// HostFree is cuMemFreeHost.
func (l *Library) HostFree(p uintptr) Result { return l.call(cuMemFreeHost, p) }

// CopyIn is cuMemcpyHtoDAsync.
func (l *Library) CopyIn(to Addr, from uintptr, n int64, s StreamID) Result {
	return l.call(cuMemcpyHtoDAsync, uintptr(to), from, uintptr(n), uintptr(s))
}

// CopyOut is cuMemcpyDtoHAsync.
func (l *Library) CopyOut(to uintptr, from Addr, n int64, s StreamID) Result {
	return l.call(cuMemcpyDtoHAsync, to, uintptr(from), uintptr(n), uintptr(s))
}

// Copy is cuMemcpyDtoDAsync.
func (l *Library) Copy(to, from Addr, n int64, s StreamID) Result {
	return l.call(cuMemcpyDtoDAsync, uintptr(to), uintptr(from), uintptr(n), uintptr(s))
}

// The options of cuModuleLoadDataEx that memc gives (CUjit_option).
const (
	jitErrorLog     = 5
	jitErrorLogSize = 6
)

// LoadModule is cuModuleLoadDataEx with room for what the compiler says.
func (l *Library) LoadModule(ptx []byte) (ModuleID, string, Result) {
	const log, options, values = 1 << 16, 64, 64 // bytes
	text := memory.Up(int64(len(ptx)) + 1)
	m, err := memory.New(text + log + options + values)
	if err != nil {
		return 0, err.Error(), OutOfMemory
	}
	defer m.Free()
	clear(m.Bytes()[:text+log])
	copy(m.Bytes(), ptx)
	copy(memory.View[int32](m, text+log, 2), []int32{jitErrorLog, jitErrorLogSize})
	copy(memory.View[uintptr](m, text+log+options, 2), []uintptr{m.Addr(text), log})
	v, r := l.give(cuModuleLoadDataEx, m.Addr(0), 2, m.Addr(text+log), m.Addr(text+log+options))
	return ModuleID(v), memory.Text(m.Addr(text)), r
}

// UnloadModule is cuModuleUnload.
func (l *Library) UnloadModule(m ModuleID) Result { return l.call(cuModuleUnload, uintptr(m)) }

// ModuleFunction is cuModuleGetFunction.
func (l *Library) ModuleFunction(m ModuleID, name string) (FunctionID, Result) {
	text, err := memory.New(int64(len(name)) + 1)
	if err != nil {
		return 0, OutOfMemory
	}
	defer text.Free()
	text.Bytes()[copy(text.Bytes(), name)] = 0
	v, r := l.give(cuModuleGetFunction, uintptr(m), text.Addr(0))
	return FunctionID(v), r
}

// FunctionAttribute is cuFuncGetAttribute.
func (l *Library) FunctionAttribute(f FunctionID, a FunctionAttribute) (int, Result) {
	return whole(l.give(cuFuncGetAttribute, uintptr(a), uintptr(f)))
}

// SetFunctionAttribute is cuFuncSetAttribute.
func (l *Library) SetFunctionAttribute(f FunctionID, a FunctionAttribute, v int) Result {
	return l.call(cuFuncSetAttribute, uintptr(f), uintptr(a), uintptr(v))
}

// Occupancy is cuOccupancyMaxActiveBlocksPerMultiprocessor.
func (l *Library) Occupancy(f FunctionID, threads, shared int) (int, Result) {
	return whole(l.give(cuOccupancy, uintptr(f), uintptr(threads), uintptr(shared)))
}

// Launch is cuLaunchKernel.
func (l *Library) Launch(f FunctionID, grid [3]int, threads, shared int, s StreamID, args *[4]uint64) Result {
	m := frames.Get().(*frame)
	m.params = *args
	for i := range m.places {
		m.places[i] = memory.Address(m.params[i:])
	}
	m.args = [11]uintptr{
		uintptr(f), uintptr(grid[0]), uintptr(grid[1]), uintptr(grid[2]), uintptr(threads), 1, 1,
		uintptr(shared), uintptr(s), memory.Address(m.places[:]), 0,
	}
	r := Result(foreign.Call(l.at[cuLaunchKernel], m.args[:]))
	frames.Put(m)
	return r
}

// NewStream is cuStreamCreate: a stream that does not wait for the default one.
func (l *Library) NewStream() (StreamID, Result) {
	const nonBlocking = 1
	v, r := l.give(cuStreamCreate, nonBlocking)
	return StreamID(v), r
}

// FreeStream is cuStreamDestroy.
func (l *Library) FreeStream(s StreamID) Result { return l.call(cuStreamDestroy, uintptr(s)) }

// WaitStream is cuStreamSynchronize.
func (l *Library) WaitStream(s StreamID) Result { return l.call(cuStreamSynchronize, uintptr(s)) }

// NewEvent is cuEventCreate: an event that keeps the time.
func (l *Library) NewEvent() (EventID, Result) {
	v, r := l.give(cuEventCreate, 0)
	return EventID(v), r
}

// FreeEvent is cuEventDestroy.
func (l *Library) FreeEvent(e EventID) Result { return l.call(cuEventDestroy, uintptr(e)) }

// Record is cuEventRecord.
func (l *Library) Record(e EventID, s StreamID) Result {
	return l.call(cuEventRecord, uintptr(e), uintptr(s))
}

// Elapsed is cuEventElapsedTime.
func (l *Library) Elapsed(from, to EventID) (milliseconds float32, r Result) {
	v, r := l.give(cuEventElapsedTime, uintptr(from), uintptr(to))
	return math.Float32frombits(uint32(v)), r
}

// BeginCapture is cuStreamBeginCapture: other threads may go on with calls that
// a capture forbids in its own.
func (l *Library) BeginCapture(s StreamID) Result {
	const threadLocal = 1
	return l.call(cuStreamBeginCapture, uintptr(s), threadLocal)
}

// EndCapture is cuStreamEndCapture.
func (l *Library) EndCapture(s StreamID) (GraphID, Result) {
	f := frames.Get().(*frame)
	defer frames.Put(f)
	f.out[0] = 0
	f.args[0], f.args[1] = uintptr(s), memory.Address(f.out[:])
	r := Result(foreign.Call(l.at[cuStreamEndCapture], f.args[:2]))
	return GraphID(f.out[0]), r
}

// Instantiate is cuGraphInstantiateWithFlags without flags.
func (l *Library) Instantiate(g GraphID) (ExecID, Result) {
	v, r := l.give(cuGraphInstantiate, uintptr(g), 0)
	return ExecID(v), r
}

// FreeGraph is cuGraphDestroy.
func (l *Library) FreeGraph(g GraphID) Result { return l.call(cuGraphDestroy, uintptr(g)) }

// LaunchGraph is cuGraphLaunch.
func (l *Library) LaunchGraph(x ExecID, s StreamID) Result {
	return l.call(cuGraphLaunch, uintptr(x), uintptr(s))
}

// FreeExec is cuGraphExecDestroy.
func (l *Library) FreeExec(x ExecID) Result { return l.call(cuGraphExecDestroy, uintptr(x)) }
