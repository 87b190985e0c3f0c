package plan

import (
	"slices"
	"strconv"

	"github.com/memc-lang/memc/ir/kernel"
)

func (v *verifier) signatures() {
	p := v.p
	if len(p.Signatures) == 0 {
		return
	}
	if len(p.Signatures) != len(p.Kernels) {
		v.fault("%d signatures for %d kernels", len(p.Signatures), len(p.Kernels))
	}
	for i := range p.Signatures {
		for j, b := range p.Signatures[i].Bufs {
			if b.Elem > kernel.Q4 {
				v.fault("signature %d: element type %d of buffer %d does not exist", i, b.Elem, j)
			} else if _, err := Bytes(b.Elem, b.Dims, b.Panel); err != nil {
				v.fault("signature %d: buffer %d: %v", i, j, err)
			}
		}
	}
}

func (v *verifier) entries() {
	for i := range v.p.Entries {
		e := &v.p.Entries[i]
		where := "entry " + e.Name
		if e.Name == "" {
			v.fault("entry %d has no name", i)
		}
		v.ports(where, e.Inputs, Input)
		v.ports(where, e.Outputs, Output)
		v.steps(where, e.Steps, -1, 0)
	}
}

func (v *verifier) ports(where string, ports []Port, class Class) {
	seen := map[string]bool{}
	for i := range ports {
		o := &ports[i]
		at := where + ", " + class.String() + " " + o.Name
		if o.Name == "" || seen[o.Name] {
			v.fault("%s: a port's name is empty or used twice", at)
		}
		seen[o.Name] = true
		if o.Buffer < 0 || o.Buffer >= len(v.p.Buffers) {
			v.fault("%s: buffer %d does not exist", at, o.Buffer)
			continue
		}
		b := &v.p.Buffers[o.Buffer]
		if b.Class != class {
			v.fault("%s: buffer %q is of class %s", at, b.Name, b.Class)
		}
		if o.Elem != b.Elem || o.Elem > kernel.Bool {
			v.fault("%s: elements are %d, those of buffer %q are %d", at, o.Elem, b.Name, b.Elem)
			continue
		}
		if n, err := Bytes(o.Elem, o.Dims, 0); err != nil || n != b.Bytes || b.Panel != 0 {
			v.fault("%s: dims %v do not show the %d row-major bytes of buffer %q", at, o.Dims, b.Bytes, b.Name)
		}
		if len(o.Names) != 0 && len(o.Names) != len(o.Dims) {
			v.fault("%s: %d names for %d dims", at, len(o.Names), len(o.Dims))
		}
		if (o.Rows != nil || o.Clock) && len(o.Dims) == 0 {
			v.fault("%s: a scalar has no rows", at)
		}
		if o.Below < 0 || o.Below > 0 && (class != Input || o.Elem != I32 && o.Elem != I64) {
			v.fault("%s: below %d is for inputs of integers", at, o.Below)
		}
	}
}

// steps checks a list of steps inside loop (-1: in none).
func (v *verifier) steps(where string, steps []Step, loop, depth int) {
	if depth > maxNest {
		v.fault("%s: steps nest more than %d deep", where, maxNest)
		return
	}
	width := len(v.p.Slots)
	if loop >= 0 {
		width += len(v.p.Loops[loop].Slots)
	}
	slot := func(at string, s int) {
		if s < 0 || s >= width || s >= v.p.Record {
			v.fault("%s: slot %d is none of the %d of this record", at, s, width)
		}
	}
	for i := range steps {
		s := &steps[i]
		at := where + ", step " + strconv.Itoa(i)
		switch s.Kind {
		case Launch:
			at += " (" + s.Kernel + ")"
			for _, k := range s.Slots {
				slot(at, k)
			}
			v.launch(at, s)
			if len(s.Steps) > 0 {
				v.fault("%s: a launch has no steps of its own", at)
			}
		case Repeat:
			if loop >= 0 {
				v.fault("%s: a repeat inside a repeat: turns are counted once a call", at)
				continue
			}
			if s.Loop < 0 || s.Loop >= len(v.p.Loops) {
				v.fault("%s: loop %d does not exist", at, s.Loop)
				continue
			}
			name := v.p.Loops[s.Loop].Name
			for _, need := range []string{name + ".first", name + ".turns"} {
				if k := v.p.SlotIndex(need); k < 0 || v.p.Slots[k].Expr != nil {
					v.fault("%s: the call has no slot %s, without an expression, that the repeat reads", at, need)
				}
			}
			v.steps(at, s.Steps, s.Loop, depth+1)
		case If:
			slot(at, s.Cond)
			v.steps(at, s.Steps, loop, depth+1)
		case Beside:
			v.beside(at, s, depth)
			v.steps(at, s.Steps, loop, depth+1)
		default:
			v.fault("%s: kind %d does not exist", at, s.Kind)
		}
	}
}

// beside checks what is special about a Beside: it is an entry's own step, and
// its first step shares no buffer with the others that one of both stores to.
func (v *verifier) beside(at string, s *Step, depth int) {
	if depth > 0 {
		v.fault("%s: a beside inside another step", at)
	}
	if s.From < 1 {
		v.fault("%s: from %d workers on: it is 1 at least", at, s.From)
	}
	if len(s.Steps) < 2 || s.Steps[0].Kind != Launch {
		v.fault("%s: a launch first, and something beside it", at)
		return
	}
	side, rest := v.uses(s.Steps[:1], map[int]bool{}), v.uses(s.Steps[1:], map[int]bool{})
	for b, stores := range side {
		if other, shared := rest[b]; shared && (stores || other) {
			v.fault("%s: the launch beside and the other steps share the buffer %d, and not for reading alone", at, b)
		}
	}
}

// uses notes the buffers of steps, and whether any stores to them: without
// signatures all do.
func (v *verifier) uses(steps []Step, stores map[int]bool) map[int]bool {
	for i := range steps {
		s := &steps[i]
		k := slices.Index(v.p.Kernels, s.Kernel)
		for j, b := range s.Bufs {
			known := k >= 0 && k < len(v.p.Signatures) && j < len(v.p.Signatures[k].Bufs)
			stores[b] = stores[b] || !known || v.p.Signatures[k].Bufs[j].Write
		}
		v.uses(s.Steps, stores)
	}
	return stores
}

func (v *verifier) launch(at string, s *Step) {
	p := v.p
	k := slices.Index(p.Kernels, s.Kernel)
	if k < 0 {
		v.fault("%s: no such kernel", at)
	}
	sound := true
	for _, b := range s.Bufs {
		if b < 0 || b >= len(p.Buffers) {
			v.fault("%s: buffer %d does not exist", at, b)
			sound = false
		}
	}
	if k < 0 || !sound || k >= len(p.Signatures) {
		return
	}
	g := &p.Signatures[k]
	if len(g.Bufs) != len(s.Bufs) || g.Ints != len(s.Slots) {
		v.fault("%s: %d buffers and %d slots for a kernel of %d and %d", at, len(s.Bufs), len(s.Slots), len(g.Bufs), g.Ints)
		return
	}
	for i, id := range s.Bufs {
		b, want := &p.Buffers[id], &g.Bufs[i]
		if b.Elem != want.Elem {
			v.fault("%s: buffer %q holds %s, the kernel's buffer %d is %s", at, b.Name, b.Elem, i, want.Elem)
			continue
		}
		if b.Panel != want.Panel {
			v.fault("%s: buffer %q has panel %d, the kernel's buffer %d has %d", at, b.Name, b.Panel, i, want.Panel)
		}
		if b.Pairs != want.Pairs {
			v.fault("%s: buffer %q has pairs: %t, the kernel's buffer %d: %t", at, b.Name, b.Pairs, i, want.Pairs)
		}
		if d, w := b.Dims, want.Dims; b.Elem.Quantised() && (len(d) != len(w) || !slices.Equal(d[max(len(d)-2, 0):], w[max(len(w)-2, 0):])) {
			v.fault("%s: buffer %q has the dims %v, the kernel's buffer %d has %v", at, b.Name, d, i, w)
			continue
		}
		need, err := Bytes(want.Elem, want.Dims, want.Panel)
		if err != nil || need > b.Bytes {
			v.fault("%s: buffer %q has %d bytes, the kernel's buffer %d takes %d", at, b.Name, b.Bytes, i, need)
		}
		if want.Write && (b.Class == Weight || b.Class == Table) {
			v.fault("%s: the kernel stores to %q, a %s", at, b.Name, b.Class)
		}
	}
}
