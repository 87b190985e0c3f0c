package memory

import "golang.org/x/sys/unix"

// Huge asks for large pages where the system has them: weights are read front
// to back, and every page costs a lookup. It is advice only.
func (r *Region) Huge() {
	if len(r.bytes) >= 4<<20 {
		_ = unix.Madvise(r.bytes, unix.MADV_HUGEPAGE)
	}
}
