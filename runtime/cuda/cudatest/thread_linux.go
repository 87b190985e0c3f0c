package cudatest

import "golang.org/x/sys/unix"

// thread names the operating system's thread that a call is made on.
func thread() int { return unix.Gettid() }
