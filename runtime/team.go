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

// team is who works on a call: the calling goroutine is the first; the others are in
// the function work of some program's code, each on a thread of its own. To Go's
// scheduler they are in one foreign call for as long as they live: if they came back
// between calls, it would look after the threads that leave it fifty thousand times a
// second, on the processors of those who work.
//
// It does the same for 5 ms once a caller has been in foreign code for 10 ms, which
// takes a worker up to a third of that time. So long calls are left to one worker more,
// and the caller waits for them in short turns.
type team struct {
	code *memory.Region // of work: stays while someone is in it
	fn   uintptr        // work
	args [8]uintptr     // the caller's
	call plan.NativeTeam
	turn time.Time // when the caller last gave way to others

	deputy  plan.NativeTeam // of one: who is the first in the caller's place
	present bool            // that one has begun
}

// turn is how long a caller goes on from call to call, or waits, before it gives way to
// others: whom Go's scheduler finds at work for 10 ms it looks after as above. What takes
// as long is left to workers alone.
const turn = 8 * time.Millisecond

// spins is how often a caller looks whether the others are done before it sleeps:
// about 10 µs.
const spins = 10_000

// newTeam begins the workers, who wait for a call.
func newTeam(code *memory.Region, work uintptr, workers int) *team {
	t := &team{code: code, fn: work}
	t.call.Workers = int64(workers)
	for i := 1; i < workers; i++ {
		go t.work(&t.call, i)
	}
	return t
}

func (t *team) work(c *plan.NativeTeam, i int) {
	foreign.Call(t.fn, []uintptr{uintptr(unsafe.Pointer(c)), uintptr(i)})
	goruntime.KeepAlive(t)
}

// run walks the steps of t.call with all workers and returns when all are done. took is
// what such a call took before, 0 where that is not known; what it took now is for the
// next: 0 for one worker, who has nobody to leave a call to.
func (t *team) run(took time.Duration) time.Duration {
	begin := t.giveWay(took)
	c := &t.call
	if took >= turn && c.Workers > 1 {
		t.depute()
		return time.Since(begin)
	}
	start(c, plan.JobWalk, c.Workers-1)
	t.args = [8]uintptr{c.Steps, uintptr(c.Count), c.Records, uintptr(c.Record), c.Scratch, 0, uintptr(c.Workers), c.Barrier}
	foreign.Call(c.Walk, t.args[:])
	if c.Workers == 1 {
		return 0
	}
	t.rest()
	return time.Since(begin)
}

// depute has workers alone walk the steps of t.call, and returns when they are done.
func (t *team) depute() {
	c, first := &t.call, &t.deputy
	if !t.present {
		go t.work(first, 0)
		t.present = true
	}
	first.Steps, first.Count, first.Records, first.Record = c.Steps, c.Count, c.Records, c.Record
	first.Scratch, first.Workers, first.Barrier, first.Walk = c.Scratch, c.Workers, c.Barrier, c.Walk
	start(c, plan.JobWalk, c.Workers-1)
	start(first, plan.JobWalk, 1)
	t.sleep(first)
	t.sleep(c)
}

// giveWay lets other goroutines go first, now and then: before what may take so long. It
// gives the time.
func (t *team) giveWay(next time.Duration) time.Time {
	now := time.Now()
	if now.Add(next).Sub(t.turn) >= turn {
		goruntime.Gosched()
		t.turn = now
	}
	return now
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
	start(c, plan.JobCopy, c.Workers-1)
	copy(to[:share], from)
	t.rest()
	goruntime.KeepAlive(to)
	goruntime.KeepAlive(from)
}

// start lets workers begin, so many.
func start(c *plan.NativeTeam, job, workers int64) {
	if workers == 0 {
		return
	}
	c.Job = job
	atomic.StoreInt64(&c.Left.N, workers)
	atomic.AddInt64(&c.Calls.N, 1)
	if atomic.LoadInt64(&c.Asleep.N) != 0 {
		wake(&c.Calls.N)
	}
}

// rest returns when the other workers are done, which they are soon.
func (t *team) rest() {
	for range spins {
		if atomic.LoadInt64(&t.call.Left.N) == 0 {
			return
		}
	}
	t.sleep(&t.call)
}

// sleep returns when the workers there are done.
func (t *team) sleep(c *plan.NativeTeam) {
	atomic.StoreInt64(&c.Waiting.N, 1)
	for n := atomic.LoadInt64(&c.Left.N); n != 0; n = atomic.LoadInt64(&c.Left.N) {
		sleep(&c.Left.N, n, turn)
		t.giveWay(turn)
	}
	atomic.StoreInt64(&c.Waiting.N, 0)
}

// stop ends the workers; no call is under way.
func (t *team) stop() {
	start(&t.call, plan.JobEnd, t.call.Workers-1)
	if t.present {
		start(&t.deputy, plan.JobEnd, 1)
	}
}
