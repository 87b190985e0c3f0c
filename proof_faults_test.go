package memc_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/codegen/ptx"
	"github.com/memc-lang/memc/codegen/ptx/sim"
	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/plan"
	"github.com/memc-lang/memc/passes"
	"github.com/memc-lang/memc/runtime"
)

// seeded are small specs with a kernel of each schedule, and the calls that are
// made of them.
var seeded = []struct {
	schedule, spec, set string
	rows                []int
	hybrid              string // memc.Options.Hybrid
}{
	{"map", "testdata/specs/capped.spec", `{}`, []int{100, 1}, ""},
	{"contract", "specs/bench/contract.spec", `{"K": 48, "N": 150, "weights": "bf16"}`, []int{33, 7}, ""},
	{"contract", "specs/bench/contract.spec", `{"K": 512, "N": 136, "weights": "q8"}`, []int{32, 7}, ""},
	{"contract", "specs/bench/contract.spec", `{"K": 96, "N": 136, "weights": "q4"}`, []int{32, 7}, ""},
	{"attend", "specs/bench/attend.spec", `{"heads": 4, "kv_heads": 2, "head_dim": 16, "window": 24, "sinks": 2}`, []int{16, 7, 16}, ""},
	{"recur", "specs/bench/recur.spec", `{"heads": 2, "dim": 32, "hidden": 48, "chunk": 16}`, []int{16, 7, 16}, ""},
	{"run", "specs/bench/recur.spec", `{"heads": 2, "dim": 32, "hidden": 48, "chunk": 16}`, []int{37, 16}, ""},
	{"hybrid", "specs/bench/hybrid.spec", `{"heads": 2, "dim": 32, "hidden": 48, "chunk": 16, "kv_heads": 1, "head_dim": 16, "window": 24}`, []int{16, 7, 16}, "launch"},
}

// Reports: what the simulator says, or that the result is wrong.
const (
	aRace      = `race: `
	outside    = `, which has \d|at shared address|no allocation`
	misaligned = `not aligned`
	fresh      = `has not been written`
	otherCTA   = `another CTA of the launch`
	unset      = `has no value`
	wrongly    = `\] is .*, not `
	stuck      = `must come|others said|waits at barrier|wait for lanes|runs for too long`
	flight     = `is in flight`
)

// printedFault damages a printed kernel: old, at some place, becomes new. Among
// the places that are tried at least one must give a report like want; at
// others the text may say the same thing twice (a barrier that another one
// stands behind), or compute what this launch does not need (rows that are not
// valid, the last of a number's terms). A kernel without such a place has no
// such fault.
type printedFault struct{ name, old, new, want string }

var printedFaults = []printedFault{
	{"a barrier is dropped", `bar\.sync +\d+;`, ``, aRace + `|` + fresh},
	{"a barrier is of warps", `bar\.sync +\d+;`, `bar.warp.sync -1;`, aRace + `|` + fresh},
	{"half a barrier", `(bar\.sync) +0;`, `$1 0, 32;`, aRace + `|` + fresh + `|` + stuck},
	{"all threads do the work of the first", `mov\.u32( +%r\d+), %tid\.x;`, `mov.u32$1, 0;`, aRace + `|` + flight},
	{"all CTAs do the work of the first", `mov\.u32( +%r\d+), %ctaid\.x;`, `mov.u32$1, 0;`, otherCTA},
	{"a CTA goes on with its neighbour's blocks", `mov\.u32( +%r\d+), %nctaid\.x;`, `mov.u32$1, 1;`, otherCTA},
	{"a store to shared memory is dropped", `(?:@!?%p\d+ +)?st\.shared\.[^;]*;`, ``, fresh + `|` + wrongly},
	{"a store to a buffer is dropped", `(?:@!?%p\d+ +)?st\.global\.[^;]*;`, ``, wrongly},
	{"a load is dropped", `(?:@!?%p\d+ +)?ld\.global\.[^;]*;`, ``, unset},
	{"a load from shared memory is dropped", `(?:@!?%p\d+ +)?ld\.shared\.[^;]*;`, ``, unset + `|` + wrongly},
	{"a load from a buffer is far off", `(ld\.global\.\S+ +[^;]*\[%q\d+)(\+\d+)?\];`, `$1+16777216];`, outside},
	{"a store to a buffer is far off", `(st\.global\.\S+ +\[%q\d+)(\+\d+)?\]`, `$1+16777216]`, outside},
	{"a store is a byte off", `(st\.(?:shared|global)\.\S+ +\[%[rq]\d+)(\+\d+)?\]`, `$1+1]`, misaligned},
	{"a load is a byte off", `(ld\.(?:shared|global)\.\S+ +[^;]*\[%[rq]\d+)(\+\d+)?\];`, `$1+1];`, misaligned},
	{"a store is a place off", `(st\.shared\.\S+ +\[%r\d+)(\+\d+)?\]`, `$1+16]`, aRace + `|` + fresh + `|` + outside + `|` + wrongly},
	{"a load is a place off", `(ld\.shared\.\S+ +[^;]*\[%r\d+)(\+\d+)?\];`, `$1+16];`, aRace + `|` + fresh + `|` + outside + `|` + wrongly},
	{"a bound is off by one", `setp\.ge\.s32( +%p\d+, %r\d+, %r\d+);`, `setp.gt.s32$1;`, outside + `|` + aRace + `|` + fresh + `|` + wrongly},
	{"a condition is the other way round", `@(%p\d+ +bra)`, `@!$1`, outside + `|` + aRace + `|` + fresh + `|` + wrongly + `|` + unset + `|` + stuck},
	{"a predicate is missing", `@!?%p\d+ ((?:st|ld|cp)\.)`, `$1`, outside + `|` + aRace + `|` + fresh + `|` + wrongly},
	{"a step is too short", `add\.s32( +%r(\d+), %r\d+), 128;`, `add.s32$1, 127;`, aRace + `|` + misaligned},
	{"a factor of an address is too large", `mad\.lo\.s32( +%r\d+, %r\d+), (\d+)`, `mad.lo.s32$1, 1$2`, outside + `|` + fresh + `|` + misaligned},
	{"a factor of a buffer's address is too large", `mad\.(lo\.s64|wide\.u32)( +%q\d+, %[rq]\d+), (\d+)`, `mad.$1$2, 1$3`, outside + `|` + misaligned + `|` + wrongly},
	{"a sum is a difference", `add\.rn\.f32`, `sub.rn.f32`, wrongly},
	{"a product's operand is another one", `fma\.rn\.f32( +%f\d+, %f\d+), %f\d+,`, `fma.rn.f32$1, 0f40400000,`, wrongly},
	{"a choice is the other way round", `selp\.(b32|b64|f32)( +%[rqf]\d+), ([^,]+), ([^,]+), (%p\d+);`, `selp.$1$2, $4, $3, $5;`, outside + `|` + wrongly + `|` + aRace + `|` + fresh},
	{"a value is never computed", `(?:add|sub|mul|fma)\.rn\.f32 [^;]*;`, ``, unset + `|` + wrongly},

	{"a wait is dropped", `cp\.async\.wait_(group +\d+|all);`, ``, flight},
	{"a wait is for a group too few", `cp\.async\.wait_group +\d+;`, `cp.async.wait_group 7;`, flight},
	{"a commit is dropped", `cp\.async\.commit_group;`, ``, flight},
	{"a copy is dropped", `(?:@!?%p\d+ +)?cp\.async\.c[ag]\.[^;]*;`, ``, fresh + `|` + wrongly},
	{"a copy is 8 bytes off", `(cp\.async\.c[ag]\.\S+ +\[%r\d+)(\+\d+)?\]`, `$1+8]`, misaligned},
	{"a copy reads all where part is valid", `(cp\.async\.c[ag]\.[^;]*, 16), %r\d+;`, `$1, 16;`, outside + `|` + wrongly},
	{"ldmatrix transposes", `(ldmatrix\.sync\.aligned\.m8n8\.x\d)\.shared`, `$1.trans.shared`, wrongly},
	{"ldmatrix does not transpose", `\.trans\.shared`, `.shared`, wrongly},
	{"ldmatrix reads a row further", `(ldmatrix[^\[]*\[%r\d+)(\+\d+)?\]`, `$1+16]`, wrongly + `|` + fresh + `|` + aRace + `|` + outside},
	{"ldmatrix is 8 bytes off", `(ldmatrix[^\[]*\[%r\d+)(\+\d+)?\]`, `$1+8]`, misaligned},
	{"ldmatrix's registers are swapped", `(ldmatrix\S+ +\{)(%r\d+), (%r\d+)`, `$1$3, $2`, wrongly},
	{"A's registers are swapped", `(mma\S+\s+\{[^}]*\}, \{)(%r\d+), (%r\d+)`, `$1$3, $2`, wrongly},
	{"B's registers are swapped", `(mma\S+\s+\{[^}]*\}, \{[^}]*\}, \{)(%r\d+), (%r\d+)`, `$1$3, $2`, wrongly},
	{"a product's sums begin elsewhere", `(mma[^;]*\{)(%f\d+), (%f\d+)(, %f\d+, %f\d+\});`, `$1$3, $2$4;`, wrongly},
	{"a product is dropped", `mma\.sync[^;]*;`, ``, wrongly + `|` + unset},
	{"a scale is another row's", `(ld\.shared\.u32 +%r\d+, \[%r\d+)(?:\+\d+)?(\];\s+shl\.b32 +%r\d+, %r\d+, 16;\s+mov\.b32)`, `$1+4$2`, wrongly},
	{"a pair of codes is dropped", `(fma\.rn\.bf16x2 +%r\d+), (%r\d+)`, `$1, 0`, wrongly},
	{"a code's sign is dropped", `and\.b32( +%r\d+, %r\d+), 8388736;`, `and.b32$1, 0;`, wrongly},
	{"a digit has bits of the next", `and\.b32( +%r\d+, %r\d+), 983055;`, `and.b32$1, 2031647;`, wrongly},
	{"a code is too large by one", `or\.b32( +%r\d+, %r\d+), 1124090624;`, `or.b32$1, 1124156161;`, wrongly},
	{"a lane's codes are its neighbour's", `(ld\.shared\.v4\.u32 [^\[]*\[%r\d+)(\+\d+)?\]`, `$1+32]`, wrongly + `|` + fresh},
	{"a swizzle is dropped", `xor\.b32( +%r\d+, %r\d+), [^;]+;`, `xor.b32$1, 0;`, wrongly + `|` + fresh + `|` + aRace},
	{"a shuffle's distance is another one", `(shfl\.sync\.bfly\.b32 +%[rf]\d+, %[rf]\d+), \d+`, `$1, 4`, wrongly},
}

// places is how many places a fault is tried at.
const places = 12

// TestPrintedFaults: faults in printed kernels of all schedules do not go
// unseen. Too little shared memory is one of them.
func TestPrintedFaults(t *testing.T) {
	var mutex sync.Mutex
	reported := map[string]bool{}
	t.Run("all", func(t *testing.T) {
		for _, s := range seeded {
			t.Run(s.schedule, func(t *testing.T) {
				t.Parallel()
				x := capture(t, loweredWith(t, s.spec, memc.Options{Set: parameters(t, s.set), Slab: max(16, s.rows[0]), Hybrid: s.hybrid}, "sm_80"), s.schedule, s.rows)
				if err := x.run(x.text, x.info.Shared); err != nil {
					t.Fatalf("without a fault: %v", err)
				}
				for i, f := range printedFaults {
					if x.try(t, f, rand.New(rand.NewPCG(uint64(i), 7))) {
						mutex.Lock()
						reported[f.name] = true
						mutex.Unlock()
					}
				}
				shared := x.info.Shared
				for shared > 0 && x.run(x.text, shared) == nil {
					shared /= 2
				}
				if err := x.run(x.text, shared); x.info.Shared > 0 && (err == nil || !strings.Contains(err.Error(), "at shared address")) {
					t.Errorf("%d bytes of shared memory: %v", shared, err)
				}
			})
		}
	})
	for _, f := range printedFaults {
		if !reported[f.name] {
			t.Logf("no kernel has a place for this: %s", f.name)
		}
	}
	if len(reported) < 20 {
		t.Errorf("%d kinds of faults were reported", len(reported))
	}
}

// launched is one kernel with memory as it was before launches of it, and as it
// must be behind them.
type launched struct {
	head, text string // of the module, of the entry
	kernel     *kernel.Kernel
	info       ptx.Info
	launches   []launch
}

type launch struct {
	buffers      []int // the plan's
	slots        []uint64
	record       []byte
	before, want [][]byte
}

// capture runs a plan and takes the launches of the first kernel of a schedule.
func capture(t *testing.T, p *passes.Program, schedule string, rows []int) *launched {
	t.Helper()
	m := printed(t, p.Kernels, "sm_80")
	x := &launched{}
	i := slices.IndexFunc(p.Kernels, func(k *kernel.Kernel) bool { return strings.HasPrefix(k.Name, schedule) })
	if i < 0 {
		t.Fatalf("the spec has no kernel of %s", schedule)
	}
	x.kernel, x.info = p.Kernels[i], m.Kernels[i]
	begin := strings.Index(m.Text, ".visible .entry "+x.info.Name+"(")
	x.text = m.Text[begin:]
	x.text = x.text[:strings.Index(x.text, "\n}\n")+3]
	x.head = m.Text[:strings.Index(m.Text, ".visible .entry ")]

	machine := simulated(t, p, m, weightsFor(p.Plan, 1))
	machine.checked(p)
	check := machine.check
	machine.check = func(s *plan.Step, record int64, before [][]byte) error {
		if s.Kernel != x.kernel.Name {
			return nil
		}
		l := launch{buffers: s.Bufs, record: slices.Clone(machine.record[8*record*int64(p.Plan.Record):])}
		for _, slot := range s.Slots {
			l.slots = append(l.slots, uint64(slot))
		}
		for i, b := range before {
			l.before = append(l.before, slices.Clone(b))
			l.want = append(l.want, slices.Clone(machine.data[s.Bufs[i]]))
		}
		x.launches = append(x.launches, l)
		return check(s, record, before)
	}
	rng := rand.New(rand.NewPCG(2, 6))
	e := &p.Plan.Entries[0]
	for _, n := range rows {
		machine.call(e.Name, rowsFor(e, n, rng), n, map[string]runtime.Tensor{})
	}
	return x
}

// try damages the kernel at several places and looks for the report; false says
// that it has no such place.
func (x *launched) try(t *testing.T, f printedFault, rng *rand.Rand) bool {
	t.Helper()
	old := regexp.MustCompile(f.old)
	all := old.FindAllStringSubmatchIndex(x.text, -1)
	if len(all) == 0 {
		return false
	}
	var said []string
	for _, i := range rng.Perm(len(all))[:min(places, len(all))] {
		at := all[i]
		err := x.run(x.text[:at[0]]+string(old.ExpandString(nil, f.new, x.text, at))+x.text[at[1]:], x.info.Shared)
		if err != nil && regexp.MustCompile(f.want).MatchString(err.Error()) {
			t.Logf("%s: %v", f.name, err)
			return true
		}
		said = append(said, fmt.Sprint(err))
	}
	t.Errorf("%s: not reported as %s at %d places of %d:\n%s", f.name, f.want, len(said), len(all), strings.Join(said, "\n"))
	return true
}

// run runs the launches with a text in place of the kernel's; the error is a
// fault, or a wrong result.
func (x *launched) run(text string, shared int) error {
	p, err := sim.Parse(x.head + text)
	if err != nil {
		return err
	}
	for _, l := range x.launches {
		var m sim.Memory
		var bufs []uint64
		got := make([][]byte, len(l.buffers))
		for i, b := range l.buffers {
			if j := slices.Index(l.buffers, b); j < i {
				got[i], bufs = got[j], append(bufs, bufs[j])
				continue
			}
			got[i] = slices.Clone(l.before[i])
			bufs = append(bufs, m.Add(x.kernel.Bufs[i].Name, got[i]))
		}
		args := []uint64{m.Words("bufs", bufs...), m.Words("slots", l.slots...), m.Add("record", slices.Clone(l.record)), m.Fresh("scratch", ctas*x.info.Scratch)}
		if err := p.Run(x.info.Name, sim.Launch{CTAs: ctas, Threads: x.info.Threads, Shared: shared, Args: args, Memory: &m, Steps: 1 << 19}); err != nil {
			return err
		}
		for i, b := range x.kernel.Bufs {
			if err := nearly(b, got[i], l.want[i]); b.Write && err != nil {
				return err
			}
		}
	}
	return nil
}
