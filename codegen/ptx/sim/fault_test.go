package sim

import (
	"fmt"
	"strings"
	"testing"
)

// faultCase is a body that 64 threads of each of some CTAs run, with 1024 bytes
// of memory, and what is to be reported; nothing where want is empty. LINE is
// the body's last line.
type faultCase struct {
	name, body, want string
	ctas             int
}

// neighbours: each thread writes a word of shared memory and, behind %s, reads
// that of the thread before it; thread 0 reads its own.
func neighbours(between string) string {
	return `shl.b32 %r2, %r0, 2;
add.s32 %r2, %r2, %r1;
st.shared.u32 [%r2], %r0;
max.s32 %r3, %r0, 1;
shl.b32 %r3, %r3, 2;
add.s32 %r3, %r3, %r1;
` + between + `
ld.shared.u32 %r4, [%r3+-4];`
}

var faultCases = []faultCase{
	{name: "a barrier between", body: neighbours("bar.sync 0;")},
	{name: "two of the ISA's names", body: neighbours("barrier.sync.aligned 1, 64;")},
	{name: "no barrier", body: neighbours(""), want: "thread 2, line LINE, ld.shared.u32 %r4, [%r3+-4];: race: byte 4, which thread 1 wrote in line 20"},
	{name: "a fence is no barrier", body: neighbours("fence.acq_rel.cta;\nmembar.cta;"), want: "race: byte 4"},
	{name: "a shuffle is no barrier", body: neighbours("shfl.sync.bfly.b32 %r5, %r0, 1, 31, -1;"), want: "race: byte 4"},
	{name: "a vote is no barrier", body: neighbours("setp.eq.s32 %p0, %r0, %r0;\nvote.sync.ballot.b32 %r5, %p0, -1;"), want: "race: byte 4"},
	{name: "a warp's barrier is none between warps", body: neighbours("bar.warp.sync -1;"), want: "thread 32, line LINE, ld.shared.u32 %r4, [%r3+-4];: race: byte 124, which thread 31 wrote"},
	{name: "a warp's barrier within one", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $over;\n" + neighbours("bar.warp.sync 0xffffffff;") + "\n$over:"},
	{name: "one of other lanes", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $over;\n" +
		neighbours("setp.ge.s32 %p1, %r0, 16;\n@%p1 bra $late;\nbar.warp.sync 0xffff;\n$late:\nbar.warp.sync 0xffff0000;\n") + "\n$over:", want: "its mask is 0xffff0000, which does not name the lane itself"},
	{name: "barriers of halves", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $over;\nmov.u32 %r6, 0xffff;\nand.b32 %r7, %r0, 16;\nshl.b32 %r6, %r6, %r7;\n" +
		neighbours("bar.warp.sync %r6;") + "\n$over:", want: "thread 16, line 30, ld.shared.u32 %r4, [%r3+-4];: race: byte 60, which thread 15 wrote"},
	{name: "a chain of barriers", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $over;\nmov.u32 %r6, 0xffff;\nand.b32 %r7, %r0, 16;\nshl.b32 %r6, %r6, %r7;\n" +
		neighbours("bar.warp.sync %r6;\nadd.s32 %r8, %r0, -15;\nsetp.gt.u32 %p1, %r8, 1;\n@%p1 bra $skip;\nbar.warp.sync 0x18000;\n$skip:") + "\n$over:"},
	{name: "a write behind reads", body: neighbours("bar.sync 0;") + "\nst.shared.u32 [%r2], %r4;", want: "thread 32, line LINE, st.shared.u32 [%r2], %r4;: race: it writes byte 128, which another thread of warp 1 read"},
	{name: "a write behind reads and a barrier", body: neighbours("bar.sync 0;") + "\nbar.sync 0;\nst.shared.u32 [%r2], %r4;"},
	{name: "reads of both warps, then a write", body: "setp.eq.s32 %p0, %r0, 0;\n@%p0 st.shared.u32 [%r1], %r0;\nbar.sync 0;\nld.shared.u32 %r2, [%r1];\nbar.warp.sync -1;\n@%p0 st.shared.u32 [%r1], %r0;", want: "another thread of warp"},
	{name: "two lanes write one word", body: "and.b32 %r2, %r0, 62;\nshl.b32 %r2, %r2, 2;\nadd.s32 %r2, %r2, %r1;\nst.shared.u32 [%r2], %r0;", want: "thread 1, line LINE, st.shared.u32 [%r2], %r0;: race: byte 0, which thread 0 wrote"},
	{name: "two lanes write halves of a word", body: "shl.b32 %r2, %r0, 1;\nadd.s32 %r2, %r2, %r1;\ncvt.u16.u32 %h0, %r0;\nst.shared.b16 [%r2], %h0;\nbar.sync 0;\nshl.b32 %r3, %r0, 2;\nand.b32 %r3, %r3, 127;\nadd.s32 %r3, %r3, %r1;\nld.shared.u32 %r4, [%r3];"},
	{name: "a word of another thread's half", body: "shl.b32 %r2, %r0, 1;\nadd.s32 %r2, %r2, %r1;\ncvt.u16.u32 %h0, %r0;\nst.shared.b16 [%r2], %h0;\nand.b32 %r3, %r2, 0xfffffffc;\nld.shared.u32 %r4, [%r3];", want: "thread 0, line LINE, ld.shared.u32 %r4, [%r3];: race: byte 2, which thread 1 wrote"},
	{name: "bytes of one word", body: "add.s32 %r2, %r0, %r1;\nst.shared.u8 [%r2], %r0;\nld.shared.u8 %r3, [%r2];\nbar.sync 0;\nld.shared.s8 %r3, [%r1+5];"},
	{name: "a producer arrives and a consumer waits", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $read;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r2, %r2, %r1;\nst.shared.u32 [%r2], %r0;\nbar.arrive 1, 64;\nret;\n$read:\nbar.sync 1, 64;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r2, %r2, %r1;\nld.shared.u32 %r3, [%r2+-128];"},
	{name: "a producer goes on behind its arrival", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $read;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r2, %r2, %r1;\nbar.arrive 1, 64;\nst.shared.u32 [%r2], %r0;\nret;\n$read:\nbar.sync 1, 64;\nshl.b32 %r2, %r0, 2;\nadd.s32 %r2, %r2, %r1;\nld.shared.u32 %r3, [%r2+-128];", want: "race: byte 0, which thread 0 wrote"},

	{name: "two threads write global memory", body: "st.global.u32 [%q0], %r0;", want: "thread 1, line LINE, st.global.u32 [%q0], %r0;: race: byte 0, which thread 0 wrote"},
	{name: "global memory read and written", body: "ld.global.u32 %r2, [%q0];\nsetp.ge.s32 %p0, %r0, 63;\n@%p0 st.global.u32 [%q0], %r0;", want: "it writes byte 0, which another thread of warp"},
	{name: "two CTAs write", body: "mov.u32 %r3, %ctaid.x;\nsetp.eq.s32 %p0, %r0, %r3;\n@%p0 st.global.u32 [%q0], %r0;", want: "CTA 1, thread 1, line LINE, @%p0 st.global.u32 [%q0], %r0;: race: byte 0, which another CTA of the launch wrote in line LINE", ctas: 2},
	{name: "a CTA reads what another one wrote", body: "mov.u32 %r3, %ctaid.x;\nor.b32 %r4, %r0, %r3;\nsetp.eq.s32 %p0, %r4, 0;\n@%p0 st.global.u32 [%q0], %r0;\nsetp.eq.s32 %p1, %r3, 1;\n@%p1 ld.global.u32 %r5, [%q0];", want: "CTA 1, thread 0, line LINE, @%p1 ld.global.u32 %r5, [%q0];: race: byte 0, which another CTA of the launch wrote", ctas: 2},
	{name: "a CTA writes what earlier ones read", body: "mov.u32 %r3, %ctaid.x;\nld.global.u32 %r5, [%q0];\nadd.s32 %r4, %r3, %r0;\nsetp.eq.s32 %p0, %r4, 2;\nbar.sync 0;\nsetp.eq.s32 %p1, %r0, 0;\nand.pred %p0, %p0, %p1;\n@%p0 st.global.u32 [%q0], %r0;", want: "CTA 2, thread 0, line LINE, @%p0 st.global.u32 [%q0], %r0;: race: it writes byte 0, which another CTA of the launch reads", ctas: 3},
	{name: "written and read without coherence", body: "setp.eq.s32 %p0, %r0, 0;\n@%p0 st.global.u32 [%q0], %r0;\nbar.sync 0;\nld.global.nc.u32 %r3, [%q0];", want: "byte 0 is read with ld.global.nc and written in the same launch"},
	{name: "read without coherence and written", body: "ld.global.nc.u32 %r3, [%q0];\nsetp.eq.s32 %p0, %r0, 0;\nbar.sync 0;\n@%p0 st.global.u32 [%q0], %r0;", want: "byte 0 is read with ld.global.nc and written in the same launch"},

	{name: "an unset register", body: "add.s32 %r2, %r3, 1;", want: "thread 0, line LINE, add.s32 %r2, %r3, 1;: %r3 has no value"},
	{name: "a register set in some lanes", body: "setp.lt.s32 %p0, %r0, 40;\n@%p0 mov.u32 %r2, 1;\nadd.s32 %r2, %r2, 1;", want: "thread 40, line LINE, add.s32 %r2, %r2, 1;: %r2 has no value"},
	{name: "an unset guard", body: "@!%p3 mov.u32 %r2, 1;", want: "%p3 has no value"},
	{name: "shared memory nobody wrote", body: "st.shared.u32 [%r1+4], %r0;", want: "race"},
	{name: "a word nobody wrote", body: "ld.shared.u32 %r3, [%r1+12];", want: "thread 0, line LINE, ld.shared.u32 %r3, [%r1+12];: shared byte 12 has not been written"},
	{name: "one byte nobody wrote", body: "setp.eq.s32 %p0, %r0, 0;\nmov.u16 %h0, 1;\n@%p0 st.shared.b16 [%r1], %h0;\n@%p0 st.shared.u8 [%r1+2], %r0;\nbar.sync 0;\nld.shared.u32 %r3, [%r1];", want: "shared byte 3 has not been written"},
	{name: "shared memory of the CTA before", body: "mov.u32 %r3, %ctaid.x;\nor.b32 %r4, %r3, %r0;\nsetp.eq.s32 %p0, %r4, 0;\n@%p0 st.shared.u32 [%r1], %r0;\nbar.sync 0;\nld.shared.u32 %r3, [%r1];", want: "CTA 1, thread 32, line LINE, ld.shared.u32 %r3, [%r1];: shared byte 0 has not been written", ctas: 2},
	{name: "shared memory's end", body: "shl.b32 %r2, %r0, 2;\nadd.s32 %r2, %r2, %r1;\nst.shared.u32 [%r2+4000], %r0;", want: "thread 24, line LINE, st.shared.u32 [%r2+4000], %r0;: 4 bytes at shared address 4096 of 4096"},
	{name: "before shared memory", body: "ld.shared.u32 %r2, [%r1+-4];", want: "4 bytes at shared address -4 of 4096"},
	{name: "shared alignment", body: "st.shared.u32 [%r1+2], %r0;", want: "shared address 2 is not aligned for 4 bytes"},
	{name: "a vector's alignment", body: "st.shared.v2.u32 [%r1+4], {%r0, %r0};", want: "shared address 4 is not aligned for 8 bytes"},
	{name: "a wide vector's alignment", body: "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%q0+8];", want: "byte 8 of data is not aligned for 16 bytes"},
	{name: "an allocation's end", body: "ld.global.u32 %r2, [%q0+1024];", want: "byte 1024 of data, which has 1024"},
	{name: "a vector over an allocation's end", body: "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%q0+1020];", want: "byte 1024 of data, which has 1024"},
	{name: "before an allocation", body: "ld.global.u32 %r2, [%q0+-4];", want: "no allocation"},
	{name: "null", body: "mov.u64 %q1, 0;\nld.global.u32 %r2, [%q1];", want: "the address 0x0 is in no allocation"},
	{name: "a generic address of shared memory", body: "cvta.shared.u64 %q1, 0;\nsetp.eq.s32 %p0, %r0, 0;\n@%p0 st.u32 [%q1], %r0;\n@%p0 ld.shared.u32 %r2, [%r1];\n@%p0 ld.u32 %r2, [%q0];"},

	{name: "half a warp at a barrier", body: "setp.ge.s32 %p0, %r0, 48;\n@%p0 bra $two;\nbar.sync 0;\n$two:\nbar.sync 0;", want: "thread 32, line 20, bar.sync 0;: all threads of a warp must come to a barrier together, and the lanes 0xffff of 0xffffffff do"},
	{name: "a warp that has ended", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 ret;\nbar.sync 0;", want: "it waits at barrier 0 for 2 warps of which 1 come; 1 warps have ended"},
	{name: "a barrier with too many", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 ret;\nbar.sync 0, 96;", want: "96 threads are to meet"},
	{name: "barriers of two counts", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $two;\nbar.sync 1, 64;\nret;\n$two:\nbar.sync 1, 32;", want: "32 threads are to meet at barrier 1, and others said 64"},
	{name: "barriers that never open", body: "setp.ge.s32 %p0, %r0, 32;\n@%p0 bra $two;\nbar.sync 1;\nret;\n$two:\nbar.sync 2;", want: "it waits at barrier 1 for 2 warps of which 1 come"},
	{name: "no such barrier", body: "mov.u32 %r2, 16;\nbar.sync %r2;", want: "the barrier's number is 16"},
	{name: "part of a warp at a matrix", body: "mov.u32 %r2, 0;\nsetp.ge.s32 %p0, %r0, 8;\n@%p0 bra $end;\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r1];\n$end:", want: "a whole warp must come here together, and the lanes 0xff do"},
	{name: "a lane that its own mask does not name", body: "shfl.sync.idx.b32 %r2, %r0, 0, 31, 0xffff;", want: "thread 16, line LINE, shfl.sync.idx.b32 %r2, %r0, 0, 31, 0xffff;: its mask is 0xffff, which does not name the lane itself"},
	{name: "a shuffle from a lane that takes no part", body: "setp.ge.s32 %p0, %r0, 8;\n@%p0 ret;\nshfl.sync.idx.b32 %r2, %r0, 9, 31, 0xff;", want: "it takes the value of lane 9, which takes no part"},
	{name: "lanes that never come", body: "setp.ge.s32 %p0, %r0, 8;\n@%p0 bra $over;\nshfl.sync.bfly.b32 %r2, %r0, 1, 31, -1;\n$over:\nshfl.sync.bfly.b32 %r2, %r0, 1, 31, -1;", want: "wait for lanes that never come here"},
	{name: "endless", body: "$here:\nbra $here;", want: "it runs for too long"},
	{name: "a trap", body: "trap;", want: "the program stops itself"},
}

func TestFaults(t *testing.T) {
	for _, c := range faultCases {
		line := bodyLine + lines(c.body)
		wants(t, c.name, launch(t, c.body, 64, max(c.ctas, 1), make([]byte, 1024)), at(c.want, line))
	}
}

func lines(body string) int { return strings.Count(body, "\n") }

// at puts a line's number into what is wanted.
func at(want string, line int) string { return strings.ReplaceAll(want, "LINE", fmt.Sprint(line)) }
