package ptx

import (
	"os"
	"strings"
	"testing"
)

// ptxas finds the assembler. Where there is none the test is skipped, but not
// in CI, whose script installs it.
func ptxas(t *testing.T) string {
	t.Helper()
	path, err := FindPtxas("")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// accept assembles a text and wants no warning.
func accept(t *testing.T, path, text, target string) *Assembled {
	t.Helper()
	a, err := Assemble(t.Context(), path, text, target)
	if err != nil {
		t.Fatalf("%v\n%s", err, numbered(text))
	}
	for _, w := range a.Warnings {
		t.Errorf("%s: %s", target, w)
	}
	return a
}

// numbered is the start of a text with line numbers, for ptxas's messages.
func numbered(text string) string {
	lines := strings.Split(text, "\n")
	var b strings.Builder
	for i, l := range lines[:min(len(lines), 400)] {
		b.WriteString(strings.TrimRight(imm(int64(i+1)).text+"\t"+l, " ") + "\n")
	}
	return b.String()
}

// everyForm is an entry that has each form, once for each kind that each of its
// operands may be.
func everyForm(t *testing.T, sm int) (text string, ptx int) {
	c := &code{}
	read := map[kind]operand{
		whole: imm(3), real: num(1.5), param: paramAt("bufs"), symbol: {symbol, "near"}, sreg: {sreg, "%tid.x"},
	}
	read[b64] = c.q("ld.param.u64", read[param])
	read[b32] = c.r("mov.u32", read[sreg])
	read[f32] = c.f("mov.f32", num(2))
	read[pred] = c.p("setp.lt.s32", read[b32], imm(7))
	read[b16] = c.h("cvt.rn.f16.f32", read[f32])
	read[near] = sharedAt(read[b32], 16)
	read[far] = globalAt(read[b64], 32)
	read[twoF], read[fourF] = several(read[f32], read[f32]), several(read[f32], read[f32], read[f32], read[f32])
	read[oneR], read[sixteen] = several(read[b32]), operand{sixteen, "16"}
	read[twoR], read[fourR] = several(read[b32], read[b32]), several(read[b32], read[b32], read[b32], read[b32])
	for _, f := range forms {
		if f.sm > sm {
			continue
		}
		for _, s := range shapes[f.mnemonic] {
			if s.form != f {
				continue
			}
			for i, set := range s.operands {
				for _, row := range kinds {
					if set&row.kind == 0 {
						continue
					}
					ops := make([]operand, len(s.operands))
					for j, other := range s.operands {
						k := other & -other // the first kind is the register
						if j == i {
							k = row.kind
						}
						ops[j] = read[k]
					}
					if s.writes {
						ops[0] = c.written(s.operands[0])
					}
					if len(ops) == 1 && s.operands[0] == label {
						l := c.mark("over")
						ops[0] = l
						c.op(f.mnemonic, ops...)
						c.here(l)
						continue
					}
					c.onlyIf(read[pred], f.mnemonic, ops...)
				}
			}
			if len(s.operands) == 0 {
				c.onlyIf(read[pred], f.mnemonic)
			}
		}
	}
	c.op("ret")
	if c.err != nil {
		t.Fatal(c.err)
	}
	var b strings.Builder
	b.WriteString(".visible .entry every(.param .u64 bufs)\n{\n")
	c.print(&b)
	b.WriteString("}\n")
	return b.String(), c.ptx
}

// written is a new register, or several in braces.
func (c *code) written(k kind) operand {
	of := map[kind]struct {
		kind kind
		n    int
	}{oneR: {b32, 1}, twoF: {f32, 2}, fourF: {f32, 4}, twoR: {b32, 2}, fourR: {b32, 4}}
	w, ok := of[k]
	if !ok {
		return c.reg(k)
	}
	var regs []operand
	for range w.n {
		regs = append(regs, c.reg(w.kind))
	}
	return several(regs...)
}

func TestAssemblerTakesEveryForm(t *testing.T) {
	path := ptxas(t)
	for _, target := range targets {
		body, version := everyForm(t, target.sm)
		for _, f := range forms {
			if !strings.Contains(body, " "+f.mnemonic+" ") && !strings.Contains(body, f.mnemonic+";") {
				t.Errorf("no %s in the text", f.mnemonic)
			}
		}
		version = max(version, target.ptx)
		text := header(version, target.name) + body
		accept(t, path, text, target.name)
	}
}

// A text that says it is of the version that the forms ask for must be enough,
// and no less must do: the table's versions are right where they matter here.
func TestVersionsOfForms(t *testing.T) {
	path := ptxas(t)
	if _, version := everyForm(t, 80); version != 70 {
		t.Errorf("all forms together need PTX %d, want 70", version)
	}
	for _, f := range forms {
		if f.sm <= 75 {
			continue
		}
		c := &code{}
		var ops []operand
		for i, k := range shapes[f.mnemonic][0].operands {
			k &= -k
			o, ok := map[kind]operand{whole: imm(0), sixteen: {sixteen, "16"}, near: sharedAt(c.reg(b32), 0), far: globalAt(c.reg(b64), 0)}[k]
			if !ok {
				o = c.written(k)
			}
			if i > 0 && k == f32 {
				c.op("mov.f32", o, num(1))
			}
			ops = append(ops, o)
		}
		c.op(f.mnemonic, ops...)
		c.op("ret")
		if c.err != nil {
			t.Fatal(c.err)
		}
		var b strings.Builder
		c.print(&b)
		text := ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k()\n{\n" + b.String() + "}\n"
		// sm_75 is no target of this package: ptxas is asked for sm_80, and
		// refuses what the text's own .target does not have.
		if _, err := Assemble(t.Context(), path, text, "sm_80"); err == nil {
			t.Errorf("%s is said to need sm_%d, and sm_75 takes it", f.mnemonic, f.sm)
		}
	}
}

func TestWrongFormSaysWhichOperandAndWhere(t *testing.T) {
	for _, tc := range []struct {
		name string
		emit func(c *code)
		want string
	}{
		{"kind", func(c *code) { c.f("add.rn.f32", c.reg(f32), c.reg(b32)) }, "add.rn.f32: operand 2 must be an f32 register or an f32 literal, and %r0 is a 32-bit register"},
		{"number", func(c *code) { c.op("bar.sync") }, "bar.sync takes 1 operands, not 0"},
		{"guard", func(c *code) { c.onlyIf(c.reg(b32), "ret") }, "ret: the guard must be a predicate, and %r0 is a 32-bit register"},
		{"unknown", func(c *code) { c.op("frobnicate.f32") }, "no form is called frobnicate.f32"},
		{"destination", func(c *code) { c.op("mov.f32", num(1), num(2)) }, "operand 0 must be an f32 register"},
		{"address", func(c *code) { c.f("ld.shared.f32", sharedAt(c.reg(b64), 4)) }, "operand 1 must be a shared address, and [%q0+4] is no operand"},
	} {
		c := &code{}
		tc.emit(c)
		if c.err == nil || !strings.Contains(c.err.Error(), tc.want) || !strings.Contains(c.err.Error(), "forms_test.go:") {
			t.Errorf("%s: %v; want this file and %q", tc.name, c.err, tc.want)
		}
	}
}
