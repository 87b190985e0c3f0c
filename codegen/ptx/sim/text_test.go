package sim

import (
	"strings"
	"testing"
)

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{entryOf("wgmma.fence.sync.aligned;"), "line 18, wgmma.fence.sync.aligned;: the instruction is not known"},
		{entryOf("add.s31 %r0, %r0, %r0;"), "line 18, add.s31 %r0, %r0, %r0;: the instruction is not known"},
		{entryOf("add.rm.f32 %f0, %f0, %f0;"), "the instruction is not known"},
		{entryOf("bra $nowhere;"), "line 18, bra $nowhere;: $nowhere leads nowhere"},
		{entryOf("$a:\n$a:"), "line 19, $a:: the label is set twice"},
		{entryOf("add.s32 5, %r0, %r0;"), "it must write a register"},
		{entryOf("add.s32 %r2, %r0;"), "it takes 3 operands, not 2"},
		{entryOf("add.s32 %tid.x, %r0, %r0;"), "%tid.x cannot be written"},
		{entryOf("add.s32 %r2, %q0, %r0;"), "%q0 must be a register of 32 bits, and is a register of 64 bits"},
		{entryOf("add.s64 %q1, %q0, %r0;"), "%r0 must be a register of 64 bits"},
		{entryOf("mov.u32 %r2, ten;"), "ten is no variable"},
		{entryOf("mov.u32 %r2, _table_0;"), "the address of _table_0 does not fit"},
		{entryOf("mov.u32 %r40, 1;"), "the register %r40 is not declared"},
		{entryOf("mov.u32 %r2, 4294967296;"), "does not fit in 32 bits"},
		{entryOf("ld.param.u64 %q1, [other];"), "no parameter and no variable is called other"},
		{entryOf("ld.param.u32 %r2, [p];"), "the parameter p has 8 bytes"},
		{entryOf("ld.global.u32 %r2, [%r0];"), "an address outside shared memory has 64 bits"},
		{entryOf("ld.shared.v2.u32 {%r2, %r2}, [%r1];"), "%r2 occurs twice"},
		{entryOf("ld.shared.v2.u32 {%r2, %r3, %r4}, [%r1];"), "the vector must have 2 registers, not 3"},
		{entryOf("ld.shared.v4.u64 {%q1, %q2, %q3, %q4}, [%r1];"), "at most 16 bytes"},
		{entryOf("@%r0 bra $a;\n$a:"), "the guard %r0 is no predicate"},
		{entryOf("setp.lt.s32 %r2, %r0, %r0;"), "%r2 must be a predicate"},
		{entryOf("setp.near.s32 %p0, %r0, %r0;"), "the instruction is not known"},
		{entryOf("cp.async.cg.shared.global [%r1], [%q0], 8;"), "8 bytes cannot be copied so"},
		{entryOf("cp.async.wait_group %r0;"), "%r0 is no number of groups"},
		{entryOf("mma.sync.aligned.m16n8k16.row.row.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r2, %r3, %r4, %r5}, {%r6, %r7}, {%f0, %f1, %f2, %f3};"), "the instruction is not known"},
		{entryOf("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r2, %r3}, {%r6, %r7}, {%f0, %f1, %f2, %f3};"), "the vector must have 4 registers, not 2"},
		{entryOf("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r2, %r3}, [%r1];"), "the vector must have 4 registers, not 2"},
		{entryOf("nothing"), "line 18, nothing ret;: the instruction is not known"},
		{entryOf("add.s32 %r2, %r0"), "stands where \";\" is wanted"},
		{entryOf("add.s32 %r2, {{%r0}}, %r0;"), "a vector is of at most"},
		{entryOf(".local .b8 x[4];"), "it is not known"},
		{entryOf(".shared .b8 x[1000000];"), "more than any GPU has"},
		{entryOf(".reg .b32 %r<9>;"), "%r is declared twice"},
		{entryOf(strings.Repeat("{", 200)), "nested too deeply"},
		{entryOf("mov.u32 %r2, #;"), "line 18: '#' is no part of PTX"},
		{entryOf("// 2·x"), "line 18: PTX is written in ASCII"},
		{entryOf("/* no end"), "line 18: the comment does not end"},
		{".weird\n", "line 1, .weird: \".weird\" is not known here"},
		{".address_size 32\n", "addresses have 64 bits here"},
		{".global .b64 x[2] = {1, 2, 3};", "x has more values than its size"},
		{".global .b64 x[99999999999];", "a size is 99999999999"},
		{".extern .global .b64 x[];", "no other module is linked here"},
		{".visible .entry k(.param .b8 a[64])\n{ ret; }", "stands where \",\" is wanted"},
		{".visible .entry k(.param .u64 a)\n.maxntid 2000\n{ ret; }", "a number of threads is 2000"},
		{entryOf("") + entryNamed("k", ""), "an entry has a name of its own"},
		{strings.TrimSuffix(entryOf(""), "}\n"), "the text ends within an entry"},
		{strings.Replace(entryOf(""), "    ret;\n", "", 1), "does not end in ret"},
		{strings.Replace(entryOf(""), "    ret;\n", "@%p0 ret;\n", 1), "does not end in ret"},
	} {
		if _, err := Parse(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v; want %q", err, tc.want)
		}
	}
}

// Forms of text that others write.
func TestTextForms(t *testing.T) {
	text := `//
.version 7.8 .target sm_80, debug .address_size 64
.const .f32 third = 0f3EAAAAAB;
.global .u32 odd[4] = { 1, 3,
	5 /* and 0 */ };
.shared .align 16 .b8 all[64];
.entry k(.param .u64 .ptr .global .align 16 p, .param .u32 n) .reqntid 32 .minnctapersm 2
{
	.pragma "nounroll";
	.reg .u64 p0, %rd<2>; .reg .b32 a, %r10<12>;
	.reg .pred q;
	.shared .b32 mine[2];
	ld.param.u64 p0, [p]; ld.param.u32 a, [n];
	{
		.reg .b32 a;
		mov.u32 a, odd_is_not_this;
	odd_is_not_this: ret.uni;
	}
}
`
	text = strings.Replace(text, "mov.u32 a, odd_is_not_this;", `mov.u32 a, all;
		mov.u32 %r101, mine;
		sub.u32 %r102, %r101, a;
		ld.const.f32 %r103, [third];
		ld.global.u32 %r104, [odd+4];
		add.s32 %r102, %r102, %r104;
		mov.u32 %r105, %laneid;
		setp.eq.u32 q, %r105, 0x0;
		@!q bra.uni odd_is_not_this;
		st.global.v2.u32 [p0], {%r102, %r103};`, 1)
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var m Memory
	data := make([]byte, 16)
	if err := p.Run("k", Launch{CTAs: 1, Threads: 32, Args: []uint64{m.Add("p", data), 7}, Memory: &m}); err != nil {
		t.Fatal(err)
	}
	if got := words(data); got[0] != 64+3 || got[1] != 0x3eaaaaab {
		t.Errorf("%#x", got)
	}
}

// FuzzParse: hostile text gives an error or a program that ends.
func FuzzParse(f *testing.F) {
	for _, c := range faultCases {
		f.Add(c.body)
	}
	for _, c := range asyncCases {
		f.Add(c.body)
	}
	for _, c := range mmaCases {
		f.Add(c.text())
	}
	for _, c := range matrixCases {
		f.Add(c.text())
	}
	f.Add("}\n.visible .entry a(.param .u32 n)\n{ .reg .b32 %r<2>;\n")
	f.Fuzz(func(t *testing.T, body string) {
		p, err := Parse(entryOf(body))
		if err != nil {
			return
		}
		for _, name := range p.Entries() {
			var m Memory
			args := make([]uint64, p.Params(name))
			for i := range args {
				args[i] = m.Add("data", make([]byte, 256))
			}
			_ = p.Run(name, Launch{CTAs: 2, Threads: 40, Shared: 512, Args: args, Memory: &m, Steps: 2000})
		}
	})
}
