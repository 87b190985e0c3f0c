package runtime

import (
	"time"
	"unsafe"

	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// entry is an entry point as the generated walker reads it: one region with
// the step list, and behind it the arrays of buffer addresses and of slots.
type entry struct {
	region *memory.Region // nil: not built yet
	count  int64
	words  []int64 // the region behind the steps
	uses   []use   // where addresses stand that may change
	ports  ports
	took   [65]time.Duration // what the last slab took, by the bits of its number of rows
}

// use is a place in words that holds the address of a buffer.
type use struct{ word, buffer int }

// stepBytes is the size of plan.NativeStep.
const stepBytes = int64(unsafe.Sizeof(plan.NativeStep{}))

// build writes the entry's step list.
func (m *machine) build(i int) (*entry, error) {
	e := &m.entries[i]
	if e.region != nil {
		return e, nil
	}
	pe := &m.plan.Entries[i]
	steps, words := measure(pe.Steps)
	region, err := memory.New(steps*stepBytes + words*8)
	if err != nil {
		return nil, err
	}
	b := builder{m: m, e: e, base: region.Addr(steps * stepBytes), words: memory.View[int64](region, steps*stepBytes, int(words))}
	b.steps = memory.View[int64](region, 0, int(steps*stepBytes/8))
	if m.times == nil { // timed launches run one by one
		b.links = m.plan.Links(pe.Steps)
	}
	b.list(pe.Steps)
	e.ports = m.portsOf(pe)
	e.words, e.count, e.region = b.words, steps, region
	return e, nil
}

// measure counts the flat steps and the words of their arrays.
func measure(steps []plan.Step) (count, words int64) {
	for i := range steps {
		c, w := measure(steps[i].Steps)
		count += 1 + c
		words += w + int64(len(steps[i].Bufs)+len(steps[i].Slots))
	}
	return count, words
}

// builder writes steps, eight words each, and arrays.
type builder struct {
	m     *machine
	e     *entry
	steps []int64
	words []int64
	links map[*plan.Step]plan.Link
	base  uintptr // of words
	step  int
	word  int
}

func (b *builder) list(steps []plan.Step) {
	for i := range steps {
		s := &steps[i]
		n := plan.NativeStep{Kind: int64(s.Kind)}
		at := b.step
		b.step++
		switch s.Kind {
		case plan.Launch:
			n.Fn = b.m.engine.kernels[s.Kernel]
			if l := b.links[s]; l.Open {
				n.A = 1
			}
			if n.B = int64(b.links[s].Place); n.B >= plan.OpenLaunches {
				n.B = -1
			}
			n.Bufs = b.base + uintptr(8*b.word)
			for _, id := range s.Bufs {
				if c := &b.m.plan.Buffers[id]; c.Grow != nil || c.Class == plan.Input || c.Class == plan.Output {
					b.e.uses = append(b.e.uses, use{b.word, id})
				}
				b.words[b.word] = int64(b.m.addr[id])
				b.word++
			}
			n.Slots = b.base + uintptr(8*b.word)
			for _, slot := range s.Slots {
				b.words[b.word] = int64(slot)
				b.word++
			}
		case plan.Repeat:
			name := b.m.plan.Loops[s.Loop].Name
			n.A = int64(b.m.plan.SlotIndex(name + ".first"))
			n.B = int64(b.m.plan.SlotIndex(name + ".turns"))
		case plan.If:
			n.A = int64(s.Cond)
		case plan.Beside:
			n.A = int64(s.From)
		}
		b.list(s.Steps)
		n.Body = int64(b.step - at - 1)
		copy(b.steps[int64(at)*stepBytes/8:], []int64{n.Kind, int64(n.Fn), int64(n.Bufs), int64(n.Slots), n.A, n.B, n.Body, 0})
	}
}

// patch replaces the address of a buffer that lies elsewhere now.
func (e *entry) patch(buffer int, addr uintptr) {
	for _, u := range e.uses {
		if u.buffer == buffer {
			e.words[u.word] = int64(addr)
		}
	}
}
