package runtime

import (
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/runtime/memory"
)

// Kernels read inputs and write outputs where the caller has them: to copy those of a
// product takes up to a tenth of its time, in which one worker alone is busy.

// worthCopying is how many bytes are copied as soon as they are found in place.
const worthCopying = 1 << 12

// ports are the addresses at which an entry's step list has its inputs and
// outputs, and which of them may be other memory than the arena's.
type ports struct {
	in, out           []uintptr
	readOnly, written []bool
}

// portsOf finds the ports of a plan's entry: an input that no kernel writes, an
// output that one does.
func (m *machine) portsOf(pe *plan.Entry) ports {
	var p ports
	writes := make([]bool, len(m.plan.Buffers))
	var look func(steps []plan.Step)
	look = func(steps []plan.Step) {
		for i := range steps {
			s := &steps[i]
			if s.Kind == plan.Launch {
				for j, b := range m.plan.Signature(s.Kernel).Bufs {
					writes[s.Bufs[j]] = writes[s.Bufs[j]] || b.Write
				}
			}
			look(s.Steps)
		}
	}
	look(pe.Steps)
	told := len(m.plan.Signatures) > 0
	for _, o := range pe.Inputs {
		p.in, p.readOnly = append(p.in, m.addr[o.Buffer]), append(p.readOnly, told && !writes[o.Buffer])
	}
	for _, o := range pe.Outputs {
		p.out, p.written = append(p.out, m.addr[o.Buffer]), append(p.written, told && writes[o.Buffer])
	}
	return p
}

// inPlace says that kernels may have a piece of a tensor for a buffer: it is as
// aligned as buffers are, and has the tensor's own memory behind it.
func inPlace(piece []byte) bool {
	return len(piece) >= worthCopying && cap(piece)-len(piece) >= memory.Slack && memory.Address(piece)%memory.Align == 0
}

// apart says that no output lies where an input or another output does.
func apart(in, out []Tensor) bool {
	overlap := func(a, b []byte) bool {
		x, y := memory.Address(a), memory.Address(b)
		return x < y+uintptr(len(b)) && y < x+uintptr(len(a))
	}
	for i := range out {
		for j := range in {
			if overlap(out[i].Data, in[j].Data) {
				return false
			}
		}
		for j := range out[:i] {
			if overlap(out[i].Data, out[j].Data) {
				return false
			}
		}
	}
	return true
}

// bind makes the step list find a buffer at an address.
func (e *entry) bind(at *uintptr, buffer int, addr uintptr) {
	if *at != addr {
		*at = addr
		e.patch(buffer, addr)
	}
}
