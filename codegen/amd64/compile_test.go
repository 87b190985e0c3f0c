package amd64

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
)

// Every llc that is installed accepts the text for every machine, and the code
// is right.
func TestEveryLLC(t *testing.T) {
	var ks []*kernel.Kernel
	for _, name := range []string{"contract", "attend", "recur"} {
		ks = append(ks, readKernels(t, name)...)
	}
	pairs := strings.NewReplacer("kernel contract", "kernel pairs", "by 32", "as bf16 by 32").Replace(contractText(64, 64, 32, 32, 32, "bf16"))
	ks = append(ks, parse(t, pairs)...)
	found := 0
	for v := 14; v <= 30; v++ {
		llc, err := exec.LookPath(fmt.Sprintf("llc-%d", v))
		if err != nil {
			continue
		}
		found++
		for _, m := range machines(t) {
			mod, scratch, err := build(ks, m)
			if err != nil {
				t.Fatal(err)
			}
			file, err := runLLC(context.Background(), llc, mod.m.String(), m.with(ks), "obj")
			if err != nil {
				t.Fatal(err)
			}
			b, err := link([]object{{file: file}})
			if err != nil {
				t.Fatal(err)
			}
			b.Scratch = scratch
			agree(t, m, load(t, b), ks, 37, []int64{37, 400}, 2e-5)
		}
	}
	if found < 2 {
		without(t, "several", "llc is installed under %d numbers: this wants two or more", found)
	}
}

// The text is the same every time, names where code comes from, and an
// unsplit set of kernels has each function once.
func TestPrint(t *testing.T) {
	ks := readKernels(t, "attend")
	a, err := Print(ks, AVX512)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Print(ks, AVX512)
	if a != b {
		t.Error("the same kernel prints differently")
	}
	for _, want := range []string{"; s = map exp(s - m)", "attend.spec:3 softmax", "(a view)", "define void @walk("} {
		if !strings.Contains(a, want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	asm, err := Assembly(context.Background(), ks, AVX512)
	if err != nil {
		t.Skip(err)
	}
	for _, want := range []string{"vfmadd231ps", "vscalefps", "zmm"} {
		if !strings.Contains(asm, want) {
			t.Errorf("the assembly lacks %s", want)
		}
	}
}

// Many kernels are assembled in two modules, beside what they call, that make one
// block of code.
func TestSplit(t *testing.T) {
	var ks []*kernel.Kernel
	for i := range 10 {
		k := readKernels(t, "contract")[0]
		k.Name = fmt.Sprintf("contract%d", i)
		ks = append(ks, k)
	}
	if n := len(split(ks, false)); n != 2 {
		t.Fatalf("%d modules", n)
	}
	for _, m := range machines(t) {
		p := compileWith(t, m, nil, ks...)
		agree(t, m, p, ks[8:], 5, []int64{5}, 1e-5)
	}
	ks[3].Name = "contract0"
	if _, err := Compile(context.Background(), ks, AVX2, nil); err == nil {
		t.Error("two kernels of one name compile")
	}
}

// An undefined symbol is an error, not a jump into nowhere.
func TestUndefined(t *testing.T) {
	llc, err := findLLC()
	if err != nil {
		t.Skip(err)
	}
	file, err := runLLC(context.Background(), llc, "declare void @nowhere()\ndefine void @f() {\n\tcall void @nowhere()\n\tret void\n}\n", AVX2, "obj")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := link([]object{{file: file}}); err == nil || !strings.Contains(err.Error(), `undefined symbol "nowhere"`) {
		t.Errorf("the error is %v", err)
	}
	if _, err := link([]object{{file: file[:len(file)/2]}}); err == nil {
		t.Error("half an object links")
	}
	if _, err := runLLC(context.Background(), llc, "nonsense", AVX2, "obj"); err == nil {
		t.Error("llc accepts nonsense")
	}
}

// The builder refuses operands of different types and says where.
func TestBuilder(t *testing.T) {
	for _, bad := range []func(f *fn){
		func(f *fn) { f.add(c64(1), c32(1)) },
		func(f *fn) { f.bin(fadd, vint(v32, 1), vint(v32, 2)) },
		func(f *fn) { f.bin(mul, vnum(1), vnum(2)) },
		func(f *fn) { f.choose(c64(1), vnum(1), vnum(2)) },
		func(f *fn) { f.convert(trunc, c32(1), i64) },
		func(f *fn) { f.load(f32, c64(1), c64(0)) },
		func(f *fn) { f.at(c64(1), c64(2)) },
		func(f *fn) { f.fma(vnum(1), vnum(2), vint(v32, 3)) },
		func(f *fn) { f.icmp(0, vnum(1), vnum(1)) },
		func(f *fn) { f.when(c64(1), func() {}) },
	} {
		m := newModule(AVX2)
		m.where = "here"
		f := m.newFunc("f", i64)
		f.fma(vnum(1), vnum(2), vnum(3))
		if bad(f); m.err == nil || !strings.HasPrefix(m.err.Error(), "here: ") {
			t.Errorf("the error is %v", m.err)
		}
	}
}
