package memc_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/cuda"
)

// These tests run on a GPU of this machine. They need a driver, the repository's
// specs and testdata, and, but for the ones that compare with a CPU, no LLVM: so
//
//	go test -c -o memc.test .
//	./memc.test -test.run TestDevice -test.v
//
// runs them in a copy of the repository on a machine without Go. The first line
// says which GPU they ran on, or why on none.

// device lists the targets that this machine's GPU runs.
func device(t *testing.T) []string {
	t.Helper()
	d, err := cuda.Open()
	if err != nil {
		t.Skipf("not run on a GPU: %v", err)
	}
	var out []string
	for _, target := range []string{"sm_80", "sm_90a"} {
		i, err := d.Find(target)
		if err != nil {
			without(t, target, err)
			continue
		}
		t.Logf("%s on %s, driver of CUDA %s", target, i, d.Version())
		out = append(out, target)
	}
	if len(out) == 0 {
		t.Skip("not run on a GPU: no target of this test runs on one here")
	}
	return out
}

// TestDeviceGolden: every golden case is near, and gives the same bits however a
// stream is cut and over saved states.
func TestDeviceGolden(t *testing.T) {
	targets := device(t)
	eachCase(t, func(t *testing.T, c goldenCase) {
		for _, slab := range []int{512, 64, 16} {
			for _, p := range programs(t, c.spec(), c.Set, memc.Options{Slab: slab}, targets...) {
				t.Run(fmt.Sprintf("%s/%d", p.Target(), slab), func(t *testing.T) {
					whole := c.begin(t, p, 0).rest(every(1 << 20))
					c.near(t, whole, c.Tolerance)
					c.begin(t, p, 0).rest(every(1<<20)).same(whole, "again")
					c.begin(t, p, 0).rest(every(7)).same(whole, "by 7")
					c.begin(t, p, 0).rest(every(1)).same(whole, "token by token")
					for seed := range uint64(3) {
						c.begin(t, p, 0).rest(random(seed, 100)).same(whole, "random pieces")
						x, cut := c.begin(t, p, 0), random(10+seed, max(whole.rows/3, 1))
						for x.at < x.rows {
							x.feed(cut())
							x = x.moved(0)
						}
						x.same(whole, "saved and restored")
					}
				})
			}
		}
	})
}

// TestDeviceRandomGraphs: random graphs do what the float64 interpreter does, in
// any pieces.
func TestDeviceRandomGraphs(t *testing.T) {
	targets := device(t)
	n := *graphs
	if testing.Short() {
		n = min(n, 200)
	}
	worst := 0.0
	for seed := *graphSeed; seed < *graphSeed+uint64(n); seed++ {
		x := newPTXTrial(seed, targets)
		e, err := x.run()
		worst = max(worst, e)
		if err != nil {
			t.Errorf("%v: %v\n%s", x, err, x.graph)
		}
	}
	t.Logf("%d graphs; the largest relative difference is %.2g", n, worst)
}

// TestDeviceStates: streams go on from a CPU's state on a GPU and from a GPU's on
// a CPU.
func TestDeviceStates(t *testing.T) {
	gpus, cpus := device(t), native(t)
	if len(cpus) == 0 {
		t.Skip("no CPU target runs here")
	}
	eachCase(t, func(t *testing.T, c goldenCase) {
		all := programs(t, c.spec(), c.Set, memc.Options{}, cpus[0], gpus[0])
		rng := rand.New(rand.NewPCG(4, 4))
		x := c.begin(t, all[0], 1)
		for i := 1; x.at < x.rows; i++ {
			x.feed(1 + rng.IntN(max(x.rows/4, 1)))
			y := c.begin(t, all[i%2], 1)
			if err := y.session.ReadState(x.state()); err != nil {
				t.Fatal(err)
			}
			y.at, y.out = x.at, x.out
			x = y
		}
		c.near(t, x, c.Tolerance)
	})
}

// TestDeviceSideBySide: sessions at once disturb each other in nothing.
func TestDeviceSideBySide(t *testing.T) {
	targets := device(t)
	for _, name := range []string{"allmem-tiny", "qwen3-tiny"} {
		c := readCase(t, "testdata/golden/"+name)
		p := programs(t, c.spec(), c.Set, memc.Options{}, targets[0])[0]
		whole := c.begin(t, p, 0).rest(every(1 << 20))
		var group sync.WaitGroup
		var streams []*stream
		for i := range 8 {
			x := c.begin(t, p, 0)
			streams = append(streams, x)
			group.Go(func() {
				cut := random(uint64(i), 9)
				for x.at < x.rows {
					x.feed(cut())
				}
			})
		}
		group.Wait()
		for i, x := range streams {
			x.same(whole, fmt.Sprintf("%s, stream %d", name, i))
		}
	}
}

var broken = flag.Bool("brokendevice", false, "let TestDeviceFault break this process's GPU context")

// TestDeviceFault: a kernel that reads where no memory is ends in an error that
// names it. The process's context is lost with it, so that another process runs
// the test.
func TestDeviceFault(t *testing.T) {
	targets := device(t)
	if !*broken {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(self, "-test.run", "^TestDeviceFault$", "-test.v", "-brokendevice").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("PASS: TestDeviceFault")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	c := readCase(t, "testdata/golden/allmem-edge")
	a := c.ptxOf(t, targets[0], memc.Options{})
	a.Targets[0].Code = []byte(withFault(t, string(a.Targets[0].Code)))
	p, err := runtime.New(a, targets[0])
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.LoadWeights(c.file("weights"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.NewSession(w, runtime.Options{Stepwise: true})
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]runtime.Tensor{"tokens": rowsOf(tensors(t, c.file("inputs"))["tokens"], 0, 3)}
	for _, want := range []string{"run the kernel " + faulty, "takes no more work in this process"} {
		if _, err := s.Call(context.Background(), c.Entry, in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
