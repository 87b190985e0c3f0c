package sim

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/memc-lang/memc/codegen/ptx"
)

// head is what each text of these tests begins with, as codegen/ptx writes it.
const head = `.version 8.0
.target sm_90
.address_size 64
.extern .shared .align 128 .b8 near[];
.global .align 8 .b64 _table_0[3] = {7, -8,
    9};
`

// entryOf is an entry with the thread's number in %r0, the address of its memory
// in %q0 and that of its shared memory in %r1.
func entryOf(body string) string { return head + entryNamed("k", body) }

func entryNamed(name, body string) string {
	return `.visible .entry ` + name + `(
    .param .u64 p)
{
    .reg .pred %p<9>;
    .reg .b16 %h<9>;
    .reg .b32 %r<40>;
    .reg .b64 %q<9>;
    .reg .f32 %f<20>;
    ld.param.u64 %q0, [p];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, near;
` + body + `
    ret;
}
`
}

// Accesses cost what banks and sectors make of them.
func TestTraffic(t *testing.T) {
	for _, c := range []struct {
		name, body         string
		times, cost, least int
	}{
		{"words beside each other", "shl.b32 %r2, %r0, 2;\nadd.s32 %r3, %r2, %r1;\nst.shared.u32 [%r3], %r0;", 1, 1, 1},
		{"every second word", "shl.b32 %r2, %r0, 3;\nadd.s32 %r3, %r2, %r1;\nst.shared.u32 [%r3], %r0;", 1, 2, 1},
		{"one bank", "shl.b32 %r2, %r0, 7;\nadd.s32 %r3, %r2, %r1;\nst.shared.u32 [%r3], %r0;", 1, 32, 1},
		{"four words a lane", "shl.b32 %r2, %r0, 4;\nadd.s32 %r3, %r2, %r1;\nst.shared.v4.u32 [%r3], {%r0, %r0, %r0, %r0};", 1, 4, 4},
		{"four words of every second line", "shl.b32 %r2, %r0, 5;\nadd.s32 %r3, %r2, %r1;\nst.shared.v4.u32 [%r3], {%r0, %r0, %r0, %r0};", 1, 8, 4},
		{"a line of memory", "shl.b32 %r2, %r0, 2;\ncvt.u64.u32 %q1, %r2;\nadd.s64 %q1, %q1, %q0;\nst.global.u32 [%q1], %r0;", 1, 4, 4},
		{"a word of each sector", "shl.b32 %r2, %r0, 5;\ncvt.u64.u32 %q1, %r2;\nadd.s64 %q1, %q1, %q0;\nst.global.u32 [%q1], %r0;", 1, 32, 4},
	} {
		p, err := Parse(entryOf(c.body))
		if err != nil {
			t.Fatal(err)
		}
		count := Traffics{}
		m := &Memory{}
		if err := p.Run("k", Launch{CTAs: 1, Threads: 32, Shared: 4096, Args: []uint64{m.Add("data", make([]byte, 4096))}, Memory: m, Count: count}); err != nil {
			t.Fatal(err)
		}
		got := count[bodyLine+lines(c.body)]
		if got == nil || got.Times != c.times || got.Cost != c.cost || got.Least != c.least {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// bodyLine is the line of the text on which a body begins.
const bodyLine = 18

// words are memory of 32-bit words.
func words(data []byte) []uint32 {
	out := make([]uint32, len(data)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return out
}

func bytesOf(words []uint32) []byte {
	var out []byte
	for _, w := range words {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out
}

// launch runs a body with that many threads in each of so many CTAs.
func launch(t testing.TB, body string, threads, ctas int, data []byte) error {
	t.Helper()
	p, err := Parse(entryOf(body))
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	return p.Run("k", Launch{CTAs: ctas, Threads: threads, Shared: 4096, Args: []uint64{mem.Add("data", data)}, Memory: &mem, Steps: 10000})
}

// each gives what every thread of a warp makes of a body that leaves a value in
// %r9, from the thread's word of memory in %r2.
func each(t testing.TB, body string, in []uint32) []uint32 {
	t.Helper()
	data := bytesOf(in)
	if err := launch(t, perThread(body), len(in), 1, data); err != nil {
		t.Fatalf("%s\n%v", body, err)
	}
	return words(data)
}

func perThread(body string) string {
	return "mad.wide.u32 %q8, %r0, 4, %q0;\nld.global.u32 %r2, [%q8];\n" + body + "\nst.global.u32 [%q8], %r9;"
}

// wants checks a fault.
func wants(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v; want %q", what, err, want)
	}
}

func TestTable(t *testing.T) {
	data := make([]byte, 8)
	if err := launch(t, "setp.eq.s32 %p0, %r0, 3;\nmov.u64 %q1, _table_0;\nld.global.u64 %q2, [%q1+8];\n@%p0 st.global.u64 [%q0], %q2;", 4, 1, data); err != nil {
		t.Fatal(err)
	}
	if v := int64(binary.LittleEndian.Uint64(data)); v != -8 {
		t.Error(v)
	}
}

func TestLaunch(t *testing.T) {
	p, err := Parse(strings.Replace(entryOf(""), ".param .u64 p)\n", ".param .u64 p)\n.maxntid 64, 1, 1\n", 1))
	if err != nil {
		t.Fatal(err)
	}
	if p.Params("k") != 1 || p.Params("other") != -1 || fmt.Sprint(p.Entries()) != "[k]" {
		t.Error(p.Params("k"), p.Params("other"), p.Entries())
	}
	good := Launch{CTAs: 1, Threads: 64, Args: []uint64{0}, Memory: new(Memory)}
	for want, change := range map[string]func(l *Launch, name *string){
		"":                                func(*Launch, *string) {},
		"no entry is called other":        func(_ *Launch, name *string) { *name = "other" },
		"takes 1 arguments, not 0":        func(l *Launch, _ *string) { l.Args = nil },
		"1 to 1024 threads, not 0":        func(l *Launch, _ *string) { l.Threads = 0 },
		"with 65 threads and declares 64": func(l *Launch, _ *string) { l.Threads = 65 },
		"with 0 CTAs":                     func(l *Launch, _ *string) { l.CTAs = 0 },
		"bytes of shared memory":          func(l *Launch, _ *string) { l.Shared = 1 << 30 },
		"without memory":                  func(l *Launch, _ *string) { l.Memory = nil },
	} {
		l, name := good, "k"
		change(&l, &name)
		wants(t, want, p.Run(name, l), want)
	}
}

// Device memory as a driver sees it: allocations, copies, an end.
func TestMemory(t *testing.T) {
	var m Memory
	at := m.Fresh("buffer", 100)
	if at%256 != 0 {
		t.Errorf("the address is %#x", at)
	}
	if err := m.WriteAt([]byte{1, 2, 3}, at+97); err != nil {
		t.Error(err)
	}
	b := make([]byte, 3)
	if err := m.ReadAt(b, at+97); err != nil || b[2] != 3 {
		t.Error(b, err)
	}
	wants(t, "a copy behind the end", m.WriteAt([]byte{1, 2, 3}, at+98), "byte 100 of buffer, which has 100")
	wants(t, "half an allocation", m.Free(at+1), "beginning of no allocation")
	wants(t, "free", m.Free(at), "")
	wants(t, "freed", m.ReadAt(b, at), "buffer has been freed")
	wants(t, "nowhere", m.ReadAt(b, 5), "in no allocation")

	p, err := Parse(entryOf("ld.global.u32 %r2, [%q0+4];"))
	if err != nil {
		t.Fatal(err)
	}
	at = m.Fresh("fresh", 8)
	l := Launch{CTAs: 1, Threads: 1, Args: []uint64{at}, Memory: &m}
	wants(t, "before a write", p.Run("k", l), "byte 4 of fresh has not been written")
	if b, err := m.Bytes(at, 8); err != nil || len(b) != 8 {
		t.Error(b, err)
	} else {
		b[4] = 1
		wants(t, "bytes that nothing wrote", p.Run("k", l), "byte 4 of fresh has not been written")
	}
	if err := m.WriteAt(make([]byte, 8), at); err != nil {
		t.Fatal(err)
	}
	wants(t, "behind a write", p.Run("k", l), "")
}

// A launch knows nothing of earlier ones: what one wrote, the next may write.
func TestLaunchesAreOrdered(t *testing.T) {
	p, err := Parse(entryOf("mad.wide.u32 %q1, %r0, 4, %q0;\nld.global.u32 %r2, [%q1];\nadd.s32 %r2, %r2, 1;\nst.global.u32 [%q1], %r2;"))
	if err != nil {
		t.Fatal(err)
	}
	var m Memory
	data := make([]byte, 4*64)
	l := Launch{CTAs: 1, Threads: 64, Args: []uint64{m.Add("data", data)}, Memory: &m}
	for range 3 {
		if err := p.Run("k", l); err != nil {
			t.Fatal(err)
		}
	}
	if words(data)[63] != 3 {
		t.Error(words(data))
	}
}

// TestAssemblerTakesTexts: what the other tests run, NVIDIA's assembler takes,
// so that they test PTX.
func TestAssemblerTakesTexts(t *testing.T) {
	path, err := ptx.FindPtxas("")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	var text strings.Builder
	text.WriteString(head)
	n := 0
	add := func(body string) {
		text.WriteString(entryNamed(fmt.Sprintf("k%d", n), body))
		n++
	}
	for _, list := range [][]faultCase{faultCases, divergenceCases, asyncCases} {
		for _, c := range list {
			add(c.body)
		}
	}
	for _, c := range laneCases {
		add(perThread(c.body))
	}
	for _, c := range functionCases {
		add(c.text())
	}
	for _, c := range mmaCases {
		add(c.text())
	}
	for _, c := range matrixCases {
		add(c.text())
	}
	if _, err := ptx.Assemble(t.Context(), path, text.String(), "sm_90"); err != nil {
		t.Error(err)
	}
}
