package plan

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/ints"
)

// String prints the plan so that Parse gives the same plan back. Buffers are
// numbered, as steps and ports refer to them by number; so are slots.
func (p *Plan) String() string {
	w := &printer{}
	w.line("plan %s", strconv.Quote(p.Target))
	w.line("slab %d", p.Slab)
	w.line("arena %d", p.Arena)
	w.line("record %d", p.Record)
	w.line("")
	for i := range p.Buffers {
		w.line("buffer %d %s", i, p.Buffers[i].text())
	}
	w.line("")
	for i, s := range p.Slots {
		w.line("slot %d %s", i, s.text())
	}
	for i := range p.Loops {
		w.line("")
		w.loop(&p.Loops[i], len(p.Slots))
	}
	w.line("")
	for i, k := range p.Kernels {
		if i < len(p.Signatures) {
			w.line("kernel %s %s", strconv.Quote(k), p.Signatures[i].text())
		} else {
			w.line("kernel %s", strconv.Quote(k))
		}
	}
	for i := range p.Entries {
		w.line("")
		w.entry(p, &p.Entries[i])
	}
	return w.b.String()
}

type printer struct {
	b      strings.Builder
	indent int
}

func (w *printer) line(format string, args ...any) {
	if format != "" {
		w.b.WriteString(strings.Repeat("  ", w.indent))
	}
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (b *Buffer) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s %s %s", strconv.Quote(b.Name), b.Class, b.Elem, numbers(b.Dims))
	if b.Panel != 0 {
		fmt.Fprintf(&s, " panel %d", b.Panel)
	}
	if b.Pairs {
		s.WriteString(" pairs")
	}
	fmt.Fprintf(&s, " bytes %d", b.Bytes)
	if b.inArena() || b.Offset != 0 {
		fmt.Fprintf(&s, " at %d", b.Offset)
	}
	if b.Class == Weight || b.Tensor != "" {
		fmt.Fprintf(&s, " tensor %s shape %s", strconv.Quote(b.Tensor), numbers(b.Shape))
	}
	if b.Class == Weight || b.Init.Kind != "" {
		fmt.Fprintf(&s, " init %s %s", strconv.Quote(b.Init.Kind), float(b.Init.Scale))
	}
	if b.Loop != "" {
		fmt.Fprintf(&s, " loop %s", b.Loop)
	}
	if b.Data != nil {
		fmt.Fprintf(&s, " data %s", strconv.Quote(base64.StdEncoding.EncodeToString(b.Data)))
	}
	if b.Class == State {
		if b.From >= 0 {
			fmt.Fprintf(&s, " from %d", b.From)
		}
		if b.Fill != 0 || b.From < 0 {
			fmt.Fprintf(&s, " fill %s", float(b.Fill))
		}
	}
	if b.Grow != nil {
		fmt.Fprintf(&s, " grow = %s", b.Grow)
	}
	return s.String()
}

// inArena reports whether the buffer has a place in the session's arena.
func (b *Buffer) inArena() bool { return b.Class >= Temp }

func (s *Slot) text() string { return s.Name + tail(s.Expr) }

// tail prints an expression at the end of a line, nothing where there is none.
func tail(e *ints.Expr) string {
	if e == nil {
		return ""
	}
	return " = " + e.String()
}

func (w *printer) loop(l *Loop, base int) {
	w.line("loop %s max %d {", l.Name, l.Max)
	w.indent++
	w.line("turns%s", tail(l.Turns))
	for _, c := range l.Carry {
		w.line("carry %s start %d%s", c.Name, c.Start, tail(c.Next))
	}
	for i, s := range l.Slots {
		w.line("slot %d %s", base+i, s.text())
	}
	w.line("done%s", tail(l.Done))
	w.indent--
	w.line("}")
}

func (g *Signature) text() string {
	parts := make([]string, len(g.Bufs))
	for i, b := range g.Bufs {
		parts[i] = b.Elem.String() + " " + numbers(b.Dims)
		if b.Panel != 0 {
			parts[i] += fmt.Sprintf(" panel %d", b.Panel)
		}
		if b.Pairs {
			parts[i] += " pairs"
		}
		if b.Write {
			parts[i] += " write"
		}
	}
	return fmt.Sprintf("ints %d (%s)", g.Ints, strings.Join(parts, ", "))
}

func (w *printer) entry(p *Plan, e *Entry) {
	w.line("entry %s doc %s {", strconv.Quote(e.Name), strconv.Quote(e.Doc))
	w.indent++
	for i := range e.Inputs {
		w.line("input %s", e.Inputs[i].text())
	}
	for i := range e.Outputs {
		w.line("output %s", e.Outputs[i].text())
	}
	w.steps(p, e.Steps)
	w.indent--
	w.line("}")
}

func (o *Port) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s buffer %d %s %s names [", strconv.Quote(o.Name), o.Buffer, o.Elem, numbers(o.Dims))
	for i, n := range o.Names {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(strconv.Quote(n))
	}
	s.WriteString("]")
	if o.Below != 0 {
		fmt.Fprintf(&s, " below %d", o.Below)
	}
	if o.Clock {
		s.WriteString(" clock")
	}
	if o.Rows != nil {
		fmt.Fprintf(&s, " rows = %s", o.Rows)
	}
	return s.String()
}

func (w *printer) steps(p *Plan, steps []Step) {
	for i := range steps {
		s := &steps[i]
		note := ""
		if s.Note != "" {
			note = " note " + strconv.Quote(s.Note)
		}
		switch s.Kind {
		case Launch:
			w.line("launch %s %s %s%s", strconv.Quote(s.Kernel), numbers(s.Bufs), numbers(s.Slots), note)
			continue
		case Repeat:
			name := strconv.Itoa(s.Loop) // a number that names no loop still prints
			if s.Loop >= 0 && s.Loop < len(p.Loops) {
				name = p.Loops[s.Loop].Name
			}
			w.line("repeat %s%s {", name, note)
		case Beside:
			w.line("beside %d%s {", s.From, note)
		default:
			w.line("if %d%s {", s.Cond, note)
		}
		w.indent++
		w.steps(p, s.Steps)
		w.indent--
		w.line("}")
	}
}

func numbers(v []int) string {
	s := make([]string, len(v))
	for i, x := range v {
		s[i] = strconv.Itoa(x)
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// float prints the shortest text that reads back as the same float64.
func float(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// SlotIndex is the record slot of the call called name, or -1.
func (p *Plan) SlotIndex(name string) int {
	return slices.IndexFunc(p.Slots, func(s Slot) bool { return s.Name == name })
}
