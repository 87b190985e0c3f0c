//go:build !linux

package memory

// Huge asks for large pages where the system has them.
func (r *Region) Huge() {}
