package runtime

import (
	"math"
	"syscall"
	"time"
	"unsafe"
)

// The operations of futex(2) among the threads of one process, on the low half of a
// counter. Whoever sleeps runs again 10 to 30 µs after it is woken.
const (
	futexWait = 0 | 128 // FUTEX_WAIT_PRIVATE
	futexWake = 1 | 128
)

// sleep returns when the counter is woken, at once where it is not n, when the time is
// up, and now and then for no reason.
func sleep(counter *int64, n int64, most time.Duration) {
	limit := syscall.NsecToTimespec(int64(most))
	syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(counter)), futexWait, uintptr(uint32(n)), uintptr(unsafe.Pointer(&limit)), 0, 0)
}

// wake wakes all who sleep at the counter.
func wake(counter *int64) {
	syscall.RawSyscall(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(counter)), futexWake, math.MaxInt32)
}
