package runtime

import (
	"fmt"
	"sync"
	"syscall"
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
