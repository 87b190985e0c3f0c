package plan

import (
	"fmt"
	"math"
	"slices"

	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// What a plan may ask for at most. A plan comes from a file, and what it says
// is allocated: beyond these it is surely damaged.
const (
	maxSlab    = 1 << 24
	maxBytes   = 1 << 46
	maxRecords = 1 << 24 // int64 values in all records of a call
)

// Verify reports every fault it finds, nil where there is none:
//
//   - slab, arena, record and the room for records are positive and within
//     limits; the first two slots are pos and n;
//   - names of slots, lengths and loops are names, and unique where they count;
//   - only weights, and states that start as zeros, are quantised;
//   - a buffer's Bytes are what Dims, Panel and Elem take; its place is aligned
//     to 64 bytes and inside the arena; it has the attributes of its class and
//     no others; a state starts from a weight of as many elements;
//   - every expression reads variables that are defined before it, and divides
//     by no constant zero;
//   - a record has room for the slots of every loop;
//   - a step names a kernel, buffers, slots and a loop that exist, agrees with
//     its kernel's signature, and stores to no weight and no table;
//   - no Repeat lies inside a Repeat: turns are counted in the call's record;
//   - a Beside lies in no other step, begins with a launch, and this launch stores
//     to nothing that the others use, nor they to what it uses;
//   - ports show a whole buffer of their class in row-major order.
//
// That buffers whose lifetimes meet do not share memory is the planner's own
// affair; a verifier that knows no lifetimes cannot tell.
func (p *Plan) Verify() []error {
	v := &verifier{p: p}
	v.sizes()
	v.names()
	for i := range p.Buffers {
		v.buffer(i)
	}
	v.loops()
	v.expressions()
	v.signatures()
	v.entries()
	return v.errs
}

// maxErrors keeps the report on a hopeless plan short.
const maxErrors = 100

type verifier struct {
	p    *Plan
	errs []error
}

func (v *verifier) fault(format string, args ...any) {
	if len(v.errs) < maxErrors {
		v.errs = append(v.errs, fmt.Errorf(format, args...))
	}
}

func (v *verifier) sizes() {
	p := v.p
	if p.Slab < 1 || p.Slab > maxSlab {
		v.fault("slab is %d: it must lie between 1 and %d", p.Slab, maxSlab)
	}
	if p.Arena < 0 || p.Arena > maxBytes {
		v.fault("arena is %d bytes: it must lie between 0 and %d", p.Arena, int64(maxBytes))
	}
	if p.Record < len(p.Slots) || p.Record > maxRecords {
		v.fault("record is %d slots: it must have room for the call's %d, and at most %d", p.Record, len(p.Slots), maxRecords)
		return
	}
	records := int64(1)
	for i := range p.Loops {
		l := &p.Loops[i]
		if l.Max < 0 || l.Max > maxRecords {
			v.fault("loop %s: max is %d: it must lie between 0 and %d", l.Name, l.Max, maxRecords)
			return
		}
		records += int64(l.Max)
	}
	if records*int64(p.Record) > maxRecords {
		v.fault("a call has up to %d records of %d slots: more than %d values", records, p.Record, maxRecords)
	}
}

func (v *verifier) names() {
	p := v.p
	if len(p.Slots) < 2 || p.Slots[0].Name != "pos" || p.Slots[1].Name != "n" {
		v.fault("the first two slots must be pos and n")
	} else {
		for i, name := range []string{"pos", "n"} {
			if e := p.Slots[i].Expr; e != nil && !ints.Equal(e, ints.V(name)) {
				v.fault("slot %d must be %s itself, not %s", i, name, e)
			}
		}
	}
	slots := func(what string, list []Slot) {
		names := make([]string, len(list))
		for i := range list {
			names[i] = list[i].Name
		}
		v.unique(what, names, true)
	}
	slots("slot", p.Slots)
	var loops, carried, buffers, entries []string
	for i := range p.Loops {
		l := &p.Loops[i]
		loops = append(loops, l.Name)
		slots("slot of loop "+l.Name, l.Slots)
		for _, c := range l.Carry {
			carried = append(carried, c.Name)
		}
	}
	for i := range p.Buffers {
		buffers = append(buffers, p.Buffers[i].Name)
	}
	for i := range p.Entries {
		entries = append(entries, p.Entries[i].Name)
	}
	v.unique("loop", loops, true)
	v.unique("carried length", carried, true)
	v.unique("kernel", p.Kernels, false)
	v.unique("buffer", buffers, false)
	v.unique("entry", entries, false)
	for _, c := range carried {
		if c == "pos" || c == "n" || c == "turn" || c == "done" {
			v.fault("a carried length cannot be called %s", c)
		}
	}
}

// unique checks that no name is empty or used twice, and that each is a name
// that expressions can use where they do.
func (v *verifier) unique(what string, names []string, expr bool) {
	seen := map[string]bool{}
	for _, n := range names {
		switch {
		case expr && !Name(n):
			v.fault("%s %q: expressions cannot use this name", what, n)
		case n == "":
			v.fault("a %s has no name", what)
		case seen[n]:
			v.fault("%s %q is declared twice", what, n)
		}
		seen[n] = true
	}
}

func (v *verifier) buffer(i int) {
	b := &v.p.Buffers[i]
	fault := func(format string, args ...any) {
		v.fault("buffer %d %q: "+format, append([]any{i, b.Name}, args...)...)
	}
	if int(b.Class) >= len(classes) {
		fault("class %d does not exist", b.Class)
		return
	}
	if b.Elem > kernel.Q4 {
		fault("element type %d does not exist", b.Elem)
		return
	}
	if b.Elem.Quantised() {
		v.quantised(b, fault)
	}
	need, err := Bytes(b.Elem, b.Dims, b.Panel)
	switch {
	case err != nil:
		fault("%v", err)
	case need != b.Bytes:
		fault("bytes is %d, but %s %v with panel %d takes %d", b.Bytes, b.Elem, b.Dims, b.Panel, need)
	}
	if b.Pairs && (b.Class != Weight || b.Panel == 0 || b.Elem.Size() != 2 || err == nil && b.Dims[len(b.Dims)-1]%2 != 0) {
		fault("a %s of %s %v with panel %d cannot have pairs", b.Class, b.Elem, b.Dims, b.Panel)
	}
	switch {
	case !b.inArena() && b.Offset != 0:
		fault("a %s has no place in the arena", b.Class)
	case b.inArena() && (b.Offset < 0 || b.Offset%64 != 0 || b.Bytes > v.p.Arena || b.Offset > v.p.Arena-b.Bytes):
		fault("%d bytes at %d do not lie, aligned to 64, inside the arena of %d bytes", b.Bytes, b.Offset, v.p.Arena)
	}
	if only(b.Class == Weight, b.Tensor != "" || b.Shape != nil || b.Init.Kind != "") {
		fault("only a weight has a tensor, a shape and an init")
	}
	if only(b.Class == Table, b.Data != nil) {
		fault("only a table has data")
	}
	if only(b.Class == State, b.Grow != nil || b.Fill != 0) {
		fault("only a state has from, fill and grow")
	}
	if only(b.Class == Probe, b.Loop != "") {
		fault("only a probe has a loop")
	}
	switch b.Class {
	case Weight:
		if b.Tensor == "" {
			fault("a weight needs the name of its tensor")
		}
		have, err1 := Bytes(F32, b.Dims, 0)
		want, err2 := Bytes(F32, b.Shape, 0)
		if err1 != nil || err2 != nil || have != want {
			fault("dims %v and the tensor's shape %v differ in their number of elements", b.Dims, b.Shape)
		}
		switch b.Init.Kind {
		case "zeros", "const", "normal", "uniform":
		default:
			fault("init %q is none of zeros, const, normal, uniform", b.Init.Kind)
		}
		if math.IsNaN(b.Init.Scale) || math.IsInf(b.Init.Scale, 0) {
			fault("init's scale is %v", b.Init.Scale)
		}
	case Table:
		if int64(len(b.Data)) != b.Bytes {
			fault("has %d bytes of data for %d bytes", len(b.Data), b.Bytes)
		}
	case State:
		v.state(b, fault)
	case Probe:
		v.probe(b, fault)
	}
}

func only(is, has bool) bool { return has && !is }

// quantised checks what a buffer of groups with scales cannot be. Its rows must
// be the tensor's, and a state begins as zeros and grows by whole matrices.
func (v *verifier) quantised(b *Buffer, fault func(string, ...any)) {
	switch {
	case b.Class != Weight && b.Class != State && b.Class != Temp:
		fault("a %s cannot be %s", b.Class, b.Elem)
	case b.Class == Weight && !slices.Equal(b.Dims, b.Shape):
		fault("dims %v of %s are not the tensor's shape %v", b.Dims, b.Elem, b.Shape)
	case b.Class == State && (b.From >= 0 || b.Fill != 0):
		fault("a state of %s starts as zeros", b.Elem)
	case b.Grow != nil && len(b.Dims) < 3:
		fault("a matrix of %s cannot grow", b.Elem)
	}
}

func (v *verifier) state(b *Buffer, fault func(string, ...any)) {
	if b.Grow != nil && len(b.Dims) == 0 {
		fault("a scalar cannot grow")
	}
	if b.From < 0 {
		return
	}
	if b.From >= len(v.p.Buffers) || v.p.Buffers[b.From].Class != Weight {
		fault("starts as a copy of buffer %d, which is not a weight", b.From)
		return
	}
	from := &v.p.Buffers[b.From]
	have, err1 := Bytes(F32, b.Dims, 0)
	want, err2 := Bytes(F32, from.Dims, 0)
	if from.Elem.Quantised() {
		fault("starts as a copy of %q, which is %s", from.Name, from.Elem)
	}
	if err1 != nil || err2 != nil || have != want {
		fault("starts as a copy of %q, which has another number of elements", from.Name)
	}
}

func (v *verifier) probe(b *Buffer, fault func(string, ...any)) {
	if b.Elem != F32 || b.Panel != 0 || len(b.Dims) != 1 {
		fault("a probe is a vector of f32")
		return
	}
	for i := range v.p.Loops {
		if l := &v.p.Loops[i]; l.Name == b.Loop {
			if b.Dims[0] < l.Max {
				fault("has %d elements for the %d turns of loop %s", b.Dims[0], l.Max, l.Name)
			}
			return
		}
	}
	fault("belongs to no loop: there is none called %q", b.Loop)
}

// Bytes is what a buffer of these dims takes in memory, as kernel.Buf lays it
// out, without the readable bytes behind it. An error says which dim or what
// product is impossible.
func Bytes(e Elem, dims []int, panel int) (int64, error) {
	if panel < 0 || int64(panel) > maxBytes/8 {
		return 0, fmt.Errorf("panel %d is impossible", panel)
	}
	if panel > 0 && len(dims) < 2 {
		return 0, fmt.Errorf("panel %d needs two dims, not %v", panel, dims)
	}
	total, empty := int64(e.Size()), false
	if e.Quantised() {
		return quantisedBytes(e, dims, panel)
	}
	for i, d := range dims {
		if d < 0 || int64(d) > maxBytes {
			return 0, fmt.Errorf("dim %d of %v is impossible", i, dims)
		}
		n := int64(d)
		if panel > 0 && i == len(dims)-2 {
			n = (n + int64(panel) - 1) / int64(panel) * int64(panel)
		}
		if n == 0 {
			empty = true
			continue
		}
		if total > maxBytes/n {
			return 0, fmt.Errorf("dims %v take more than %d bytes", dims, int64(maxBytes))
		}
		total *= n
	}
	if empty {
		return 0, nil
	}
	return total, nil
}

// quantisedBytes is Bytes for groups with scales, which take at most three bytes
// an element.
func quantisedBytes(e Elem, dims []int, panel int) (int64, error) {
	if need, err := Bytes(F32, dims, panel); err != nil || need == 0 {
		return 0, err
	}
	b := kernel.Buf{Elem: e, Dims: dims, Panel: panel}
	n, k := b.Matrix()
	total := e.MatrixBytes(n, k, panel)
	for _, d := range dims[:max(len(dims)-2, 0)] {
		if total > maxBytes/int64(d) {
			return 0, fmt.Errorf("dims %v take more than %d bytes", dims, int64(maxBytes))
		}
		total *= int64(d)
	}
	return total, nil
}

func (v *verifier) loops() {
	p := v.p
	for i := range p.Loops {
		l := &p.Loops[i]
		if n := len(p.Slots) + len(l.Slots); n > p.Record {
			v.fault("loop %s: %d slots and the call's %d do not fit a record of %d", l.Name, len(l.Slots), len(p.Slots), p.Record)
		}
	}
}

// expressions compiles every expression as the runtime will.
func (v *verifier) expressions() {
	p := v.p
	d, errs := p.compile()
	for _, err := range errs {
		v.fault("%v", err)
	}
	check := func(what, name string, e *ints.Expr) {
		if e == nil {
			return
		}
		if _, err := d.Compile(e); err != nil {
			v.fault("%s %s: %v", what, name, err)
		}
	}
	for i := range p.Buffers {
		check("grow of buffer", p.Buffers[i].Name, p.Buffers[i].Grow)
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		for k := range e.Inputs {
			check("rows of entry "+e.Name+", input", e.Inputs[k].Name, e.Inputs[k].Rows)
		}
		for k := range e.Outputs {
			check("rows of entry "+e.Name+", output", e.Outputs[k].Name, e.Outputs[k].Rows)
		}
	}
}
