package memc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir/irtest"
	"github.com/memc-lang/memc/runtime"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/cuda"
	"github.com/memc-lang/memc/runtime/cuda/cudatest"
)

// These tests run programs through the engine for GPUs on a simulated one; those
// in gpu_device_test.go run on a GPU of this machine, where there is one.

// ptxOf compiles a golden case for a GPU and takes it through an artifact's file.
func (c goldenCase) ptxOf(t *testing.T, target string, o memc.Options) *artifact.Artifact {
	t.Helper()
	o.Set, o.Targets = c.Set, append(o.Targets, target)
	a, err := memc.Compile(context.Background(), c.spec(), o)
	if err != nil {
		t.Fatal(err)
	}
	file, err := artifact.Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = artifact.Decode(file); err != nil {
		t.Fatal(err)
	}
	return a
}

// onGPU gives an artifact's program for sm_80 on a simulated GPU.
func onGPU(t *testing.T, d *cudatest.Device, a *artifact.Artifact) *runtime.Program {
	t.Helper()
	driver, err := d.Start()
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.OnDriver(driver, a, "sm_80")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// nearSoFar compares what the stream has given so far with the golden case.
func (c goldenCase) nearSoFar(t *testing.T, x *stream) {
	t.Helper()
	for name, want := range tensors(t, c.file("outputs")) {
		if e := relative(t, x.out[name], rowsOf(want, 0, x.at)); !(e <= c.Tolerance) {
			t.Errorf("%s: relative error %g, want at most %g", name, e, c.Tolerance)
		}
	}
}

// TestGPUGolden: golden cases, cut over the border of a chunk where a stream of
// few tokens has one.
func TestGPUGolden(t *testing.T) {
	for name, cuts := range map[string][]int{
		"allmem-edge":     {5, 12}, // a write after 16
		"qwen3-tiny":      {1, 2},
		"qwen3-window":    {3, 1},
		"ttt-linear-tiny": {2, 16},     // a mini-batch of 16
		"lact-tiny":       {15, 2},     // a write after 16
		"comet-tiny":      {16, 16, 1}, // beacons after 8, a write after 32
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := readCase(t, "testdata/golden/"+name)
			d := &cudatest.Device{}
			x := c.begin(t, onGPU(t, d, c.ptxOf(t, "sm_80", memc.Options{Slab: 16})), 0)
			for _, n := range cuts {
				x.feed(n)
			}
			c.nearSoFar(t, x)
			if d.Fault != nil {
				t.Error(d.Fault)
			}
		})
	}
}

// newPTXTrial is a random graph's trial on a GPU.
func newPTXTrial(seed uint64, targets []string) *trial {
	x := newTrial(seed, targets)
	if x.err != nil {
		return x
	}
	var code *artifact.Target
	if code, x.err = memc.PTXTarget(x.code, x.target); x.err == nil {
		x.object = &artifact.Artifact{Manifest: artifact.Manifest{Name: "random", Graph: x.graph.String()}, Targets: []artifact.Target{*code}}
	}
	return x
}

// TestGPURandomGraphs: random graphs do what the interpreter does, and give the
// same bits in any pieces. Streams are short: the device is slow.
func TestGPURandomGraphs(t *testing.T) {
	driver, err := (&cudatest.Device{Capability: 90}).Start()
	if err != nil {
		t.Fatal(err)
	}
	for seed := *graphSeed; seed < *graphSeed+60; seed++ {
		x := newPTXTrial(seed, []string{"sm_80", "sm_90a"})
		x.open = func(a *artifact.Artifact, target string) (*runtime.Program, error) {
			return runtime.OnDriver(driver, a, target)
		}
		x.rows = min(x.rows, 20)
		x.in = irtest.Rows(x.in, 0, x.rows)
		if _, err := x.run(); err != nil {
			t.Errorf("%v: %v\n%s", x, err, x.graph)
		}
	}
}

// TestGPUGraphs: slabs whose launches have come before run as one graph, with
// the same bits as launch by launch, and as in other pieces.
func TestGPUGraphs(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	d := &cudatest.Device{}
	p := onGPU(t, d, c.ptxOf(t, "sm_80", memc.Options{Slab: 16}))
	whole := c.begin(t, p, 0).rest(every(17))
	if n := d.Count("LaunchGraph"); n != 0 {
		t.Errorf("one call has launched %d graphs", n)
	}
	x := c.begin(t, p, 0)
	for range 3 {
		x.feed(1)
	}
	if n := d.Count("Instantiate"); n == 0 {
		t.Error("three calls of one row have made no graph")
	}
	launches, graphs := d.Count("Launch"), d.Count("LaunchGraph")
	x.feed(1)
	if l, g := d.Count("Launch")-launches, d.Count("LaunchGraph")-graphs; l != 0 || g != 1 {
		t.Errorf("a call like the ones before it makes %d launches and %d graphs, not 0 and 1", l, g)
	}
	x.rest(every(1)).same(whole, "token by token")
	c.begin(t, p, 0).rest(random(5, 9)).same(whole, "random pieces")
	y := c.begin(t, p, 0)
	y.feed(6)
	y.moved(0).rest(every(3)).same(whole, "saved and restored")
}

// TestGPUStepwise: waiting for every launch changes no bit, and neither does a
// clock around it; each kernel is timed.
func TestGPUStepwise(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	p := onGPU(t, &cudatest.Device{}, c.ptxOf(t, "sm_80", memc.Options{Slab: 16}))
	whole := c.begin(t, p, 0).rest(every(17))
	for _, o := range []runtime.Options{{Stepwise: true}, {Profile: true}} {
		x := c.begin(t, p, 0)
		s, err := p.NewSession(x.session.Weights(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		x.session = s
		x.rest(every(5)).same(whole, fmt.Sprintf("%+v", o))
		times := s.Profile()
		if (times != nil) != o.Profile {
			t.Errorf("%+v: %d kernels are timed", o, len(times))
		}
		calls := int64(0)
		for _, k := range times {
			calls += k.Calls
			if k.Time != time.Duration(k.Calls)*time.Millisecond { // the device's clock ticks so
				t.Errorf("%s: %d calls in %v", k.Kernel, k.Calls, k.Time)
			}
		}
		if (calls > 0) != o.Profile {
			t.Errorf("%+v: %d calls are timed", o, calls)
		}
	}
}

// TestGPUStates: a stream goes from a CPU to a GPU and back over its saved state;
// a state in another form is refused with what differs.
func TestGPUStates(t *testing.T) {
	targets := native(t)
	if len(targets) == 0 {
		t.Skip("no CPU target runs here")
	}
	for name, pieces := range map[string][]int{"allmem-edge": {6, 7, 3}, "qwen3-tiny": {3, 2, 2}, "comet-tiny": {30, 5, 7}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := readCase(t, "testdata/golden/"+name)
			a := c.ptxOf(t, "sm_80", memc.Options{Slab: 16, Targets: []string{targets[0]}})
			cpu, err := runtime.New(a, targets[0])
			if err != nil {
				t.Fatal(err)
			}
			gpu := onGPU(t, &cudatest.Device{}, a)
			x := c.begin(t, cpu, 1)
			for i, n := range pieces {
				x.feed(n)
				next := []*runtime.Program{gpu, cpu, gpu}[i]
				y := c.begin(t, next, 0)
				if err := y.session.ReadState(x.state()); err != nil {
					t.Fatalf("from %s to %s: %v", x.session.Program().Target(), next.Target(), err)
				}
				if y.session.Pos() != int64(x.at) {
					t.Errorf("it stands at %d, not %d", y.session.Pos(), x.at)
				}
				y.at, y.out = x.at, x.out
				x = y
			}
			x.feed(1)
			c.nearSoFar(t, x)
		})
	}
	c := readCase(t, "testdata/golden/qwen3-window")
	x := c.begin(t, onGPU(t, &cudatest.Device{}, c.ptxOf(t, "sm_80", memc.Options{Slab: 128})), 0)
	p := programs(t, c.spec(), c.Set, memc.Options{Slab: 16}, targets[0])[0]
	err := c.begin(t, p, 1).session.ReadState(x.state())
	if err == nil || !strings.Contains(err.Error(), "was saved on sm_80, where this program keeps its states in another form than on "+targets[0]+": the tensor ") {
		t.Errorf("a state with other rings is refused with: %v", err)
	}
}

// TestGPUSideBySide: sessions, forks and growing states on one device at once.
func TestGPUSideBySide(t *testing.T) {
	c := readCase(t, "testdata/golden/qwen3-tiny")
	d := &cudatest.Device{}
	p := onGPU(t, d, c.ptxOf(t, "sm_80", memc.Options{Slab: 4}))
	const rows = 9
	var streams []*stream
	for range 3 {
		streams = append(streams, c.begin(t, p, 0))
	}
	loaded := d.Live()
	streams[0].feed(4)
	f, err := streams[0].session.Fork()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fork := *streams[0]
	fork.session, fork.out = f, map[string]runtime.Tensor{}
	for name, v := range streams[0].out {
		v.Data = slices.Clone(v.Data)
		fork.out[name] = v
	}
	streams = append(streams, &fork)
	var group sync.WaitGroup
	for i, x := range streams {
		group.Go(func() {
			for x.at < rows {
				x.feed(min(1+i, rows-x.at))
			}
		})
	}
	group.Wait()
	for i, x := range streams {
		x.same(streams[0], fmt.Sprintf("stream %d", i))
	}
	c.nearSoFar(t, streams[0])
	if d.Live() <= loaded {
		t.Error("a fork and longer histories take no memory")
	}
}

// TestGPUMemory: closed sessions and dropped weights leave nothing on the device,
// and what does not fit is refused before anything is allocated.
func TestGPUMemory(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	a := c.ptxOf(t, "sm_80", memc.Options{Slab: 16})
	d := &cudatest.Device{}
	p := onGPU(t, d, a)
	func() {
		w, err := p.LoadWeights(c.file("weights"))
		if err != nil {
			t.Fatal(err)
		}
		loaded := d.Live()
		s, err := p.NewSession(w, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Live() <= loaded || loaded == 0 {
			t.Errorf("%d bytes for the weights, %d with a session", loaded, d.Live())
		}
		s.Close()
		if d.Live() != loaded {
			t.Errorf("a closed session leaves %d bytes", d.Live()-loaded)
		}
		if _, err := p.NewSession(w, runtime.Options{}); err != nil { // left to the collector
			t.Fatal(err)
		}
		goruntime.KeepAlive(w)
	}()
	for range 100 {
		goruntime.GC()
		if d.Live() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if d.Live() != 0 {
		t.Errorf("%d bytes stay on the device", d.Live())
	}

	full := d.Count("Alloc")
	for _, least := range []int64{1 << 10, 90 << 10} {
		d := &cudatest.Device{Memory: least}
		p := onGPU(t, d, a)
		w, err := p.LoadWeights(c.file("weights"))
		allocated := d.Count("Alloc")
		if err == nil {
			_, err = p.NewSession(w, runtime.Options{})
		}
		var lacks *runtime.Unsupported
		if !errors.As(err, &lacks) || !strings.Contains(err.Error(), "of GPU memory; of the ") || !memc.Lacks(err) {
			t.Errorf("with %d bytes: %v", least, err)
		}
		if d.Count("Alloc") != allocated || allocated > full/2 {
			t.Errorf("with %d bytes: %d and then %d allocations before it is refused", least, allocated, d.Count("Alloc")-allocated)
		}
	}
}

// TestGPUCancel: a context that ends stops a call between slabs, and the stream
// goes on from there.
func TestGPUCancel(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	p := onGPU(t, &cudatest.Device{}, c.ptxOf(t, "sm_80", memc.Options{Slab: 4}))
	whole := c.begin(t, p, 0).rest(every(17))
	x := c.begin(t, p, 0)
	asked := &endsAfter{Context: context.Background(), left: 3}
	_, err := x.session.Call(asked, x.entry, map[string]runtime.Tensor{"tokens": rowsOf(x.in["tokens"], 0, 17)})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "after 8 of 17 rows") || x.session.Pos() != 8 {
		t.Fatalf("at %d: %v", x.session.Pos(), err)
	}
	y := c.begin(t, p, 0)
	y.feed(8)
	x.at, x.out = 8, y.out
	x.rest(every(5)).same(whole, "after a cancelled call")
}

// endsAfter is a context that ends when it has been asked so many times.
type endsAfter struct {
	context.Context
	left int
}

func (c *endsAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestGPUFaults: what a kernel does wrong names it where launches are waited for;
// after it the device takes no more work, with a sentence and no hang.
func TestGPUFaults(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	a := c.ptxOf(t, "sm_80", memc.Options{Slab: 16})
	a.Targets[0].Code = []byte(withFault(t, string(a.Targets[0].Code)))
	for _, stepwise := range []bool{true, false} {
		d := &cudatest.Device{}
		p := onGPU(t, d, a)
		w, err := p.LoadWeights(c.file("weights"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.NewSession(w, runtime.Options{Stepwise: stepwise})
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]runtime.Tensor{"tokens": rowsOf(tensors(t, c.file("inputs"))["tokens"], 0, 3)}
		_, err = s.Call(context.Background(), c.Entry, in)
		want := "the GPU could not run its kernels: CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered (with Options.Stepwise, or --stepwise, the error names the kernel)"
		if stepwise {
			want = "the GPU could not run the kernel " + faulty
		}
		if err == nil || !strings.Contains(err.Error(), want) || d.Fault == nil {
			t.Errorf("a kernel that fails: %v; want %q (%v)", err, want, d.Fault)
		}
		_, err = s.Call(context.Background(), c.Entry, in)
		if err == nil || !strings.Contains(err.Error(), "Simulated takes no more work in this process, since: the GPU could not run") {
			t.Errorf("the call after it: %v", err)
		}
		if s.Pos() != 0 {
			t.Errorf("the failed call has moved the stream to %d", s.Pos())
		}
		s.Close()
	}
	for _, x := range []struct{ call, want string }{
		{"Launch", "could not launch the kernel "},
		{"CopyIn", "could not copy to its memory: CUDA_ERROR_INVALID_VALUE (1): invalid argument"},
		{"CopyOut", "could not copy from its memory"},
		{"Instantiate", "could not make a graph ready"},
		{"EndCapture", "could not record a graph"},
		{"LaunchGraph", "could not launch a graph"},
	} {
		armed := false
		d := &cudatest.Device{}
		d.Fail = func(call string) cuda.Result {
			if armed && call == x.call {
				return cuda.InvalidValue
			}
			return cuda.Success
		}
		s := c.begin(t, onGPU(t, d, c.ptxOf(t, "sm_80", memc.Options{Slab: 16})), 0).session
		one := map[string]runtime.Tensor{"tokens": rowsOf(tensors(t, c.file("inputs"))["tokens"], 0, 1)}
		if strings.Contains("Instantiate EndCapture LaunchGraph", x.call) {
			if _, err := s.Call(context.Background(), c.Entry, one); err != nil {
				t.Fatal(err)
			}
		}
		armed = true
		if _, err := s.Call(context.Background(), c.Entry, one); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s fails: %v", x.call, err)
		}
	}
}

// faulty is the first kernel of a case, which withFault makes fail.
const faulty = "map0"

// withFault makes every thread of a kernel read where no memory is.
func withFault(t *testing.T, text string) string {
	t.Helper()
	at := strings.Index(text, ".visible .entry "+faulty+"(")
	if at < 0 {
		t.Fatalf("there is no kernel %s", faulty)
	}
	body := strings.Index(text[at:], "ld.param.u64")
	line := at + strings.LastIndex(text[at:at+body], "\n")
	return text[:line] + "\n    .reg .b64 %bad<2>;\n    mov.u64 %bad0, 64;\n    ld.global.u64 %bad1, [%bad0];" + text[line:]
}

// TestGPUMissing: what a machine lacks is said, with both versions where a
// driver is too old.
func TestGPUMissing(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	a := c.ptxOf(t, "sm_80", memc.Options{Slab: 16, Targets: []string{"sm_90a"}})
	bad := *a
	bad.Targets = slices.Clone(a.Targets)
	for i := range bad.Targets {
		bad.Targets[i].Code = []byte(strings.Replace(string(a.Targets[i].Code), "ret;", "rte;", 1))
	}
	for _, x := range []struct {
		d       *cudatest.Device
		a       *artifact.Artifact
		target  string
		machine bool
		want    string
	}{
		{&cudatest.Device{Fail: failing("Init", cuda.NoDevice)}, a, "sm_80", true, "the NVIDIA driver finds no GPU"},
		{&cudatest.Device{Fail: failing("Init", cuda.SystemDriverMismatch)}, a, "sm_80", true, "restart the machine"},
		{&cudatest.Device{Capability: 75, Name: "Old"}, a, "sm_80", true, "target sm_80: no GPU of this machine runs it; there is Old (compute capability 7.5"},
		{&cudatest.Device{Capability: 100}, a, "sm_90a", true, "target sm_90a: no GPU of this machine runs it"},
		{&cudatest.Device{Capability: 90, CUDA: 11080}, a, "sm_90a", true, "needs a driver of CUDA 12.0 or newer; this machine's is of CUDA 11.8"},
		{&cudatest.Device{Fail: failing("LoadModule", cuda.UnsupportedPTXVersion)}, a, "sm_80", true, "which this machine's driver, of CUDA 12.4, does not read"},
		{&cudatest.Device{Shared: 16 << 10}, a, "sm_80", true, "bytes of shared memory; Simulated has 16384 for a CTA"},
		{&cudatest.Device{}, &bad, "sm_80", false, "could not compile the program's PTX: CUDA_ERROR_INVALID_PTX (218): a PTX JIT compilation failed\nptxas application ptx input, "},
		{&cudatest.Device{}, a, "avx2", false, "has no target avx2 of PTX"},
	} {
		driver, err := x.d.Start()
		if err == nil {
			_, err = runtime.OnDriver(driver, x.a, x.target)
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v, want %q", err, x.want)
		}
		var lacks *runtime.Unsupported
		var lack *cuda.Lacks
		if (errors.As(err, &lacks) || errors.As(err, &lack)) != x.machine {
			t.Errorf("%v: is the machine at fault? %t", err, x.machine)
		}
	}
}

func failing(call string, r cuda.Result) func(string) cuda.Result {
	return func(c string) cuda.Result {
		if c == call {
			return r
		}
		return cuda.Success
	}
}

// still is a simulated GPU that can be told to do nothing, at once.
type still struct {
	cuda.API
	off bool
}

func (s *still) SetCurrent(c cuda.ContextID) cuda.Result {
	if s.off {
		return cuda.Success
	}
	return s.API.SetCurrent(c)
}

func (s *still) CopyIn(to cuda.Addr, from uintptr, n int64, x cuda.StreamID) cuda.Result {
	if s.off {
		return cuda.Success
	}
	return s.API.CopyIn(to, from, n, x)
}

func (s *still) CopyOut(to uintptr, from cuda.Addr, n int64, x cuda.StreamID) cuda.Result {
	if s.off {
		return cuda.Success
	}
	return s.API.CopyOut(to, from, n, x)
}

func (s *still) LaunchGraph(g cuda.ExecID, x cuda.StreamID) cuda.Result {
	if s.off {
		return cuda.Success
	}
	return s.API.LaunchGraph(g, x)
}

func (s *still) WaitStream(x cuda.StreamID) cuda.Result {
	if s.off {
		return cuda.Success
	}
	return s.API.WaitStream(x)
}

// TestGPUAllocates: a step of a steady stream allocates nothing of ours.
func TestGPUAllocates(t *testing.T) {
	c := readCase(t, "testdata/golden/allmem-edge")
	d := &still{API: &cudatest.Device{}}
	driver, err := cuda.Start(d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.OnDriver(driver, c.ptxOf(t, "sm_80", memc.Options{Slab: 16}), "sm_80")
	if err != nil {
		t.Fatal(err)
	}
	x := c.begin(t, p, 0)
	entry := slices.IndexFunc(p.Entries(), func(e runtime.Entry) bool { return e.Name == c.Entry })
	in, out := []runtime.Tensor{rowsOf(x.in["tokens"], 0, 1)}, make([]runtime.Tensor, 1)
	ctx := context.Background()
	step := func() {
		if err := x.session.Run(ctx, entry, in, out); err != nil {
			t.Fatal(err)
		}
	}
	for range 32 { // two chunks: every shape has come, and come again
		step()
	}
	d.off = true
	if n := testing.AllocsPerRun(32, step); n != 0 {
		t.Errorf("a step allocates %v times", n)
	}
	d.off = false
	b, err := runtime.NewBatch([]*runtime.Session{x.session, begin(t, p, x.session.Weights(), 0, c.Entry, x.in).session})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ins, outs := [][]runtime.Tensor{in, in}, [][]runtime.Tensor{out, make([]runtime.Tensor, 1)}
	both := func() {
		if err := b.Run(ctx, entry, ins, outs); err != nil {
			t.Fatal(err)
		}
	}
	for range 32 {
		both()
	}
	d.off = true
	if n := testing.AllocsPerRun(32, both); n != 0 {
		t.Errorf("a batch's step allocates %v times", n)
	}
}

// TestGPUBenchSpecs: the specs that are timed give what the interpreter gives,
// with weights, keys and values in bf16 as they are timed with.
func TestGPUBenchSpecs(t *testing.T) {
	for spec, x := range map[string]struct {
		set   map[string]json.RawMessage
		cache string
		limit float64
	}{
		"contract": {map[string]json.RawMessage{"K": raw(64), "N": raw(48), "weights": json.RawMessage(`"bf16"`)}, "", 1e-5},
		"attend":   {map[string]json.RawMessage{"heads": raw(2), "kv_heads": raw(1), "head_dim": raw(16), "window": raw(9)}, "bf16", 2e-2},
		"recur":    {map[string]json.RawMessage{"heads": raw(2), "dim": raw(16), "hidden": raw(16), "chunk": raw(16)}, "", 1e-3},
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			a, err := memc.Compile(context.Background(), "specs/bench/"+spec+".spec", memc.Options{Set: x.set, Cache: x.cache, Slab: 16, Targets: []string{"sm_80", "interp"}})
			if err != nil {
				t.Fatal(err)
			}
			slow, err := runtime.New(a, "interp")
			if err != nil {
				t.Fatal(err)
			}
			const rows = 37
			rng := rand.New(rand.NewPCG(8, 8))
			in := map[string]runtime.Tensor{}
			for _, p := range slow.Entries()[0].Inputs {
				shape := []int{rows}
				count := rows
				for _, d := range p.Dims[1:] {
					n, err := strconv.Atoi(d)
					if err != nil {
						t.Fatal(err)
					}
					shape, count = append(shape, n), count*n
				}
				v := make([]float32, count)
				for i := range v {
					v[i] = rng.Float32() - 0.5
				}
				in[p.Name] = runtime.FromFloat32(v, shape...)
			}
			var streams []*stream
			for _, p := range []*runtime.Program{slow, onGPU(t, &cudatest.Device{}, a)} {
				w, err := p.DrawWeights(3)
				if err != nil {
					t.Fatal(err)
				}
				streams = append(streams, begin(t, p, w, 0, "forward", in).rest(every(15)))
			}
			if e := relative(t, streams[1].out["y"], streams[0].out["y"]); !(e <= x.limit) {
				t.Errorf("relative error %g, want at most %g", e, x.limit)
			}
		})
	}
}

func raw(n int) json.RawMessage { return json.RawMessage(strconv.Itoa(n)) }
