package runtime

import "github.com/memc-lang/memc/runtime/foreign"

// nativeHere is nil where this system can run compiled code.
func nativeHere() error { return nil }

// callWalk calls the generated walk (see ir/plan) in this goroutine's thread.
// args is the worker's own room for the arguments.
func callWalk(walk uintptr, c *walkCall, worker int, args *[8]uintptr) {
	*args = [8]uintptr{c.steps, uintptr(c.count), c.records, uintptr(c.record), c.scratch + uintptr(worker)*c.stride, uintptr(worker), uintptr(c.workers), c.barrier}
	foreign.Call(walk, args[:])
}
