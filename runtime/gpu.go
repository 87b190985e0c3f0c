package runtime

import (
	"errors"
	"fmt"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/artifact"
	"github.com/memc-lang/memc/runtime/cuda"
	"github.com/memc-lang/memc/runtime/memory"
)

// gpu is the engine of PTX text: a plan whose steps the host gives to a GPU.
type gpu struct {
	plan    *plan.Plan
	device  *cuda.GPU
	kernels map[string]*gpuKernel
	scratch int64 // bytes, for any launch
	entries []Entry
	params  []Param

	// Where the states lie in the image of a stream's start: those of fixed size
	// first, as in a stream's own memory.
	image []int64
	fixed int64
	whole int64
}

// gpuKernel is a kernel and how it is launched.
type gpuKernel struct {
	*cuda.Function
	number  int // in the plan
	ctas    int
	scratch int64 // bytes for each
}

// mostScratch bounds the scratch memory of a launch: one that would need more
// has fewer CTAs, which then run more blocks each.
const mostScratch = 256 << 20

// openPTX finds a GPU that runs the target and compiles the text for it.
func openPTX(_ *artifact.Artifact, t *artifact.Target) (Engine, error) {
	d, err := cuda.Open()
	if err != nil {
		return nil, lacking(fmt.Errorf("target %s: %w", t.Name, err))
	}
	return onGPU(d, t)
}

// lacking makes an *Unsupported of an error that says that the machine lacks
// something.
func lacking(err error) error {
	var lacks *cuda.Lacks
	if errors.As(err, &lacks) {
		return &Unsupported{err.Error()}
	}
	return err
}

// OnDriver prepares a target of PTX on the first GPU of a driver that runs it:
// what New does with this machine's.
func OnDriver(d *cuda.Driver, a *artifact.Artifact, target string) (*Program, error) {
	t := a.Find(target)
	if t == nil || t.Format != "ptx" {
		return nil, fmt.Errorf("the artifact has no target %s of PTX", target)
	}
	e, err := onGPU(d, t)
	if err != nil {
		return nil, err
	}
	return programOf(e, a, t), nil
}

// SupportedGPU is nil where this machine has a GPU and a driver that run code
// for a target, "sm_80"; else an *Unsupported error says what it lacks.
func SupportedGPU(target string) error {
	d, err := cuda.Open()
	if err == nil {
		_, err = d.Find(target)
	} else {
		err = fmt.Errorf("target %s: %w", target, err)
	}
	return lacking(err)
}

func onGPU(d *cuda.Driver, t *artifact.Target) (Engine, error) {
	info, err := d.Find(t.Name)
	if err != nil {
		return nil, lacking(err)
	}
	p, err := plan.Parse(t.Plan)
	if err == nil {
		err = errors.Join(p.Verify()...)
	}
	if err != nil {
		return nil, fmt.Errorf("target %s: the plan: %w", t.Name, err)
	}
	device, err := d.Use(info.Ordinal)
	if err != nil {
		return nil, err
	}
	e := &gpu{plan: p, device: device, kernels: map[string]*gpuKernel{}, entries: entriesOf(p)}
	if e.params, err = paramsOf(p); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	if err := e.load(t); err != nil {
		return nil, lacking(fmt.Errorf("target %s: %w", t.Name, err))
	}
	e.lay()
	return e, nil
}

// load compiles the text and finds the plan's kernels in it.
func (e *gpu) load(t *artifact.Target) error {
	if err := e.device.Enter(); err != nil {
		return err
	}
	defer e.device.Leave()
	m, err := e.device.Load(t.Code)
	if err != nil {
		return err
	}
	for i, name := range e.plan.Kernels {
		threads, shared, scratch := t.Threads[name], t.Shared[name], t.Scratch[name]
		const most = 1 << 30
		if threads < 1 || threads > 1024 || shared < 0 || shared > most || scratch < 0 || scratch > most {
			return fmt.Errorf("the artifact does not say how the kernel %s is launched: compile it again", name)
		}
		f, err := m.Function(name, int(threads), int(shared))
		if err != nil {
			return err
		}
		k := &gpuKernel{Function: f, number: i, ctas: f.Fits, scratch: scratch}
		if scratch > 0 {
			k.ctas = int(min(int64(k.ctas), max(1, mostScratch/scratch)))
			e.scratch = max(e.scratch, int64(k.ctas)*scratch)
		}
		e.kernels[name] = k
	}
	return nil
}

// lay decides where the states lie.
func (e *gpu) lay() {
	total := int64(0)
	for _, growing := range []bool{false, true} {
		k := 0
		for i := range e.plan.Buffers {
			b := &e.plan.Buffers[i]
			if b.Class != plan.State {
				continue
			}
			if len(e.image) <= k {
				e.image = append(e.image, 0)
			}
			if growing == (b.Grow != nil) {
				e.image[k] = total
				total = upGPU(total + b.Bytes + memory.Slack)
			}
			k++
		}
		if !growing {
			e.fixed = total
		}
	}
	e.whole = total
}

// upGPU rounds up to the alignment of the device's own allocations.
func upGPU(n int64) int64 { return (n + 255) &^ 255 }

// Entries are the plan's.
func (e *gpu) Entries() []Entry { return e.entries }

// Params are the tensors behind the plan's weights.
func (e *gpu) Params() []Param { return e.params }

// uploaded is what all streams on a GPU share.
type uploaded struct {
	weights *cuda.Memory // and tables, at packed.place
	start   *cuda.Memory // the states at the start, at gpu.image
}

// pack lays the weights out in this machine's memory, copies them to the GPU
// with the states that streams begin with, and drops them here.
func (e *gpu) pack(w *Weights) (*packed, error) {
	k, err := packPlan(e.plan, w)
	if err != nil {
		return nil, err
	}
	defer func() {
		k.region.Free()
		k.region = nil
	}()
	start, err := memory.New(e.whole)
	if err != nil {
		return nil, err
	}
	defer start.Free()
	c, err := newCourse(e.plan)
	if err != nil {
		return nil, err
	}
	for i := range c.states {
		s := &c.states[i]
		s.start(e.plan, k, start.Bytes()[e.image[i]:][:s.bytes])
	}
	if err := e.device.Enter(); err != nil {
		return nil, err
	}
	defer e.device.Leave()
	if err := e.device.Room(k.region.Len()+start.Len(), "the program's weights"); err != nil {
		return nil, lacking(err)
	}
	k.gpu = &uploaded{}
	if k.gpu.weights, err = e.upload(k.region, "the weights"); err != nil {
		return nil, lacking(err)
	}
	if k.gpu.start, err = e.upload(start, "the states at a stream's start"); err != nil {
		return nil, lacking(err)
	}
	return k, nil
}

// upload copies a region to memory of the GPU.
func (e *gpu) upload(r *memory.Region, what string) (*cuda.Memory, error) {
	to, err := e.device.Alloc(r.Len(), what)
	if err != nil {
		return nil, err
	}
	s, err := e.device.NewStream()
	if err != nil {
		return nil, err
	}
	defer s.Free()
	m, err := newMail(e.device, s, 0, min(r.Len(), mostMail))
	if err != nil {
		return nil, err
	}
	defer m.free()
	if err := m.send(to.Addr, r.Bytes()[:r.Len()]); err != nil {
		return nil, err
	}
	return to, s.Wait("take " + what)
}
