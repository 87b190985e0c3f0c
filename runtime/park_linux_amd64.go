package runtime

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// A thread that sleeps in the system (futex(2)) runs again after 10 to 30 µs.
// One that waits for a channel takes 80 more: the goroutine has to find its
// thread, by way of two others.
const (
	futexWait = 0 | 128 // FUTEX_WAIT_PRIVATE
	futexWake = 1 | 128
)

// park sleeps as long as the word is not 0.
func park(word *atomic.Uint32) {
	for word.Load() != 0 { // a signal ends a wait, too
		syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, 1, 0, 0, 0)
	}
}

// unpark wakes the thread that sleeps on a word, which is 0 now.
func unpark(word *atomic.Uint32) {
	syscall.RawSyscall(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, 1)
}
