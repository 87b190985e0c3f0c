package sim

import (
	"math/bits"
	"slices"
	"testing"
)

// divergenceCases are run by one warp.
var divergenceCases = []faultCase{
	{name: "both sides of a branch meet again", body: `setp.lt.s32 %p0, %r0, 10;
@%p0 bra $then;
mov.u32 %r2, 7;
bra $join;
$then:
mov.u32 %r2, 5;
$join:
shfl.sync.bfly.b32 %r3, %r2, 31, 31, -1;`},
	{name: "loops of different lengths", body: `mov.u32 %r2, 0;
$loop:
add.s32 %r2, %r2, 1;
setp.le.s32 %p0, %r2, %r0;
@%p0 bra $loop;
shfl.sync.idx.b32 %r3, %r2, 0, 31, 0xffffffff;
bar.sync 0;`},
	{name: "a shuffle in a branch of its lanes", body: `setp.lt.s32 %p0, %r0, 16;
@!%p0 bra $else;
shfl.sync.bfly.b32 %r3, %r0, 1, 31, 0xffff;
bra $join;
$else:
shfl.sync.bfly.b32 %r3, %r0, 2, 31, 0xffff0000;
$join:
bar.warp.sync -1;`},
	{name: "warp barriers in two places", body: `setp.lt.s32 %p0, %r0, 16;
@!%p0 bra $else;
bar.warp.sync -1;
bra $join;
$else:
bar.warp.sync -1;
$join:
bar.warp.sync -1;`},
	{name: "lanes that end early", body: `setp.ge.s32 %p0, %r0, 20;
@%p0 ret;
shfl.sync.down.b32 %r3, %r0, 1, 0x1f, 0xfffff;
mad.wide.u32 %q1, %r0, 4, %q0;
st.global.u32 [%q1], %r3;`, want: "thread 19, line 20, shfl.sync.down.b32 %r3, %r0, 1, 0x1f, 0xfffff;: it takes the value of lane 20"},
	{name: "a guarded shuffle", body: `setp.lt.s32 %p0, %r0, 8;
@%p0 shfl.sync.bfly.b32 %r3, %r0, 4, 31, 0xff;
@%p0 add.s32 %r3, %r3, 1;`},
	{name: "a loop with a branch out of it", body: `mov.u32 %r2, 0;
$loop:
setp.eq.s32 %p0, %r2, %r0;
@%p0 bra $out;
add.s32 %r2, %r2, 1;
setp.lt.s32 %p1, %r2, 20;
@%p1 bra $loop;
mov.u32 %r4, 1;
bra $end;
$out:
mov.u32 %r4, 2;
$end:
vote.sync.all.pred %p2, %p0, -1;
add.s32 %r5, %r4, %r2;`},
}

func TestDivergence(t *testing.T) {
	for _, c := range divergenceCases {
		wants(t, c.name, launch(t, c.body, 32, 1, make([]byte, 1024)), c.want)
	}
}

// laneCases leave in %r9 what want says of the lane and of all lanes' words.
var laneCases = []struct {
	body string
	want func(lane int, in []uint32) uint32
}{
	{"setp.lt.s32 %p0, %r0, 10;\n@%p0 bra $then;\nmov.u32 %r9, 7;\nbra $join;\n$then:\nmov.u32 %r9, 5;\n$join:", func(l int, _ []uint32) uint32 {
		if l < 10 {
			return 5
		}
		return 7
	}},
	{"mov.u32 %r9, 0;\n$loop:\nadd.s32 %r9, %r9, 2;\nsetp.le.s32 %p0, %r9, %r0;\n@%p0 bra $loop;", func(l int, _ []uint32) uint32 { return uint32(l/2*2 + 2) }},
	{"shfl.sync.bfly.b32 %r9, %r2, 5, 31, -1;", func(l int, in []uint32) uint32 { return in[l^5] }},
	{"shfl.sync.idx.b32 %r9, %r2, 40, 31, -1;", func(_ int, in []uint32) uint32 { return in[8] }},
	// Segments of 8 lanes: c is 0x1800 | 0x1f for idx, down and bfly, 0x1800 for up.
	{"shfl.sync.idx.b32 %r9, %r2, 3, 0x181f, -1;", func(l int, in []uint32) uint32 { return in[l/8*8+3] }},
	{"shfl.sync.down.b32 %r9|%p1, %r2, 3, 0x181f, -1;\n@!%p1 mov.u32 %r9, 1;", func(l int, in []uint32) uint32 {
		if l%8 >= 5 {
			return 1
		}
		return in[l+3]
	}},
	{"shfl.sync.up.b32 %r9|%p1, %r2, 3, 0x1800, -1;\n@!%p1 mov.u32 %r9, 1;", func(l int, in []uint32) uint32 {
		if l%8 < 3 {
			return 1
		}
		return in[l-3]
	}},
	{"shfl.sync.down.b32 %r9, %r2, 1, 31, -1;", func(l int, in []uint32) uint32 { return in[min(l+1, 31)] }},
	{"setp.gt.u32 %p0, %r2, 0x80000000;\nvote.sync.ballot.b32 %r9, %p0, -1;", func(_ int, in []uint32) (v uint32) {
		for i, w := range in {
			if w > 1<<31 {
				v |= 1 << i
			}
		}
		return v
	}},
	{"setp.lt.s32 %p0, %r0, 32;\nvote.sync.all.pred %p1, %p0, -1;\nvote.sync.any.pred %p2, !%p0, -1;\nvote.sync.uni.pred %p3, %p0, -1;\nselp.b32 %r9, 1, 0, %p1;\n@%p2 add.s32 %r9, %r9, 2;\n@%p3 add.s32 %r9, %r9, 4;", func(int, []uint32) uint32 { return 5 }},
	{"redux.sync.add.s32 %r9, %r2, -1;", func(_ int, in []uint32) (v uint32) {
		for _, w := range in {
			v += w
		}
		return v
	}},
	{"redux.sync.max.u32 %r9, %r2, -1;", func(_ int, in []uint32) uint32 { return slices.Max(in) }},
	{"redux.sync.xor.b32 %r9, %r2, -1;", func(_ int, in []uint32) (v uint32) {
		for _, w := range in {
			v ^= w
		}
		return v
	}},
	{"mov.u32 %r9, %laneid;\nmov.u32 %r3, %lanemask_lt;\npopc.b32 %r3, %r3;\nadd.s32 %r9, %r9, %r3;\nmov.u32 %r4, %ntid.x;\nadd.s32 %r9, %r9, %r4;", func(l int, _ []uint32) uint32 { return uint32(2*l + 32) }},
}

func TestLanes(t *testing.T) {
	in := make([]uint32, lanes)
	for i := range in {
		in[i] = bits.Reverse32(uint32(i*2654435761 + 12345))
	}
	for _, c := range laneCases {
		for l, v := range each(t, c.body, in) {
			if w := c.want(l, in); v != w {
				t.Errorf("%s\nlane %d has %#x, not %#x", c.body, l, v, w)
				break
			}
		}
	}
}

// A divergent branch costs steps for both sides, and lanes that meet again cost
// once: they are joined.
func TestLanesJoin(t *testing.T) {
	body := "setp.lt.s32 %p0, %r0, 10;\n@%p0 bra $then;\nmov.u32 %r9, 7;\nbra $join;\n$then:\nmov.u32 %r9, 5;\n$join:\n"
	for range 20 {
		body += "add.s32 %r9, %r9, 1;\n"
	}
	p, err := Parse(entryOf(body))
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	at := mem.Add("data", make([]byte, 256))
	least := 0
	for n := 1; n < 100 && least == 0; n++ {
		if p.Run("k", Launch{CTAs: 1, Threads: 32, Args: []uint64{at}, Memory: &mem, Steps: n}) == nil {
			least = n
		}
	}
	if want := 3 + 2 + 2 + 1 + 20 + 1; least != want {
		t.Errorf("it takes %d steps, not %d", least, want)
	}
}
