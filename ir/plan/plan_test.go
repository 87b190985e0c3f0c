package plan

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/memc-lang/memc/ir/ints"
)

// sample feeds rows in pieces cut at multiples of 4, adds a queue of at most 6
// rows that gets 2 at the end of each chunk, and keeps a growing state.
const sample = `plan "test"
slab 10
arena 576
record 12

buffer 0 "x" input i32 [10] bytes 40 at 0
buffer 1 "w" weight bf16 [5, 3] panel 4 bytes 48 tensor "a.w" shape [15] init "normal" 0.02
buffer 2 "tab" table i32 [2] bytes 8 data "AQAAAAIAAAA="
buffer 3 "s" state f32 [3, 5] bytes 60 from 1
buffer 4 "keys" state f32 [2, 5] bytes 40 fill -Inf grow = pos + n
buffer 5 "t" temp f32 [10, 5] bytes 200 at 64
buffer 6 "y" output f32 [10, 5] bytes 200 at 320
buffer 7 "loss" probe f32 [4] bytes 16 at 0 loop chunks

slot 0 pos
slot 1 n
slot 2 len
slot 3 room = 6 - len
slot 4 chunks.first
slot 5 chunks.turns

loop chunks max 4 {
  turns = (pos + n + 3) div 4 - pos div 4
  carry len start 0 = min(len + 2, 6)
  slot 6 turn
  slot 7 row = max((pos div 4 + turn) * 4, pos)
  slot 8 rows = min((row div 4 + 1) * 4, pos + n) - row
  slot 9 done
  slot 10 len
  done = row + rows == (row div 4 + 1) * 4
}

kernel "k.a" ints 2 (i32 [0], bf16 [5, 3] panel 4, f32 [10, 5] write)
kernel "k.b" ints 1 (f32 [3, 5] write)

entry "forward" doc "Says \"hello\"." {
  input "x" buffer 0 i32 [10] names ["t"] below 100 clock rows = n
  output "y" buffer 6 f32 [10, 5] names ["t", "d"] clock rows = n + chunks.turns
  launch "k.a" [0, 1, 5] [0, 1] note "a.spec:3 q"
  repeat chunks note "a.spec:9" {
    launch "k.b" [3] [7]
    if 9 {
      launch "k.b" [3] [10]
    }
  }
}
`

func parse(t testing.TB, text string) *Plan {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoundTrip(t *testing.T) {
	p := parse(t, sample)
	if diff := cmp.Diff(sample, p.String()); diff != "" {
		t.Fatalf("print(parse(text)) differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(p, parse(t, p.String())); diff != "" {
		t.Fatalf("parse(print(plan)) differs:\n%s", diff)
	}
	for _, err := range p.Verify() {
		t.Errorf("the sample is sound, yet: %v", err)
	}
	if k := p.SlotIndex("room"); k != 3 {
		t.Errorf("room is slot %d, want 3", k)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "1:1: expected a plan"},
		{"plan x", `1:6: expected a quoted string, found "x"`},
		{"plan \"x\"\n\nslab q", "3:6: expected a 64-bit integer"},
		{"plan \"x\"\nslab 3 4", `2:8: expected the end of the line, found "4"`},
		{"plan \"x\nslab 3 4", "1:6: a quoted string does not end"},
		{"plan \"x\"\nbuffer 1", "2:9: buffer 1 stands where buffer 0 is due"},
		{"plan \"x\"\nbuffer 0 \"a\" heap", "2:14: expected a class of buffer"},
		{"plan \"x\"\nbuffer 0 \"a\" temp f64", `2:19: expected an element type, found "f64"`},
		{"plan \"x\"\nbuffer 0 \"a\" temp f32 [1 2]", `2:26: expected ",", found "2"`},
		{"plan \"x\"\nslot 0 a = 1 + * 2", `2:16: expected an integer expression, found "*"`},
		{"plan \"x\"\nslot 0 a 1", `2:10: expected "=" and an expression`},
		{"plan \"x\"\nslot 0 1a", "2:8: expected a name"},
		{"plan \"x\"\nloop l max 1 {\nturns = 1\n", "the block opened on line 2 is not closed"},
		{"plan \"x\"\nentry \"e\" doc \"\" {\nrepeat l {\n}\n}", "3:8: no loop called l stands above"},
		{"plan \"x\"\nentry \"e\" doc \"\" {\n" + strings.Repeat("if 0 {\n", 40), "nest more than"},
		{"plan \"x\"\nbuffer 0 \"a\" table i32 [1] data \"!\"", "not base64"},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// TestVerify changes one thing in the sample at a time: each line of Verify's
// list has a case.
func TestVerify(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"slab 10", "slab 0", "slab is 0"},
		{"arena 576", "arena -1", "arena is -1"},
		{"record 12", "record 10", "loop chunks: 5 slots and the call's 6 do not fit"},
		{"record 12", "record 5", "record is 5 slots"},
		{"max 4", "max 16777216", "more than"},
		{"max 4", "max -1", "max is -1"},
		{"slot 0 pos", "slot 0 p", "the first two slots must be pos and n"},
		{"slot 0 pos", "slot 0 pos = 3", "must be pos itself"},
		{"slot 3 room", "slot 3 len", `slot "len" is declared twice`},
		{"slot 7 row", "slot 7 turn", `slot of loop chunks "turn" is declared twice`},
		{"carry len", "carry turn", "cannot be called turn"},
		{`"k.b" ints`, `"k.a" ints`, `kernel "k.a" is declared twice`},
		{"bytes 40 at 0", "bytes 44 at 0", "bytes is 44, but i32 [10] with panel 0 takes 40"},
		{"[10] bytes 40 at 0", "[-10] bytes 40 at 0", "dim 0 of [-10] is impossible"},
		{"[10, 5] bytes 200 at 64", "[70368744177664, 70368744177664] bytes 200 at 64", "take more than"},
		{"panel 4 bytes", "panel 5 bytes", "bytes is 48"},
		{"at 64", "at 63", "aligned to 64, inside the arena"},
		{"at 320", "at 384", "inside the arena of 576"},
		{"fill -Inf", "fill -Inf at 64", "a state has no place in the arena"},
		{"at 64", "at 64 tensor \"q\" shape []", "only a weight has"},
		{"at 64", "at 64 data \"AAAA\"", "only a table has data"},
		{"at 64", "at 64 loop chunks", "only a probe has a loop"},
		{"at 64", "at 64 grow = n", "only a state has"},
		{"shape [15]", "shape [16]", "differ in their number of elements"},
		{`"normal" 0.02`, `"gamma" 1`, "is none of zeros"},
		{`"normal" 0.02`, `"normal" NaN`, "scale is NaN"},
		{"AQAAAAIAAAA=", "AQAAAA==", "has 4 bytes of data for 8"},
		{"from 1", "from 2", "which is not a weight"},
		{"[3, 5] bytes 60", "[4, 5] bytes 80", "another number of elements"},
		{"loop chunks\n\n", "loop chanks\n\n", "belongs to no loop"},
		{"[4] bytes 16 at 0 loop", "[3] bytes 12 at 0 loop", "has 3 elements for the 4 turns"},
		{"room = 6 - len", "room = 6 - row", "slot room: row is not defined here"},
		{"room = 6 - len", "room = 6 div 0", "slot room: division by zero"},
		{"row = max((pos div 4", "row = max((rows div 4", "rows is not defined here"},
		{"turns = (pos", "turns = (turn", "turns of loop chunks: turn is not defined here"},
		{"  done = row + rows == (row div 4 + 1) * 4\n", "", "done of loop chunks: the expression is missing"},
		{"grow = pos + n", "grow = pos + row", "grow of buffer keys: row is not defined"},
		{"rows = n\n", "rows = nn\n", "input x: nn is not defined"},
		{`launch "k.b" [3] [7]`, `launch "k.c" [3] [7]`, "no such kernel"},
		{`launch "k.b" [3] [7]`, `launch "k.b" [9] [7]`, "buffer 9 does not exist"},
		{`launch "k.b" [3] [7]`, `launch "k.b" [3] [11]`, "slot 11 is none of the 11"},
		{`launch "k.b" [3] [7]`, `launch "k.b" [3] [7, 7]`, "1 buffers and 2 slots for a kernel of 1 and 1"},
		{`launch "k.b" [3] [7]`, `launch "k.b" [2] [7]`, "holds i32, the kernel's buffer 0 is f32"},
		{`launch "k.b" [3] [7]`, `launch "k.b" [4] [7]`, `buffer "keys" has 40 bytes, the kernel's buffer 0 takes 60`},
		{"panel 4 bytes", "panel 4 pairs bytes", "a weight of bf16 [5 3] with panel 4 cannot have pairs"},
		{"state f32 [3, 5]", "state f32 [3, 5] pairs", "a state of f32 [3 5] with panel 0 cannot have pairs"},
		{"panel 4, f32 [10, 5]", "panel 4 pairs, f32 [10, 5]", `"w" has pairs: false, the kernel's buffer 1: true`},
		{"panel 4, f32 [10, 5]", "panel 2, f32 [10, 5]", `has panel 4, the kernel's buffer 1 has 2`},
		{"[5, 3] panel 4, f32", "[5, 3] panel 4 write, f32", `stores to "w", a weight`},
		{`"k.a" [0, 1, 5] [0, 1]`, `"k.a" [0, 1, 5] [0, 7]`, "slot 7 is none of the 6"},
		{"if 9 {", "repeat chunks {", "a repeat inside a repeat"},
		{"if 9 {", "if 90 {", "slot 90 is none"},
		{"slot 4 chunks.first", "slot 4 c.first = 1", "the call has no slot chunks.first"},
		{"names [\"t\", \"d\"]", "names [\"t\"]", "1 names for 2 dims"},
		{`"y" buffer 6`, `"y" buffer 5`, `buffer "t" is of class temp`},
		{`"y" buffer 6`, `"y" buffer 60`, "buffer 60 does not exist"},
		{`"y" buffer 6 f32 [10, 5]`, `"y" buffer 6 f32 [10, 4]`, "do not show the 200"},
		{`clock rows = n +`, `below 7 clock rows = n +`, "is for inputs of integers"},
		{"kernel \"k.b\" ints 1 (f32 [3, 5] write)", "kernel \"k.b\"", "1 signatures for 2 kernels"},
	} {
		if !strings.Contains(sample, c.old) {
			t.Fatalf("the sample lacks %q", c.old)
		}
		text := strings.Replace(sample, c.old, c.new, 1)
		p, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", c.new, err)
			continue
		}
		if !slices.ContainsFunc(p.Verify(), func(e error) bool { return strings.Contains(e.Error(), c.want) }) {
			t.Errorf("%q for %q: no fault says %q: %v", c.new, c.old, c.want, p.Verify())
		}
	}
}

// TestDescribe compares the compiled evaluation with ints.Eval, one expression
// and one turn at a time, over random streams.
func TestDescribe(t *testing.T) {
	p := parse(t, sample)
	d, err := p.Describer()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	at := func(e *ints.Expr, env map[string]int64) int64 {
		v, err := e.Eval(env)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	l := &p.Loops[0]
	for range 200 {
		pos, length := rng.Int64N(3)*1_000_000_000_000, int64(0)
		d.Start()
		for range 12 {
			n := 1 + rng.Int64N(10)
			if err := d.Describe(pos, n); err != nil {
				t.Fatal(err)
			}
			turns := at(l.Turns, map[string]int64{"pos": pos, "n": n})
			want := []int64{pos, n, length, 6 - length, 1, turns, 0, 0, 0, 0, 0, 0}
			call := want[:6]
			for turn := range turns {
				env := map[string]int64{"pos": pos, "n": n, "turn": turn, "len": length}
				env["row"] = at(l.Slots[1].Expr, env)
				env["rows"] = at(l.Slots[2].Expr, env)
				done := at(l.Done, env)
				want = append(append(want, call...), turn, env["row"], env["rows"], done, length, 0)
				if d.Done[1+turn] != (done == 1) {
					t.Fatalf("pos %d n %d turn %d: done is %v, want %d", pos, n, turn, d.Done[1+turn], done)
				}
				if done == 1 {
					length = at(l.Carry[0].Next, env)
				}
			}
			if !slices.Equal(d.Records, want) {
				t.Fatalf("pos %d n %d: records\n%v, want\n%v", pos, n, d.Records, want)
			}
			if d.Next[0] != length {
				t.Fatalf("pos %d n %d: the length after is %d, want %d", pos, n, d.Next[0], length)
			}
			records, after, err := p.Describe(pos, n, map[string]int64{"len": d.Lens[0]})
			if err != nil || !slices.Equal(records, want) || after["len"] != length {
				t.Fatalf("Plan.Describe gives %v %v %v", records, after, err)
			}
			copy(d.Lens, d.Next)
			pos += n
		}
	}
}

func TestDescribeErrors(t *testing.T) {
	p := parse(t, strings.Replace(sample, "room = 6 - len", "room = 6 div (3 - pos)", 1))
	for _, c := range []struct {
		pos, n int64
		want   string
	}{
		{0, 0, "takes 1 to 10 at a time"},
		{0, 11, "takes 1 to 10 at a time"},
		{-1, 1, "position -1"},
		{1<<63 - 1, 1, "position"},
		{3, 1, "slot room: division by zero"},
	} {
		_, _, err := p.Describe(c.pos, c.n, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("pos %d n %d: got %v, want %q", c.pos, c.n, err, c.want)
		}
	}
	p = parse(t, strings.Replace(sample, "max 4", "max 2", 1))
	if _, _, err := p.Describe(1, 10, nil); err == nil || !strings.Contains(err.Error(), "would take 3 turns") {
		t.Errorf("three turns where two fit: %v", err)
	}
	p = parse(t, strings.Replace(sample, "done = row + rows == ", "done = 2 + ", 1))
	if _, _, err := p.Describe(0, 4, nil); err == nil || !strings.Contains(err.Error(), "neither 0 nor 1") {
		t.Errorf("done is 2: %v", err)
	}
}

func TestDescribeAllocates(t *testing.T) {
	d, err := parse(t, sample).Describer()
	if err != nil {
		t.Fatal(err)
	}
	pos := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Describe(pos, 3); err != nil {
			t.Fatal(err)
		}
		pos += 3
	}); n != 0 {
		t.Errorf("describing a call allocates %v times", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("plan \"x\"\nslot 0 a = table(1 2)[3]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		out := p.String()
		q, err := Parse(out)
		if err != nil {
			t.Fatalf("the printed plan does not parse: %v\n%s", err, out)
		}
		if again := q.String(); again != out {
			t.Fatalf("printing twice differs:\n%s\n%s", out, again)
		}
		if p.Verify() == nil {
			if _, _, err := p.Describe(0, 1, nil); err != nil {
				t.Log(err)
			}
		}
	})
}

func TestLengthRanges(t *testing.T) {
	carry := func(name string, start int64, next string) Carry {
		e, err := ints.Parse(next)
		if err != nil {
			t.Fatal(err)
		}
		return Carry{Name: name, Start: start, Next: e}
	}
	p := &Plan{Slab: 8, Loops: []Loop{
		{Carry: []Carry{carry("fixed", 0, "4"), carry("queue", 2, "min(queue + 1, 1000000)")}},
		{Carry: []Carry{carry("both", 1, "min(queue + fixed, 2000000)"), carry("free", 0, "free + n")}},
	}}
	want := []ints.Range{{Lo: 0, Hi: 4}, {Lo: 2, Hi: 1000000}, {Lo: 1, Hi: 1000004}, {Lo: 0, Hi: ints.Unknown.Hi}}
	if got := p.LengthRanges(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
