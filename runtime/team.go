package runtime

import (
	goruntime "runtime"
	"sync/atomic"

	"github.com/memc-lang/memc/runtime/memory"
)

// walkCall is what the workers of one call share; addresses are of memory that
// the machine holds.
type walkCall struct {
	steps   uintptr
	count   int64
	records uintptr
	record  int64 // int64 values of a record
	scratch uintptr
	stride  uintptr // from one worker's scratch to the next's
	workers int64
	barrier uintptr
}

// team is the workers of a machine: the calling goroutine is the first; the
// others are goroutines on threads of their own, parked between calls. A worker
// that has nothing to do looks for the next call for some microseconds, since
// the next token often follows at once, and then parks.
type team struct {
	walk   uintptr
	others []*worker
	call   walkCall
	args   [8]uintptr // the caller's
	to     []byte     // nil: walk; else copy from
	from   []byte
	left   atomic.Int64 // workers that are not done with the call
	asleep atomic.Bool  // the caller waits on done
	done   chan struct{}
	quit   bool // read after a wake
}

// worker is one worker's parking place, in cache lines of its own.
type worker struct {
	calls  atomic.Uint64 // calls begun
	asleep atomic.Uint32 // 1: it is parked, or about to be
	_      [116]byte
}

// spins is how often a waiting goroutine looks before it sleeps: about 10 µs.
const spins = 10_000

func newTeam(walk uintptr, workers int) *team {
	t := &team{walk: walk, done: make(chan struct{}, 1)}
	for i := 1; i < workers; i++ {
		w := &worker{}
		t.others = append(t.others, w)
		go t.work(w, i)
	}
	return t
}

// run walks the steps of t.call with all workers and returns when all are done.
func (t *team) run() {
	t.call.workers = int64(1 + len(t.others))
	t.start()
	t.part(0, &t.args)
	for t.left.Load() != 0 { // again where a worker was late to wake the call before
		t.rest()
	}
}

// alone is how many bytes one worker copies faster than several do together.
const alone = 1 << 18

// move copies as copy does, with all workers where there is much to copy.
func (t *team) move(to, from []byte) {
	n := min(len(to), len(from))
	to, from = to[:n], from[:n]
	if n < alone || len(t.others) == 0 {
		copy(to, from)
		return
	}
	t.to, t.from = to, from
	t.run()
	t.to, t.from = nil, nil
}

// part is worker i's part of a call.
func (t *team) part(i int, args *[8]uintptr) {
	if t.to == nil {
		callWalk(t.walk, &t.call, i, args)
		return
	}
	n := len(t.from) / (1 + len(t.others)) &^ (memory.Align - 1)
	end := n * (i + 1)
	if i == len(t.others) {
		end = len(t.from)
	}
	copy(t.to[n*i:end], t.from[n*i:end])
}

// rest returns when the other workers are done, or woke this one by mistake.
func (t *team) rest() {
	for range spins {
		if t.left.Load() == 0 {
			return
		}
	}
	t.asleep.Store(true)
	if t.left.Load() == 0 && t.asleep.CompareAndSwap(true, false) {
		return // the last worker saw no one asleep
	}
	<-t.done
}

// start lets every other worker begin.
func (t *team) start() {
	t.left.Store(int64(len(t.others)))
	for _, w := range t.others {
		w.calls.Add(1)
		if w.asleep.CompareAndSwap(1, 0) {
			unpark(&w.asleep)
		}
	}
}

func (t *team) work(w *worker, i int) {
	goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
	args := new([8]uintptr)
	for seen := uint64(0); ; seen++ {
		w.wait(seen)
		if t.quit {
			return
		}
		t.part(i, args)
		if t.left.Add(-1) == 0 && t.asleep.CompareAndSwap(true, false) {
			t.done <- struct{}{}
		}
	}
}

// wait returns when more calls have begun than were seen.
func (w *worker) wait(seen uint64) {
	for {
		for range spins {
			if w.calls.Load() != seen {
				return
			}
		}
		w.asleep.Store(1)
		if w.calls.Load() != seen {
			w.asleep.Store(0)
			return
		}
		park(&w.asleep)
	}
}

// stop ends the workers; no call is under way.
func (t *team) stop() {
	t.quit = true
	t.start()
}
