package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/ir"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime"
)

// bench times one entry point.
type bench struct {
	app     *app
	p       *program
	w       *runtime.Weights
	threads int
	repeat  *int
	batch   int // streams at once
	number  int // of the entry
	graph   *ir.Graph
	plan    *plan.Plan // nil: the target has none
	flops   *meter
	read    *meter
}

// graphs reads the program's graph, after all passes, and its plan.
func (b *bench) graphs() error {
	art := b.p.Artifact()
	m, err := memc.ParseGraph(art)
	if err != nil {
		return err
	}
	if m, err = memc.Optimise(m, false, nil); err != nil {
		return err
	}
	b.graph = m.Entries[b.number]
	if t := art.Find(b.p.Target()); t.Plan != "" {
		b.plan, err = plan.Parse(t.Plan)
	}
	return err
}

// inputs draws the entry's inputs for so many tokens: integers below what they
// may be, other values from 0 to 1.
func (b *bench) inputs(tokens int64) ([]runtime.Tensor, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	var out []runtime.Tensor
	for _, p := range b.p.Entries()[b.number].Inputs {
		t := runtime.Tensor{Shape: []int{}}
		count := 1
		for _, d := range p.Dims {
			n := int(tokens)
			if numeric(d) {
				n, _ = strconv.Atoi(d)
			}
			if n > math.MaxInt32/count {
				return nil, usage("the input %s would have more than %d elements", p.Name, math.MaxInt32)
			}
			count *= n
			t.Shape = append(t.Shape, n)
		}
		switch p.Elem {
		case "f32":
			data := make([]float32, count, count+16) // with room behind, so that kernels may read it in place
			for i := range data {
				data[i] = rng.Float32()
			}
			t = runtime.FromFloat32(data, t.Shape...)
		case "i32":
			below := b.below(p.Name)
			data := make([]int32, count)
			for i := range data {
				data[i] = int32(rng.IntN(below))
			}
			t = runtime.FromInt32(data, t.Shape...)
		case "i64":
			t.Elem = runtime.I64
			below := b.below(p.Name)
			for range count {
				t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(rng.IntN(below)))
			}
		default:
			return nil, fmt.Errorf("the input %s of %s holds %s, which memc bench does not draw", p.Name, b.graph.Name, p.Elem)
		}
		if len(p.Dims) == 0 {
			t.Shape = []int{} // a single number
		}
		out = append(out, t)
	}
	return out, nil
}

// below is the number of rows of the least table that an input chooses from.
func (b *bench) below(input string) int {
	least := math.MaxInt32
	for _, o := range b.graph.Outputs {
		for _, n := range ir.Postorder(o.Node) {
			if n.Op.Name == "gather" && n.Args[1].Op.Name == "input" && n.Args[1].Attr.Name == input {
				least = min(least, n.Args[0].Type.Dims[0].Size)
			}
		}
	}
	if least == math.MaxInt32 {
		return 1 // nothing says what it means: zeros
	}
	return least
}

// way is a way of calling: so many calls of so many rows each, at a position of
// a stream that is at and the rows before, which are fed.
type way struct {
	name                    string // "prefill": one call; "decode": a call a token
	at, before, rows, calls int64
}

// cost is that of all the calls.
func (b *bench) cost(w way) (c ir.Cost, err error) {
	for i := range w.calls {
		k, err := b.graph.Cost(w.at+w.before+i*w.rows, w.rows)
		if err != nil {
			return c, err
		}
		c.Flops += k.Flops
		c.Bytes += k.Bytes
	}
	return c, nil
}

// What is held against the speed of memory: work with fewer operations a byte
// than a machine does, roughly, while it reads one; and more bytes in a call
// than may stay in a cache from one call to the next.
const (
	balance = 32
	cached  = 1 << 27
)

func fromMemory(c ir.Cost, w way) bool { return c.Flops < balance*c.Bytes && c.Bytes > cached*w.calls }

// meters makes the meters for these ways of calling.
func (b *bench) meters(ways []way) (err error) {
	memory := false
	for _, w := range ways {
		c, err := b.cost(w)
		if err != nil {
			return err
		}
		memory = memory || fromMemory(c, w)
	}
	b.flops, b.read, err = newMeters(b.app, b.p.Target(), b.threads, memory)
	return err
}

// footprint is the peak memory of a process that runs the program: it is asked
// after one call, before anything that only a benchmark does.
func (b *bench) footprint(w way) (int64, error) {
	s, err := b.p.NewSession(b.w, runtime.Options{Threads: b.threads})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	err = b.call(s, min(w.rows, memc.DefaultSlab))
	return peakRSS(), err
}

// start begins a stream, goes to where a way of calling begins, and gives what
// leads back to that point. The session is the caller's where there is no error.
func (b *bench) start(w way, o runtime.Options) (*runtime.Session, *runtime.Mark, error) {
	s, err := b.p.NewSession(b.w, o)
	if err != nil {
		return nil, nil, err
	}
	if w.at > 0 {
		err = s.Skip(b.app.ctx, w.at, w.before+w.rows*w.calls, skipSeed)
	}
	if err == nil && w.before > 0 {
		err = b.call(s, w.before)
	}
	var mark *runtime.Mark
	if err == nil {
		mark, err = s.Mark()
	}
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, mark, nil
}

// skipSeed draws the rows that a stream has not read.
const skipSeed = 3

func (b *bench) call(s *runtime.Session, tokens int64) error {
	in, err := b.inputs(tokens)
	if err != nil {
		return err
	}
	return s.Run(b.app.ctx, b.number, in, make([]runtime.Tensor, len(b.p.Entries()[b.number].Outputs)))
}

// The number of repetitions where --repeat does not say it: at least so many,
// and until so much time has been measured.
const (
	leastRepeats = 7
	mostRepeats  = 1000
	enough       = 1.0 // seconds
	long         = 5.0 // seconds after which a first run is as good as the next
)

// time times a way of calling again and again from the same point of a stream,
// after a first time that does not count unless it was long.
func (b *bench) time(w way) (m measured, state int64, err error) {
	x, err := b.streams(w)
	if err != nil {
		return m, 0, err
	}
	defer x.close()
	var seconds []float64
	sum := 0.0
	for i := 0; !b.done(len(seconds), sum); i++ {
		if err := x.rewind(); err != nil {
			return m, 0, err
		}
		begin := time.Now()
		for range w.calls {
			if err := x.run(b); err != nil {
				return m, 0, err
			}
		}
		took := time.Since(begin).Seconds()
		if err := errors.Join(b.flops.run(b.app, sum), b.read.run(b.app, sum)); err != nil {
			return m, 0, err
		}
		if i > 0 || took > long {
			seconds = append(seconds, took)
			sum += took
		}
	}
	if err := finite(slices.Concat(x.out...)); err != nil {
		return m, 0, err
	}
	m, err = b.summary(seconds, w)
	return m, x.sessions[0].StateBytes(), err
}

// streams are the sessions that a call feeds, all with the same rows.
type streams struct {
	sessions []*runtime.Session
	marks    []*runtime.Mark // of each, before the calls
	batch    *runtime.Batch  // nil: one session
	in, out  [][]runtime.Tensor
}

func (b *bench) streams(w way) (*streams, error) {
	in, err := b.inputs(w.rows)
	if err != nil {
		return nil, err
	}
	x := &streams{}
	for range b.batch {
		s, mark, err := b.begin(x, w)
		if err != nil {
			x.close()
			return nil, err
		}
		x.sessions, x.marks = append(x.sessions, s), append(x.marks, mark)
		x.in = append(x.in, in)
		x.out = append(x.out, make([]runtime.Tensor, len(b.p.Entries()[b.number].Outputs)))
	}
	if b.batch > 1 {
		x.batch, err = runtime.NewBatch(x.sessions)
	}
	return x, err
}

// begin begins one more stream, from the first where there is one.
func (b *bench) begin(x *streams, w way) (*runtime.Session, *runtime.Mark, error) {
	if len(x.sessions) == 0 {
		return b.start(w, runtime.Options{Threads: b.threads})
	}
	s, err := x.sessions[0].Fork()
	if err != nil {
		return nil, nil, err
	}
	mark, err := s.Mark()
	return s, mark, err
}

// rewind goes back to before the calls.
func (x *streams) rewind() error {
	for i, s := range x.sessions {
		if err := s.Rewind(x.marks[i]); err != nil {
			return err
		}
	}
	return nil
}

func (x *streams) run(b *bench) error {
	if x.batch != nil {
		return x.batch.Run(b.app.ctx, b.number, x.in, x.out)
	}
	return x.sessions[0].Run(b.app.ctx, b.number, x.in[0], x.out[0])
}

func (x *streams) close() {
	if x.batch != nil {
		x.batch.Close()
	}
	for _, s := range x.sessions {
		s.Close()
	}
}

// done reports whether so many runs that took so long together are enough.
func (b *bench) done(runs int, sum float64) bool {
	if b.repeat != nil {
		return runs >= *b.repeat
	}
	return runs >= leastRepeats && sum >= enough || runs == mostRepeats
}

// finite refuses to time what does not compute: a result that is no number.
func finite(out []runtime.Tensor) error {
	for _, t := range out {
		if v, err := runtime.Float32(t); err == nil && slices.ContainsFunc(v, func(x float32) bool { return x-x != 0 }) {
			return errors.New("the results are not finite: these weights and inputs are no work to time")
		}
	}
	return nil
}

func (b *bench) summary(seconds []float64, w way) (measured, error) {
	cost, err := b.cost(w)
	if err != nil {
		return measured{}, err
	}
	tokens := w.rows * w.calls
	if n := int64(b.batch); n > 1 {
		cost.Flops, cost.Bytes, tokens = n*cost.Flops, 0, n*tokens
	}
	sorted := slices.Sorted(slices.Values(seconds))
	median := (sorted[len(sorted)/2] + sorted[(len(sorted)-1)/2]) / 2
	m := measured{
		Position: w.at + w.before, Tokens: tokens, Seconds: seconds, Median: median, Min: sorted[0], Max: sorted[len(sorted)-1],
		Flops: cost.Flops, GFlops: float64(cost.Flops) / median / 1e9, Peak: b.flops.speed(),
		Bytes: cost.Bytes, GBytes: float64(cost.Bytes) / median / 1e9,
	}
	m.Speed = float64(m.Tokens) / median
	if read := b.read.speed(); fromMemory(cost, w) {
		m.ReadPeak = read
	}
	return m, nil
}

// Each kernel is timed in at most so many runs, fewer where they are long.
const profiledRuns = 5

// mostCosts bounds the nodes whose costs are counted for each call by itself.
const mostCosts = 1 << 20

// costs sums each kernel's costs over the calls, which differ where chunks are
// written; where there is too much to count, the first stands for all.
func (b *bench) costs(w way) map[string]memc.KernelCost {
	each, times := w.calls, int64(1)
	if each*int64(len(memc.Nodes(b.graph))) > mostCosts {
		each, times = 1, w.calls
	}
	sum := map[string]memc.KernelCost{}
	for i := range each {
		for name, c := range memc.KernelCosts(b.graph, b.plan, w.at+w.before+i*w.rows, w.rows) {
			s := sum[name]
			sum[name] = memc.KernelCost{Flops: s.Flops + times*c.Flops, Bytes: s.Bytes + times*c.Bytes}
		}
	}
	return sum
}

// kernels times each kernel in more runs of a way of calling, launched one by
// one, and gives the medians.
func (b *bench) kernels(w way) ([]kernelReport, error) {
	out := []kernelReport{}
	if b.plan == nil {
		return out, nil
	}
	s, mark, err := b.start(w, runtime.Options{Threads: b.threads, Profile: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var calls []int64           // of each kernel in a run
	var times [][]time.Duration // of each kernel in each run
	begin := time.Now()
	for i := 0; i <= profiledRuns && (len(times) == 0 || time.Since(begin).Seconds() < 2*enough); i++ {
		before := slices.Clone(s.Profile())
		if err := s.Rewind(mark); err != nil {
			return nil, err
		}
		for range w.calls {
			if err := b.call(s, w.rows); err != nil {
				return nil, err
			}
		}
		if i == 0 && time.Since(begin).Seconds() < long {
			continue // the first is the slowest
		}
		after := s.Profile()
		if times == nil {
			times, calls = make([][]time.Duration, len(after)), make([]int64, len(after))
		}
		for i, k := range after {
			calls[i] = k.Calls - before[i].Calls
			times[i] = append(times[i], k.Time-before[i].Time)
		}
	}
	costs := b.costs(w)
	for i, k := range s.Profile() {
		if calls[i] == 0 {
			continue // of another entry point
		}
		slices.Sort(times[i])
		c := costs[k.Kernel]
		x := kernelReport{Name: k.Kernel, Schedule: memc.Schedule(k.Kernel), Calls: calls[i], Seconds: times[i][len(times[i])/2].Seconds(), Flops: c.Flops, Bytes: c.Bytes}
		if x.Seconds > 0 {
			x.GFlops = float64(x.Flops) / x.Seconds / 1e9
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b kernelReport) int {
		switch {
		case a.Seconds > b.Seconds:
			return -1
		case a.Seconds < b.Seconds:
			return 1
		}
		return 0
	})
	return out, nil
}
