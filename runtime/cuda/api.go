// Package cuda runs PTX text on NVIDIA GPUs through the CUDA driver API
// (libcuda.so.1, "CUDA Driver API", docs.nvidia.com/cuda/cuda-driver-api).
//
// API is the part of that interface that memc needs, call for call; Library is
// the driver itself, opened while the program runs and never linked. A test puts
// another API in its place. What is above it (Driver, GPU, Memory, Module,
// Stream, Graph) has Go's manners: sizes are checked, errors are sentences,
// memory is freed with its owner.
//
// The driver's calls work on the context that is current in the operating
// system's thread. A goroutine therefore calls GPU.Enter before anything else
// of a GPU and GPU.Leave behind it.
package cuda

// Result is what a call returns: 0, or the number of an error (CUresult).
type Result int32

// The results that memc tells apart ("Data types used by CUDA driver").
const (
	Success               Result = 0
	InvalidValue          Result = 1
	OutOfMemory           Result = 2
	NoDevice              Result = 100
	InvalidDevice         Result = 101
	InvalidPTX            Result = 218
	UnsupportedPTXVersion Result = 222
	NotFound              Result = 500
	IllegalAddress        Result = 700
	LaunchOutOfResources  Result = 701
	LaunchFailed          Result = 719
	SystemDriverMismatch  Result = 803
)

// Handles of the driver's objects.
type (
	DeviceID   int32   // CUdevice
	ContextID  uintptr // CUcontext
	ModuleID   uintptr // CUmodule
	FunctionID uintptr // CUfunction
	StreamID   uintptr // CUstream
	EventID    uintptr // CUevent
	GraphID    uintptr // CUgraph
	ExecID     uintptr // CUgraphExec
)

// Addr is an address of a device's memory (CUdeviceptr).
type Addr uint64

// DeviceAttribute and FunctionAttribute number properties (CUdevice_attribute,
// CUfunction_attribute).
type (
	DeviceAttribute   int
	FunctionAttribute int
)

// The attributes that memc reads or sets.
const (
	Multiprocessors DeviceAttribute = 16
	Major           DeviceAttribute = 75 // of the compute capability
	Minor           DeviceAttribute = 76
	SharedOptIn     DeviceAttribute = 97 // the most shared memory that a CTA can ask for, in bytes

	MaxThreads       FunctionAttribute = 0 // of a CTA
	LocalBytes       FunctionAttribute = 3 // of a thread
	Registers        FunctionAttribute = 4 // of a thread
	MaxDynamicShared FunctionAttribute = 8 // the dynamic shared memory that launches may ask for, in bytes
)

// API is the driver, call for call: the name of the driver's function stands
// beside each. Sizes are in bytes; host addresses are of page-locked memory in
// the calls that take a stream, which return before the work is done.
type API interface {
	Init() Result                                                                              // cuInit
	DriverVersion() (int, Result)                                                              // cuDriverGetVersion: 1000 major + 10 minor of CUDA
	ErrorName(r Result) string                                                                 // cuGetErrorName; empty where the driver does not know it
	ErrorString(r Result) string                                                               // cuGetErrorString
	DeviceCount() (int, Result)                                                                // cuDeviceGetCount
	Device(ordinal int) (DeviceID, Result)                                                     // cuDeviceGet
	DeviceName(d DeviceID) (string, Result)                                                    // cuDeviceGetName
	DeviceMemory(d DeviceID) (int64, Result)                                                   // cuDeviceTotalMem
	DeviceAttribute(d DeviceID, a DeviceAttribute) (int, Result)                               // cuDeviceGetAttribute
	RetainPrimary(d DeviceID) (ContextID, Result)                                              // cuDevicePrimaryCtxRetain
	SetCurrent(c ContextID) Result                                                             // cuCtxSetCurrent
	MemInfo() (free, total int64, r Result)                                                    // cuMemGetInfo
	Alloc(n int64) (Addr, Result)                                                              // cuMemAlloc
	Free(a Addr) Result                                                                        // cuMemFree
	HostAlloc(n int64) (uintptr, Result)                                                       // cuMemHostAlloc
	HostFree(p uintptr) Result                                                                 // cuMemFreeHost
	CopyIn(to Addr, from uintptr, n int64, s StreamID) Result                                  // cuMemcpyHtoDAsync
	CopyOut(to uintptr, from Addr, n int64, s StreamID) Result                                 // cuMemcpyDtoHAsync
	Copy(to, from Addr, n int64, s StreamID) Result                                            // cuMemcpyDtoDAsync
	LoadModule(ptx []byte) (m ModuleID, log string, r Result)                                  // cuModuleLoadDataEx; log is what the compiler says against the text
	UnloadModule(m ModuleID) Result                                                            // cuModuleUnload
	ModuleFunction(m ModuleID, name string) (FunctionID, Result)                               // cuModuleGetFunction
	FunctionAttribute(f FunctionID, a FunctionAttribute) (int, Result)                         // cuFuncGetAttribute
	SetFunctionAttribute(f FunctionID, a FunctionAttribute, v int) Result                      // cuFuncSetAttribute
	Occupancy(f FunctionID, threads, shared int) (int, Result)                                 // cuOccupancyMaxActiveBlocksPerMultiprocessor
	Launch(f FunctionID, grid [3]int, threads, shared int, s StreamID, args *[4]uint64) Result // cuLaunchKernel, of four 64-bit parameters
	NewStream() (StreamID, Result)                                                             // cuStreamCreate, CU_STREAM_NON_BLOCKING
	FreeStream(s StreamID) Result                                                              // cuStreamDestroy
	WaitStream(s StreamID) Result                                                              // cuStreamSynchronize
	NewEvent() (EventID, Result)                                                               // cuEventCreate
	FreeEvent(e EventID) Result                                                                // cuEventDestroy
	Record(e EventID, s StreamID) Result                                                       // cuEventRecord
	Elapsed(from, to EventID) (milliseconds float32, r Result)                                 // cuEventElapsedTime
	BeginCapture(s StreamID) Result                                                            // cuStreamBeginCapture, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
	EndCapture(s StreamID) (GraphID, Result)                                                   // cuStreamEndCapture
	Instantiate(g GraphID) (ExecID, Result)                                                    // cuGraphInstantiateWithFlags
	FreeGraph(g GraphID) Result                                                                // cuGraphDestroy
	LaunchGraph(x ExecID, s StreamID) Result                                                   // cuGraphLaunch
	FreeExec(x ExecID) Result                                                                  // cuGraphExecDestroy
}
