package amd64

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
)

// Workers do their part of every call, whether it finds them looking or asleep, copy
// their share and nothing else, and leave at the end.
func TestWork(t *testing.T) {
	ks := parse(t, `kernel grow(a: i64[37,1] write) ints(by) {
  tile x: i64[1,1]
  part grid(i: 37 step 1) {
    x = load a[i + r, c]
    x = map x + index(by)
    store a[i + r, c] = x
  }
}`)
	m := machines(t)[0]
	p := compile(t, m, ks...)
	walk, work := p.fn(t, walkName), p.fn(t, workName)
	for _, workers := range []int{2, 3, 5} {
		var pin runtime.Pinner
		acc, team := aligned(37*8), &plan.NativeTeam{Workers: int64(workers)}
		pin.Pin(team)
		bufs, slots, by := []uintptr{address(&pin, acc)}, []int64{0}, []int64{3}
		steps := []plan.NativeStep{{Kind: int64(plan.Launch), Fn: p.fn(t, "grow"), Bufs: address(&pin, bufs), Slots: address(&pin, slots)}}
		scratch := p.Scratch["grow"] + plan.HostBytes
		team.Steps, team.Count, team.Records, team.Record = address(&pin, steps), 1, address(&pin, by), 1
		team.Scratch, team.Stride = address(&pin, aligned(plan.HostBytes + scratch*int64(workers))[plan.HostBytes:]), scratch
		team.Barrier, team.Walk = address(&pin, aligned(int64(unsafe.Sizeof(plan.NativeBarrier{})))), walk
		var wg sync.WaitGroup
		for w := 1; w < workers; w++ {
			wg.Go(func() { purego.SyscallN(work, uintptr(unsafe.Pointer(team)), uintptr(w)) })
		}
		begin := func(job int64) {
			team.Job = job
			atomic.StoreInt64(&team.Left.N, int64(workers-1))
			atomic.AddInt64(&team.Calls.N, 1)
			unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&team.Calls.N)), futexWake, uintptr(workers))
		}
		end := func() {
			for deadline := time.Now().Add(time.Minute); atomic.LoadInt64(&team.Left.N) != 0; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("%d workers: some are not done with a call after a minute", workers)
				}
			}
		}
		const calls = 300
		for i := range calls {
			if i%50 == 0 {
				for asleep := time.Now().Add(time.Minute); atomic.LoadInt64(&team.Asleep.N) != int64(workers-1); time.Sleep(time.Millisecond) {
					if time.Now().After(asleep) {
						t.Fatalf("%d workers: only %d sleep a minute after a call", workers, team.Asleep.N)
					}
				}
			}
			begin(plan.JobWalk)
			purego.SyscallN(walk, team.Steps, 1, team.Records, 1, team.Scratch, 0, uintptr(workers), team.Barrier)
			end()
		}
		for i := range int64(37) {
			if got := kernel.Memory(acc).Int(kernel.I64, i); got != 3*calls {
				t.Fatalf("%d workers: element %d is %d after %d calls", workers, i, got, calls)
			}
		}
		from, to := make([]byte, 1000*workers+7), make([]byte, 1000*workers+7+64)
		for i := range from {
			from[i] = byte(rand.Uint32())
		}
		team.From, team.To, team.Share, team.Rest = address(&pin, from), address(&pin, to), 1000, 1007
		begin(plan.JobCopy)
		end()
		if !bytes.Equal(to[1000:len(from)], from[1000:]) || !bytes.Equal(to[:1000], make([]byte, 1000)) || !bytes.Equal(to[len(from):], make([]byte, 64)) {
			t.Errorf("%d workers: what they copied is not their share", workers)
		}
		begin(plan.JobEnd)
		wg.Wait()
		pin.Unpin()
	}
}
