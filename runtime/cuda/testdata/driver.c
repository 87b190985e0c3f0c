// A CUDA driver without a GPU, to hold the calls that memc makes against the
// prototypes of cuda.h: its memory is the host's, its one kernel writes down
// what it was launched with. Every function checks what it is given.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef struct ctx *CUcontext;
typedef struct mod *CUmodule;
typedef struct fn *CUfunction;
typedef struct st *CUstream;
typedef struct ev *CUevent;
typedef struct gr *CUgraph;
typedef struct ex *CUgraphExec;
typedef unsigned long long CUdeviceptr;

enum { ok = 0, invalid = 1, noMemory = 2, badPTX = 218, notFound = 500 };

#define context ((CUcontext)0x1111)
#define module ((CUmodule)0x2222)
#define function ((CUfunction)0x3333)
#define stream ((CUstream)0x444400000000)
#define event ((CUevent)0x5555)
#define later ((CUevent)0x6666)
#define graph ((CUgraph)0x7777)
#define exec ((CUgraphExec)0x8888)
#define want(x) do { if (!(x)) return invalid; } while (0)

static __thread CUcontext current;
static int captured, events;

CUresult cuInit(unsigned flags) { return flags == 0 ? ok : invalid; }
CUresult cuDriverGetVersion(int *v) { *v = 12040; return ok; }
CUresult cuGetErrorName(CUresult e, const char **s) { *s = e == badPTX ? "CUDA_ERROR_INVALID_PTX" : e == notFound ? "CUDA_ERROR_NOT_FOUND" : NULL; return *s ? ok : invalid; }
CUresult cuGetErrorString(CUresult e, const char **s) { *s = e == badPTX ? "a PTX JIT compilation failed" : NULL; return *s ? ok : invalid; }
CUresult cuDeviceGetCount(int *n) { *n = 2; return ok; }
CUresult cuDeviceGet(CUdevice *d, int ordinal) { want(ordinal >= 0 && ordinal < 2); *d = ordinal - 5; return ok; } // any int will do
CUresult cuDeviceGetName(char *name, int len, CUdevice d) { want(len >= 8 && d < 0); memset(name, 'x', len); strcpy(name, d == -5 ? "Stub A" : "Stub B"); return ok; }
CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice d) { *n = d == -5 ? (size_t)5 << 32 : 7; return ok; }
CUresult cuDeviceGetAttribute(int *v, int a, CUdevice d) {
	switch (a) {
	case 16: *v = 132; return ok;
	case 75: *v = d == -5 ? 7 : 9; return ok;
	case 76: *v = d == -5 ? 5 : 0; return ok;
	case 97: *v = 232448; return ok;
	}
	return invalid;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { want(d == -4); *c = context; return ok; }
CUresult cuCtxSetCurrent(CUcontext c) { current = c; return ok; }
CUresult cuMemGetInfo_v2(size_t *avail, size_t *total) { want(current == context); *avail = (size_t)3 << 32; *total = (size_t)4 << 32; return ok; }
CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) { want(current == context); if (n > (size_t)1 << 32) return noMemory; *p = (CUdeviceptr)(uintptr_t)malloc(n); return ok; }
CUresult cuMemFree_v2(CUdeviceptr p) { want(current == context); free((void *)(uintptr_t)p); return ok; }
CUresult cuMemHostAlloc(void **p, size_t n, unsigned flags) { want(flags == 0); *p = malloc(n); return ok; }
CUresult cuMemFreeHost(void *p) { free(p); return ok; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, CUstream s) { want(s == stream); memcpy((void *)(uintptr_t)to, from, n); return ok; }
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, CUstream s) { want(s == stream); memcpy(to, (void *)(uintptr_t)from, n); return ok; }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, CUstream s) { want(s == stream); memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, n); return ok; }
CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned n, int *options, void **values) {
	want(n == 2 && options[0] == 5 && options[1] == 6 && (uintptr_t)values[1] > 1000);
	const char *text = image;
	if (strstr(text, "broken")) {
		strcpy(values[0], "ptxas fatal: it is broken");
		values[1] = (void *)26;
		return badPTX;
	}
	want(strlen(text) > 0 && text[strlen(text) - 1] == '\n');
	*m = module;
	return ok;
}
CUresult cuModuleUnload(CUmodule m) { return m == module ? ok : invalid; }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) { want(m == module); if (strcmp(name, "note")) return notFound; *f = function; return ok; }
CUresult cuFuncGetAttribute(int *v, int a, CUfunction f) { want(f == function); *v = a == 4 ? 40 : a == 3 ? 8 : 1024; return ok; }
CUresult cuFuncSetAttribute(CUfunction f, int a, int v) { want(f == function && a == 8 && v == 65536); return ok; }
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction f, int threads, size_t shared) { want(f == function && threads == 96 && shared == 65536); *n = 3; return ok; }
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream s, void **params, void **extra) {
	want(f == function && s == stream && extra == NULL);
	uint64_t *out = (uint64_t *)(uintptr_t)*(uint64_t *)params[0];
	for (int i = 0; i < 4; i++)
		out[i] = *(uint64_t *)params[i];
	unsigned shape[] = {gx, gy, gz, bx, by, bz, shared};
	for (int i = 0; i < 7; i++)
		out[4 + i] = shape[i];
	return ok;
}
CUresult cuStreamCreate(CUstream *s, unsigned flags) { want(current == context && flags == 1); *s = stream; return ok; }
CUresult cuStreamDestroy_v2(CUstream s) { return s == stream ? ok : invalid; }
CUresult cuStreamSynchronize(CUstream s) { return s == stream ? ok : invalid; }
CUresult cuEventCreate(CUevent *e, unsigned flags) { want(flags == 0); *e = events++ ? later : event; return ok; }
CUresult cuEventDestroy_v2(CUevent e) { return e == event || e == later ? ok : invalid; }
CUresult cuEventRecord(CUevent e, CUstream s) { want((e == event || e == later) && s == stream); return ok; }
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) { want(from == event && to == later); *ms = 2.5f; return ok; }
CUresult cuStreamBeginCapture_v2(CUstream s, int mode) { want(s == stream && mode == 1); captured = 1; return ok; }
CUresult cuStreamEndCapture(CUstream s, CUgraph *g) { want(s == stream && captured); *g = graph; return ok; }
CUresult cuGraphInstantiateWithFlags(CUgraphExec *x, CUgraph g, unsigned long long flags) { want(g == graph && flags == 0); *x = exec; return ok; }
CUresult cuGraphDestroy(CUgraph g) { return g == graph ? ok : invalid; }
CUresult cuGraphLaunch(CUgraphExec x, CUstream s) { want(x == exec && s == stream); captured = 2; return ok; }
CUresult cuGraphExecDestroy(CUgraphExec x) { want(x == exec && captured == 2); return ok; }
