package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// packed is the weights and tables of a plan in its layout.
type packed struct {
	region *memory.Region // nil: they are on a GPU
	place  []int64        // of each buffer of the plan; -1 where it is neither weight nor table
	gpu    *uploaded
}

// buffer is the memory of buffer i.
func (k *packed) buffer(p *plan.Plan, i int) []byte {
	return k.region.Bytes()[k.place[i]:][:p.Buffers[i].Bytes]
}

// packPlan lays the plan's weights and tables out, with readable bytes behind
// each, and fills them with all processors.
func packPlan(p *plan.Plan, w *Weights) (*packed, error) {
	k := &packed{place: make([]int64, len(p.Buffers))}
	total := int64(0)
	for i := range p.Buffers {
		k.place[i] = -1
		if b := &p.Buffers[i]; b.Class == plan.Weight || b.Class == plan.Table {
			k.place[i] = total
			total = memory.Up(total + b.Bytes + memory.Slack)
		}
	}
	var err error
	if k.region, err = memory.New(total); err != nil {
		return nil, err
	}
	k.region.Huge()
	params := map[string]Param{}
	for _, p := range w.params {
		params[p.Name] = p
	}
	var jobs []job
	for i := range p.Buffers {
		b := &p.Buffers[i]
		switch b.Class {
		case plan.Table:
			copy(k.buffer(p, i), b.Data)
		case plan.Weight:
			j := job{layout: weightLayout(b), to: k.buffer(p, i), elem: b.Elem}
			if b.Elem.Quantised() {
				j.codes, err = w.coder(params[b.Tensor], b.Elem, j.layout.cols)
			} else {
				j.read, err = w.reader(params[b.Tensor], b.Elem != plan.F32)
			}
			if err != nil {
				return nil, fmt.Errorf("the tensor %s: %w", b.Tensor, err)
			}
			for j.group = range j.layout.groups() {
				jobs = append(jobs, j)
			}
		}
	}
	return k, w.each(len(jobs), func(s *scratch, i int) error { return jobs[i].do(s) })
}

// job converts and places one group of one weight.
type job struct {
	read   func(dst []float32, from int)
	codes  *coder // instead, where codes are placed
	layout layout
	group  int
	to     []byte
	elem   plan.Elem
}

// each does n things on all processors, guarded, until one fails.
func (w *Weights) each(n int, do func(s *scratch, i int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, min(n, goruntime.GOMAXPROCS(0)))
	for i := range errs {
		group.Go(func() {
			errs[i] = w.guard(func() error {
				var s scratch
				for j := next.Add(1) - 1; j < int64(n); j = next.Add(1) - 1 {
					if err := do(&s, int(j)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (j *job) do(s *scratch) error {
	if j.elem.Quantised() {
		return j.quantise(s)
	}
	from, rows, off := j.layout.piece(j.group)
	n := rows * j.layout.cols
	if j.layout.panel == 0 && j.elem == plan.F32 {
		j.read(values[float32](j.to[off:][:4*n]), from)
		return nil
	}
	v := take(&s.floats, n)
	j.read(v, from)
	if j.layout.panel == 0 {
		narrow(j.to[off:], v, j.elem)
		return nil
	}
	bytes := take(&s.bytes, n*j.layout.size)
	narrow(bytes, v, j.elem)
	j.layout.put(j.to, bytes, j.group)
	return nil
}
