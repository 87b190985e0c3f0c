package sim

import "testing"

// copying starts a copy of 16 bytes a thread from memory to shared memory.
const copying = `shl.b32 %r2, %r0, 4;
add.s32 %r3, %r2, %r1;
cvt.u64.u32 %q1, %r2;
add.s64 %q1, %q1, %q0;
cp.async.cg.shared.global [%r3], [%q1], 16;
`

// asyncCases are run by 64 threads with 2048 bytes of memory.
var asyncCases = []faultCase{
	{name: "waited for", body: copying + "cp.async.commit_group;\ncp.async.wait_group 0;\nld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];"},
	{name: "waited for all", body: copying + "cp.async.wait_all;\nld.shared.u32 %r4, [%r3+12];"},
	{name: "not waited for", body: copying + "cp.async.commit_group;\nld.shared.u32 %r4, [%r3];", want: "thread 0, line LINE, ld.shared.u32 %r4, [%r3];: byte 0 is in flight: thread 0 copies to it in line 22 and has not waited for that"},
	{name: "a barrier does not wait", body: copying + "cp.async.commit_group;\nbar.sync 0;\nld.shared.u32 %r4, [%r3];", want: "thread 32, line LINE, ld.shared.u32 %r4, [%r3];: byte 512 is in flight"},
	{name: "never committed", body: copying + "cp.async.wait_group 0;\nld.shared.u32 %r4, [%r3];", want: "byte 0 is in flight"},
	{name: "a wait that leaves one group", body: copying + "cp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.u32 %r4, [%r3];", want: "byte 0 is in flight"},
	{name: "a later group, left", body: copying + "cp.async.commit_group;\ncp.async.ca.shared.global [%r3+1024], [%q1], 16;\ncp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.u32 %r4, [%r3];\nld.shared.u32 %r4, [%r3+1024];", want: "line LINE, ld.shared.u32 %r4, [%r3+1024];: byte 1024 is in flight"},
	{name: "empty groups count", body: copying + "cp.async.commit_group;\ncp.async.commit_group;\ncp.async.wait_group 1;\nld.shared.u32 %r4, [%r3];"},
	{name: "a neighbour's, with a barrier", body: copying + "cp.async.commit_group;\ncp.async.wait_group 0;\nbar.sync 0;\nld.shared.u32 %r4, [%r1];"},
	{name: "a neighbour's, without", body: copying + "cp.async.commit_group;\ncp.async.wait_group 0;\nld.shared.u32 %r4, [%r1];", want: "line LINE, ld.shared.u32 %r4, [%r1];: race: byte 0, which thread 0 wrote in line 22"},
	{name: "a neighbour's, with a barrier before the wait", body: copying + "cp.async.commit_group;\nbar.sync 0;\ncp.async.wait_group 0;\nbar.warp.sync -1;\nld.shared.u32 %r4, [%r1];", want: "thread 32, line LINE, ld.shared.u32 %r4, [%r1];: byte 0 is in flight"},
	{name: "written meanwhile", body: copying + "st.shared.u32 [%r3+8], %r0;", want: "byte 8 is in flight"},
	{name: "two copies to one place", body: copying + "cp.async.ca.shared.global [%r3+4], [%q1], 4;", want: "byte 4 is in flight"},
	{name: "over what others read", body: "shl.b32 %r4, %r0, 2;\nadd.s32 %r4, %r4, %r1;\nst.shared.u32 [%r4], %r0;\nbar.sync 0;\nld.shared.u32 %r5, [%r4];\n" + copying, want: "thread 0, line 27, cp.async.cg.shared.global [%r3], [%q1], 16;: race: it writes byte 4, which another thread of warp 0 read"},
	{name: "the source changes", body: copying + "st.global.u32 [%q1], %r3;\ncp.async.wait_all;", want: "thread 1, line LINE, cp.async.wait_all;: what line 22 copies has changed before this wait"},
	{name: "nothing is read", body: "mov.u64 %q2, 0;\nshl.b32 %r3, %r0, 4;\nadd.s32 %r3, %r3, %r1;\nmov.u32 %r2, 0;\ncp.async.cg.shared.global [%r3], [%q2], 16, %r2;\ncp.async.wait_all;\nld.shared.u32 %r4, [%r3+12];"},
	{name: "too much is read", body: "mov.u32 %r2, 5;\ncp.async.ca.shared.global [%r1], [%q0], 4, %r2;", want: "it is to read 5 bytes of 4"},
	{name: "the source's alignment", body: "cp.async.ca.shared.global [%r1], [%q0+4], 8;", want: "is not aligned for 8 bytes"},
	{name: "the destination's alignment", body: "cp.async.ca.shared.global [%r1+8], [%q0], 16;", want: "shared address 8 is not aligned for 16 bytes"},
	{name: "the source's end", body: "cp.async.ca.shared.global [%r1], [%q0+2048], 4;", want: "byte 2048 of data"},
	{name: "the destination's end", body: "cp.async.cg.shared.global [%r1+4096], [%q0], 16;", want: "16 bytes at shared address 4096 of 4096"},
}

func TestCopies(t *testing.T) {
	for _, c := range asyncCases {
		line := bodyLine + lines(c.body)
		wants(t, c.name, launch(t, c.body, 64, 1, make([]byte, 2048)), at(c.want, line))
	}
}

// What arrives: the bytes that are read, and 0 behind them.
func TestCopiesArrive(t *testing.T) {
	const body = `shl.b32 %r2, %r0, 4;
add.s32 %r3, %r2, %r1;
cvt.u64.u32 %q1, %r2;
add.s64 %q1, %q1, %q0;
shr.u32 %r4, %r0, 1;
setp.ge.s32 %p0, %r0, 20;
@!%p0 cp.async.ca.shared.global.L2::128B [%r3], [%q1], 16, %r4;
@%p0 cp.async.ca.shared.global [%r3], [%q1], 8;
@%p0 cp.async.ca.shared.global [%r3+8], [%q1+8], 4, 2;
@%p0 cp.async.ca.shared.global [%r3+12], [%q1+12], 4;
cp.async.wait_all;
ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];
st.global.v4.u32 [%q1], {%r4, %r5, %r6, %r7};`
	data := make([]byte, 32*16)
	for i := range data {
		data[i] = byte(i*7 + 1)
	}
	want := append([]byte(nil), data...)
	for i := range want {
		thread, b := i/16, i%16
		if thread < 20 && b >= thread/2 || thread >= 20 && (b == 10 || b == 11) {
			want[i] = 0
		}
	}
	if err := launch(t, body, 32, 1, data); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if data[i] != want[i] {
			t.Fatalf("byte %d of thread %d is %d, not %d", i%16, i/16, data[i], want[i])
		}
	}
}
