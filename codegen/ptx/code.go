package ptx

import (
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strings"
)

// operand is one operand of an instruction.
type operand struct {
	kind kind
	text string
}

func (o operand) String() string { return o.text }

// imm is an integer literal.
func imm(v int64) operand { return operand{whole, fmt.Sprint(v)} }

// num is an f32 literal, written by its bits.
func num(f float32) operand { return operand{real, fmt.Sprintf("0f%08X", math.Float32bits(f))} }

// paramAt is a parameter of the entry.
func paramAt(name string) operand { return operand{param, "[" + name + "]"} }

// sharedAt is the shared address base+off; base is a 32-bit register.
func sharedAt(base operand, off int) operand { return address(near, b32, base, off) }

// globalAt is the global address base+off; base is a 64-bit register.
func globalAt(base operand, off int) operand { return address(far, b64, base, off) }

// several is registers of one kind in braces: two or four floats, or one, two or
// four of 32 bits.
func several(regs ...operand) operand {
	k := map[kind]map[int]kind{f32: {2: twoF, 4: fourF}, b32: {1: oneR, 2: twoR, 4: fourR}}[regs[0].kind][len(regs)]
	texts := make([]string, len(regs))
	for i, r := range regs {
		if r.kind != regs[0].kind {
			k = 0
		}
		texts[i] = r.text
	}
	return operand{k, "{" + strings.Join(texts, ", ") + "}"}
}

// address gives an operand without a kind where the base is of the wrong one:
// no form takes it.
func address(k, want kind, base operand, off int) operand {
	if base.kind != want {
		k = 0
	}
	if off == 0 {
		return operand{k, "[" + base.text + "]"}
	}
	return operand{k, fmt.Sprintf("[%s+%d]", base.text, off)}
}

// code is the body of one entry while it is written. The first error sticks;
// what is written after it does not matter.
type code struct {
	lines []line
	count map[kind]int // registers of each kind
	marks int          // labels
	depth int          // of nesting, for the eye alone
	sm    int          // the least target that has every form used
	ptx   int
	err   error
}

// line is an instruction, a label, or a comment.
type line struct {
	depth    int
	label    string
	comment  string
	guard    string // "@%p1 ", where it has one
	mnemonic string
	operands string
}

var registers = []struct {
	kind   kind
	prefix string
	decl   string
}{
	{pred, "%p", ".pred"},
	{b16, "%h", ".b16"},
	{b32, "%r", ".b32"},
	{b64, "%q", ".b64"},
	{f32, "%f", ".f32"},
}

func (c *code) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// reg makes a new register.
func (c *code) reg(k kind) operand {
	if c.count == nil {
		c.count = map[kind]int{}
	}
	for _, r := range registers {
		if r.kind == k {
			c.count[k]++
			return operand{k, fmt.Sprintf("%s%d", r.prefix, c.count[k]-1)}
		}
	}
	c.fail(fmt.Errorf("there are no registers for %s", k))
	return operand{}
}

// mark makes a label; here sets it.
func (c *code) mark(name string) operand {
	c.marks++
	return operand{label, fmt.Sprintf("$%s_%d", name, c.marks)}
}

func (c *code) here(l operand) {
	c.lines = append(c.lines, line{label: l.text})
}

// rolled keeps the assembler from writing a loop out, whose label stands before it
// (PTX ISA, "Pragma Strings: nounroll").
func (c *code) rolled() {
	c.lines = append(c.lines, line{depth: c.depth, mnemonic: ".pragma", operands: `"nounroll"`})
}

func (c *code) note(format string, args ...any) {
	text := ascii(fmt.Sprintf(format, args...))
	c.lines = append(c.lines, line{depth: c.depth, comment: text})
}

// ascii is a text that stays within one comment, of ASCII, as PTX has it: a
// backslash at a line's end could join the next line to it.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}

// op appends an instruction.
func (c *code) op(mnemonic string, ops ...operand) { c.emit("", mnemonic, ops) }

// onlyIf appends an instruction that runs where p holds, unless one that runs
// where it does not.
func (c *code) onlyIf(p operand, mnemonic string, ops ...operand) {
	c.guarded("@", p, mnemonic, ops)
}

func (c *code) unless(p operand, mnemonic string, ops ...operand) {
	c.guarded("@!", p, mnemonic, ops)
}

func (c *code) guarded(sign string, p operand, mnemonic string, ops []operand) {
	if p.kind != pred {
		c.fail(fmt.Errorf("%s: %s: the guard must be %s, and %s is %s", caller(), mnemonic, pred, p, p.kind))
	}
	c.emit(sign+p.text+" ", mnemonic, ops)
}

// p, h, r, q and f append an instruction that writes a new register of their
// kind, and give the register.
func (c *code) p(mnemonic string, ops ...operand) operand { return c.into(pred, mnemonic, ops) }
func (c *code) h(mnemonic string, ops ...operand) operand { return c.into(b16, mnemonic, ops) }
func (c *code) r(mnemonic string, ops ...operand) operand { return c.into(b32, mnemonic, ops) }
func (c *code) q(mnemonic string, ops ...operand) operand { return c.into(b64, mnemonic, ops) }
func (c *code) f(mnemonic string, ops ...operand) operand { return c.into(f32, mnemonic, ops) }

func (c *code) into(k kind, mnemonic string, ops []operand) operand {
	dst := c.reg(k)
	c.emit("", mnemonic, append([]operand{dst}, ops...))
	return dst
}

func (c *code) emit(guard, mnemonic string, ops []operand) {
	s, err := match(mnemonic, ops)
	if err != nil {
		c.fail(fmt.Errorf("%s: %w", caller(), err))
		return
	}
	c.sm, c.ptx = max(c.sm, s.sm), max(c.ptx, s.ptx)
	texts := make([]string, len(ops))
	for i, o := range ops {
		texts[i] = o.text
	}
	c.lines = append(c.lines, line{depth: c.depth, guard: guard, mnemonic: mnemonic, operands: strings.Join(texts, ", ")})
}

// caller is the file and line outside this file that asked for an instruction.
func caller() string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if base := filepath.Base(f.File); base != "code.go" || !more {
			return fmt.Sprintf("%s:%d", base, f.Line)
		}
	}
}

// print writes the declarations of the registers and the lines, in columns.
func (c *code) print(b *strings.Builder) {
	for _, r := range registers {
		if n := c.count[r.kind]; n > 0 {
			fmt.Fprintf(b, "    .reg %-6s%s<%d>;\n", r.decl, r.prefix, n)
		}
	}
	for _, l := range c.lines {
		indent := strings.Repeat("  ", l.depth)
		switch {
		case l.label != "":
			b.WriteString(l.label + ":\n")
		case l.mnemonic == "":
			fmt.Fprintf(b, "    %s// %s\n", indent, l.comment)
		case l.operands == "":
			fmt.Fprintf(b, "    %s%s%s;\n", indent, l.guard, l.mnemonic)
		default:
			fmt.Fprintf(b, "    %s%-19s %s;\n", indent, l.guard+l.mnemonic, l.operands)
		}
	}
}
