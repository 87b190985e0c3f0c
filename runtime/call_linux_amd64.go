package runtime

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/memc-lang/memc/runtime/foreign"
)

// nativeHere is nil where this system can run compiled code.
func nativeHere() error { return nil }

// allowTiles asks the system, once, to let this process use matrix tiles: it
// must keep room for their data wherever it saves a thread's registers (Linux,
// Documentation/arch/x86/xstate.rst).
var allowTiles = sync.OnceValue(func() error {
	const request, tiles = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	if _, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, request, tiles, 0); errno != 0 {
		return &Unsupported{fmt.Sprintf("the system does not let this process use matrix tiles (AMX): %v; another target does without them", errno)}
	}
	return nil
})

// callWalk calls the generated walk (see ir/plan) in this goroutine's thread.
// args is the worker's own room for the arguments.
func callWalk(walk uintptr, c *walkCall, worker int, args *[8]uintptr) {
	*args = [8]uintptr{c.steps, uintptr(c.count), c.records, uintptr(c.record), c.scratch + uintptr(worker)*c.stride, uintptr(worker), uintptr(c.workers), c.barrier}
	foreign.Call(walk, args[:])
}
