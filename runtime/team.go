package runtime

import (
	goruntime "runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/foreign"
	"github.com/memc-lang/memc/runtime/memory"
)

// team is the workers of a machine: the calling goroutine is the first; the others
// are in the code's function work, each on a thread of its own. To Go's scheduler
// they are in one foreign call for as long as they live: if they came back between
// calls, it would look after the threads that leave it fifty thousand times a second,
// on the processors of those who work.
type team struct {
	code *memory.Region // stays while someone is in it
	walk uintptr
	args [8]uintptr // the caller's
	call plan.NativeTeam
	turn time.Time // when the caller last gave way to others
}

// turn is how long a caller goes on from call to call before it gives way to others:
// whom Go's scheduler finds at work for 10 ms it looks after as above.
const turn = 5 * time.Millisecond

// spins is how often a caller looks whether the others are done before it sleeps:
// about 10 µs.
const spins = 10_000

// newTeam begins the workers, who wait for a call.
func newTeam(code *memory.Region, walk, work uintptr, workers int) *team {
	t := &team{code: code, walk: walk}
	t.call.Workers = int64(workers)
	for i := 1; i < workers; i++ {
		go t.work(work, i)
	}
	return t
}

func (t *team) work(fn uintptr, i int) {
	foreign.Call(fn, []uintptr{uintptr(unsafe.Pointer(&t.call)), uintptr(i)})
	goruntime.KeepAlive(t)
}

// run walks the steps of t.call with all workers and returns when all are done.
func (t *team) run() {
	if now := time.Now(); now.Sub(t.turn) > turn {
		goruntime.Gosched()
		t.turn = now
	}
	c := &t.call
	t.start(plan.JobWalk)
	t.args = [8]uintptr{c.Steps, uintptr(c.Count), c.Records, uintptr(c.Record), c.Scratch, 0, uintptr(c.Workers), c.Barrier}
	foreign.Call(t.walk, t.args[:])
	t.rest()
}

// alone is how many bytes one worker copies faster than several do together.
const alone = 1 << 18

// move copies as copy does, with all workers where there is much to copy.
func (t *team) move(to, from []byte) {
	c := &t.call
	n := min(len(to), len(from))
	to, from = to[:n], from[:n]
	if n < alone || c.Workers == 1 {
		copy(to, from)
		return
	}
	share := n / int(c.Workers) &^ (memory.Align - 1)
	c.To, c.From = memory.Address(to), memory.Address(from)
	c.Share, c.Rest = int64(share), int64(n-share*int(c.Workers-1))
	t.start(plan.JobCopy)
	copy(to[:share], from)
	t.rest()
	goruntime.KeepAlive(to)
	goruntime.KeepAlive(from)
}

// start lets every other worker begin.
func (t *team) start(job int64) {
	c := &t.call
	if c.Workers == 1 {
		return
	}
	c.Job = job
	atomic.StoreInt64(&c.Left.N, c.Workers-1)
	atomic.AddInt64(&c.Calls.N, 1)
	if atomic.LoadInt64(&c.Asleep.N) != 0 {
		wake(&c.Calls.N)
	}
}

// rest returns when the other workers are done.
func (t *team) rest() {
	c := &t.call
	for range spins {
		if atomic.LoadInt64(&c.Left.N) == 0 {
			return
		}
	}
	atomic.StoreInt64(&c.Waiting.N, 1)
	for n := atomic.LoadInt64(&c.Left.N); n != 0; n = atomic.LoadInt64(&c.Left.N) {
		sleep(&c.Left.N, n)
	}
	atomic.StoreInt64(&c.Waiting.N, 0)
}

// stop ends the workers; no call is under way.
func (t *team) stop() { t.start(plan.JobEnd) }
