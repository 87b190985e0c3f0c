package amd64

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/memc-lang/memc/ir/kernel"
)

// meter measures the multiply-adds that one core can do.
type meter struct {
	fn    uintptr
	near  []byte
	flops float64
}

func newMeter(b *testing.B, m Machine) *meter {
	blob, err := Limits(b.Context(), m)
	if err != nil {
		b.Skip(err)
	}
	return &meter{load(b, blob).fn(b, PeakName), aligned(blob.Scratch[PeakName]), float64(m.PeakFlops())}
}

func (m *meter) once(b *testing.B) time.Duration {
	var pin runtime.Pinner
	defer pin.Unpin()
	near := address(&pin, m.near)
	return spent(b, func() { purego.SyscallN(m.fn, 0, 0, 0, near, 0, 1) })
}

// spent is the processor time that a call takes on this thread: other
// processes on a busy machine do not count.
func spent(b *testing.B, call func()) time.Duration {
	now := func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return time.Duration(t.Nano())
	}
	start := now()
	call()
	return now() - start
}

// timed runs a kernel alone, in one worker, and reports the median of its share
// of what nothing but multiply-adds reach right before and after each run: a
// processor's clock changes from second to second.
func timed(b *testing.B, m Machine, k *kernel.Kernel, rows int, args []int64, flops, bytes float64) {
	p := compile(b, m, k)
	bufs := arena(fill(rand.New(rand.NewPCG(1, 1)), k, rows))
	var pin runtime.Pinner
	defer pin.Unpin()
	ptrs := make([]uintptr, len(bufs))
	for i := range bufs {
		ptrs[i] = address(&pin, bufs[i])
	}
	slots := make([]int64, len(args)+1)
	for i := range args {
		slots[i] = int64(i)
	}
	places, numbers, record, near := address(&pin, ptrs), address(&pin, slots), address(&pin, args), address(&pin, aligned(p.Scratch[k.Name]+64))
	fn := p.fn(b, k.Name)
	top := newMeter(b, m)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Hour
	var shares []float64
	before := top.once(b)
	for b.Loop() {
		t := spent(b, func() {
			purego.SyscallN(fn, places, numbers, record, near, 0, 1)
		})
		after := top.once(b)
		best = min(best, t)
		shares = append(shares, flops/t.Seconds()*(before+after).Seconds()/2/top.flops)
		before = after
	}
	slices.Sort(shares)
	b.ReportMetric(0, "ns/op") // the mean says more about the neighbours
	b.ReportMetric(flops/best.Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(100*shares[len(shares)/2], "%peak")
	if bytes > 0 {
		b.ReportMetric(bytes/best.Seconds()/1e9, "GB/s")
	}
}

func contractText(k, n, bi, bj, bk int, elem string) string {
	return fmt.Sprintf(`kernel contract(x: f32[0,%[1]d], w: %[6]s[%[2]d,%[1]d]/32, y: f32[0,%[2]d] write) ints(n) {
  tile xa: f32[%[3]d,%[5]d] rows min(%[3]d, n - i)
  tile wb: f32[%[4]d,%[5]d]
  tile acc: f32[%[3]d,%[4]d] rows min(%[3]d, n - i)
  part grid(j: %[2]d step %[4]d, i: n step %[3]d) {
    acc = map 0
    for k = 0 to %[1]d step %[5]d {
      xa = load x[i + r, k + c]
      wb = load w[j + r, k + c]
      acc += dot(xa, wb' by 32)
    }
    store y[i + r, j + c] = acc
  }
}`, k, n, bi, bj, bk, elem)
}

func BenchmarkContract(b *testing.B) {
	for _, c := range []struct {
		rows, k, n, bi, bj, bk int
		elem                   string
	}{
		{512, 1024, 1024, 64, 64, 64, "f32"},
		{512, 1024, 1024, 64, 128, 256, "f32"},
		{512, 1024, 1024, 64, 128, 1024, "f32"},
		{512, 1024, 3072, 64, 128, 256, "f32"},
		{512, 1024, 3072, 64, 128, 256, "bf16"},
		{512, 1024, 3072, 64, 128, 1024, "bf16"},
		{512, 1024, 3072, 128, 128, 1024, "f32"},
		{512, 1024, 3072, 128, 128, 1024, "bf16"},
		{1, 1024, 3072, 64, 128, 1024, "f32"},
		{1, 1024, 3072, 64, 128, 256, "f32"},
		{1, 1024, 3072, 64, 128, 1024, "bf16"},
		{4, 1024, 3072, 64, 128, 1024, "bf16"},
	} {
		for _, m := range machines(b) {
			b.Run(fmt.Sprintf("%s/%d_%d_%d_tile_%d_%d_%d_%s", m.Name, c.rows, c.k, c.n, c.bi, c.bj, c.bk, c.elem), func(b *testing.B) {
				k := parse(b, contractText(c.k, c.n, c.bi, c.bj, c.bk, c.elem))[0]
				size := 4
				if c.elem == "bf16" {
					size = 2
				}
				bytes := 0.0
				if c.rows < 8 {
					bytes = float64(c.k * c.n * size)
				}
				timed(b, m, k, c.rows, []int64{int64(c.rows)}, 2*float64(c.rows)*float64(c.k)*float64(c.n), bytes)
			})
		}
	}
}

func attendText(window int, keys string) string {
	return fmt.Sprintf(`kernel attend(q: f32[0,256], kr: f32[2,4096,128]%[2]s, vr: f32[2,4096,128], y: f32[0,256] write) ints(n, pos) {
  tile qa: f32[64,128] rows min(64, n - i)
  tile kb: f32[64,128]
  tile vb: f32[64,128]
  tile s: f32[64,64] rows min(64, n - i)
  tile m: f32[64,1] rows min(64, n - i)
  tile old: f32[64,1] rows min(64, n - i)
  tile l: f32[64,1] rows min(64, n - i)
  tile sums: f32[64,1] rows min(64, n - i)
  tile acc: f32[64,128] rows min(64, n - i)
  part grid(h: 2 step 1, i: n step 64) {
    qa = load q[i + r, h * 128 + c]
    qa = map qa * 0.125
    m = map -1e+30
    l = map 0
    acc = map 0
    for j = max(0, pos + i - %[1]d + 1) div 64 * 64 to pos + min(n, i + 64) step 64 stages 2 {
      kb = load kr[h, j mod 4096 + r, c]
      vb = load vr[h, j mod 4096 + r, c]
      s = dot(qa, kb')
      s = map choose(test(j + c <= pos + i + r && pos + i + r - (j + c) < %[1]d), s, -inf)
      old = map m
      m = largest(s over cols)
      m = map max(m, old)
      s = map exp(s - m)
      sums = sum(s over cols)
      l = map l * exp(old - m) + sums
      acc = map acc * exp(old - m)
      acc += dot(s, vb)
    }
    acc = map acc / l
    store y[i + r, h * 128 + c] = acc
  }
}`, window, keys)
}

func BenchmarkAttend(b *testing.B) {
	for _, keys := range []string{"/32", ""} {
		for _, n := range []int{512, 1} {
			for _, m := range machines(b) {
				b.Run(fmt.Sprintf("%s/n=%d_keys%s", m.Name, n, keys), func(b *testing.B) {
					const window, pos = 1024, 8192
					k := parse(b, attendText(window, keys))[0]
					// Every block of 64 rows meets 64 keys more than the window.
					timed(b, m, k, n, []int64{int64(n), pos}, 2*2*2*128*float64(n)*(window+64), 0)
				})
			}
		}
	}
}

// The hand-written memory: products of small tiles, transposed and not, and the
// element-wise work between them.
func BenchmarkRecur(b *testing.B) {
	ks := readKernels(b, "recur")
	for i, flops := range []float64{3 * 2 * 64 * 32, 9 * 2 * 64 * 32} {
		for _, m := range machines(b) {
			b.Run(m.Name+"/"+ks[i].Name, func(b *testing.B) {
				const n = 512
				timed(b, m, ks[i], n, []int64{n}, 2*n*flops, 0)
			})
		}
	}
}

// A map of two tiles; GFLOP/s counts elements here.
func BenchmarkMap(b *testing.B) {
	for _, expr := range []string{"x + y", "silu(x) * y", "exp(x - y)", "tanh(x)", "choose(test(c <= r + n), x, y)"} {
		for _, m := range machines(b) {
			b.Run(m.Name+"/"+expr, func(b *testing.B) {
				k := parse(b, fmt.Sprintf(`kernel m(a: f32[0,256], b: f32[0,256], o: f32[0,256] write) ints(n) {
  tile x: f32[32,256] rows min(32, n - i)
  tile y: f32[32,256] rows min(32, n - i)
  part grid(i: n step 32) {
    x = load a[i + r, c]
    y = load b[i + r, c]
    x = map %s
    store o[i + r, c] = x
  }
}`, expr))[0]
				timed(b, m, k, 256, []int64{256}, 256*256, 3*256*256*4)
			})
		}
	}
}
