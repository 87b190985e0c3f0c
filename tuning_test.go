package memc_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime/cache"
	"github.com/memc-lang/memc/runtime/safetensors"
)

// someSizes are far from any target's own, odd ones among them.
var someSizes = []memc.Sizes{
	{Rows: 14, Cols: 32, MapElems: 256, AttendQ: 4, RecurRows: 8},
	{Rows: 150, Cols: 500, MapElems: 1 << 16, AttendQ: 200, RecurRows: 130},
	{Rows: 1, Cols: 7, MapElems: 1, AttendQ: 1, RecurRows: 1},
}

// TestForcedSizes: tile sizes change no bits, whole and in pieces, with any way to store
// weights and histories: each golden case with some of the sizes that a search tries, and
// with some that none does, so that all cases together have them all.
func TestForcedSizes(t *testing.T) {
	targets := native(t)
	stored := append([]memc.Options{{}, {Products: "bf16"}}, optionsOf(storages)...)
	turn, changed := 0, 0
	eachCase(t, func(t *testing.T, c goldenCase) {
		for _, target := range targets {
			sets := append(slices.Clone(someSizes), memc.SizesToTry(target)...)
			for range 2 {
				o := stored[turn%len(stored)]
				some := []memc.Sizes{sets[turn%len(sets)], sets[(turn+len(sets)/2)%len(sets)]}
				turn++
				o.Set, o.Verify, o.Warn = c.Set, true, func(s string) { t.Error(s) }
				if _, err := memc.Load(c.spec(), o); o.Cache != "" && err != nil && strings.Contains(err.Error(), "there is no attention") {
					o.Cache = ""
				}
				how := fmt.Sprintf("%s, weights %q, cache %q, products %q", target, o.Quantize, o.Cache, o.Products)
				all := programs(t, c.spec(), c.Set, o, target)
				if len(all) == 0 {
					continue
				}
				want := c.begin(t, all[0], 2).rest(every(1 << 20))
				for _, s := range some {
					o.Tuning = memc.Force(target, s)
					p := programs(t, c.spec(), c.Set, o, target)[0]
					if p.Identity() != all[0].Identity() {
						changed++
					}
					sameBits(t, c.begin(t, p, 2).rest(every(1<<20)), want, how+", whole, "+s.String())
					sameBits(t, c.begin(t, p, 1).rest(random(5, 60)), want, how+", in pieces, "+s.String())
				}
			}
		}
	})
	if changed < turn {
		t.Errorf("%d of %d forced sizes change a kernel", changed, 2*turn)
	}
}

// sameBits compares outputs and states of two programs.
func sameBits(t *testing.T, x, want *stream, how string) {
	t.Helper()
	for name, v := range want.out {
		if !bytes.Equal(x.out[name].Data, v.Data) {
			t.Errorf("%s: the output %s has other bits", how, name)
		}
	}
	got, _, _, err := safetensors.Decode(x.state())
	if err != nil {
		t.Fatal(err)
	}
	state, _, _, err := safetensors.Decode(want.state())
	if err != nil || len(got) != len(state) {
		t.Fatalf("%s: %d tensors of state, not %d (%v)", how, len(got), len(state), err)
	}
	for name, v := range state {
		if !bytes.Equal(got[name].Data, v.Data) {
			t.Errorf("%s: the state %s has other bits", how, name)
		}
	}
}

func record(kernel string, sizes ...memc.Sizes) memc.TunedKernel {
	k := memc.TunedKernel{Kernel: memc.HashKernel(kernel), Schedule: "map", Machine: memc.Machine(), Target: "avx2", Compiler: memc.Version}
	for i, s := range sizes {
		k.Choices = append(k.Choices, memc.TunedSizes{Sizes: s, Time: 0.5 + 0.1*float64(i)})
	}
	return k
}

func TestTuningRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tuning")
	if list, faulty, err := memc.ReadTuningDir(dir); len(list)+len(faulty) > 0 || err != nil {
		t.Fatalf("of no folder: %v, %v, %v", list, faulty, err)
	}
	one, none, old := record("one", memc.Sizes{Rows: 28}, memc.Sizes{Cols: 64}), record("two"), record("one", memc.Sizes{Rows: 14})
	old.Compiler = "0.0.0"
	foreign := record("one", memc.Sizes{Rows: 7})
	foreign.Machine = "another"
	for _, k := range []memc.TunedKernel{one, none, old, foreign, one} {
		if err := memc.WriteTuned(dir, k); err != nil {
			t.Fatal(err)
		}
	}
	list, faulty, err := memc.ReadTuningDir(dir)
	if len(list) != 4 || len(faulty) > 0 || err != nil {
		t.Fatalf("%v, %v, %v", list, faulty, err)
	}
	if _, unfit := memc.NewTuning(list); unfit != 2 {
		t.Errorf("%d records do not fit, want 2", unfit)
	}
	file := filepath.Join(t.TempDir(), "spec.tuning")
	if err := memc.WriteTuningFile(file, list); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(file)
	back, err := memc.ReadTuningFile(file)
	if err != nil || len(back) != 4 {
		t.Fatalf("%v, %v", back, err)
	}
	back[0], back[3] = back[3], back[0]
	if err := memc.WriteTuningFile(file, back); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(file); string(again) != string(first) {
		t.Errorf("the same records in another order give another file:\n%s\n%s", first, again)
	}
	if err := os.WriteFile(filepath.Join(dir, "damaged.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := memc.PruneTuning(dir); n != 2 || err != nil {
		t.Errorf("%d files pruned (%v), want the damaged one and that of another version", n, err)
	}
	if list, faulty, _ := memc.ReadTuningDir(dir); len(list) != 3 || len(faulty) != 0 {
		t.Errorf("after pruning: %v, %v", list, faulty)
	}
	for _, bad := range []memc.TunedKernel{{}, record("x", memc.Sizes{Rows: -1}), record("x", memc.Sizes{MapElems: 1 << 30})} {
		if err := memc.WriteTuned(dir, bad); err == nil {
			t.Errorf("%v is kept", bad)
		}
	}
}

// TestHostileTuning: files from elsewhere are refused with a sentence.
func TestHostileTuning(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	kernel := func(choices string) string {
		return fmt.Sprintf(`{"kernel":%q,"schedule":"map","machine":"m","target":"avx2","compiler":"1","choices":%s}`, hash, choices)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"no JSON":       "\x00\xff",
		"a list":        "[1]",
		"unknown field": `{"tuned":[],"run":"me"}`,
		"two values":    `{"tuned":[]}{}`,
		"no kernel":     `{"tuned":[{}]}`,
		"no hash":       strings.Replace(`{"tuned":[`+kernel("[]")+`]}`, hash, "../../x", 1),
		"negative":      `{"tuned":[` + kernel(`[{"sizes":{"rows":-5},"time":0.5}]`) + `]}`,
		"huge":          `{"tuned":[` + kernel(`[{"sizes":{"cols":1000000000},"time":0.5}]`) + `]}`,
		"overflow":      `{"tuned":[` + kernel(`[{"sizes":{"cols":1e30},"time":0.5}]`) + `]}`,
		"no time":       `{"tuned":[` + kernel(`[{"sizes":{"cols":64},"time":0}]`) + `]}`,
		"many":          `{"tuned":[` + kernel("["+strings.Repeat(`{"sizes":{},"time":0.5},`, 99)+`{"sizes":{},"time":0.5}]`) + `]}`,
		"deep":          strings.Repeat(`{"tuned":[`, 100000),
		"long":          `{"tuned":[` + strings.Repeat(" ", 1<<24) + `]}`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, hash+".json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := memc.ReadTuningFile(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, %v", name, list, err)
		}
		list, faulty, err := memc.ReadTuningDir(dir)
		if len(list) > 0 || len(faulty) != 1 || err != nil {
			t.Errorf("%s as a record: %v, %v, %v", name, list, faulty, err)
		}
	}
}

// TestTuningProcesses lets processes write the same records at once.
func TestTuningProcesses(t *testing.T) {
	if dir := os.Getenv("TUNING_TEST_DIR"); dir != "" {
		for i := range 20 {
			if err := memc.WriteTuned(dir, record(fmt.Sprint(i%3), memc.Sizes{Rows: 1 + i})); err != nil {
				t.Fatal(err)
			}
			if list, faulty, err := memc.ReadTuningDir(dir); len(list) == 0 || len(faulty) > 0 || err != nil {
				t.Fatalf("%v, %v, %v", list, faulty, err)
			}
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "tuning")
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestTuningProcesses$")
			cmd.Env = append(os.Environ(), "TUNING_TEST_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	group.Wait()
	if list, faulty, err := memc.ReadTuningDir(dir); len(list) != 3 || len(faulty) > 0 || err != nil {
		t.Errorf("%v, %v, %v", list, faulty, err)
	}
}

// TestTuningUsed: a record of one kernel changes that kernel alone, gives another
// artifact from the cache, and gives way where it does not compile.
func TestTuningUsed(t *testing.T) {
	target := native(t)[0]
	o := memc.Options{Targets: []string{target}, Set: map[string]json.RawMessage{"K": json.RawMessage("64"), "N": json.RawMessage("256")}}
	const spec = "specs/bench/contract.spec"
	m, err := memc.Load(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = memc.Optimise(m, false, nil); err != nil {
		t.Fatal(err)
	}
	own, err := memc.Lower(m, target, o)
	if err != nil {
		t.Fatal(err)
	}
	with := func(kernel string, s ...memc.Sizes) *memc.Tuning {
		k := record(kernel, s...)
		k.Target = target
		tuning, _ := memc.NewTuning([]memc.TunedKernel{k})
		return tuning
	}
	for _, c := range []struct {
		name    string
		tuning  *memc.Tuning
		changes bool
	}{
		{"its own record", with(own.Texts[0], memc.Sizes{Rows: 20}), true},
		{"a record of another kernel", with("contract\nanother", memc.Sizes{Rows: 20}), false},
		{"a record of no choice", with(own.Texts[0]), false},
	} {
		p := o
		p.Tuning = c.tuning
		got, err := memc.Lower(m, target, p)
		if err != nil {
			t.Fatal(err)
		}
		if changed := got.Kernels[0].String() != own.Kernels[0].String(); changed != c.changes || got.Texts[0] != own.Texts[0] {
			t.Errorf("%s: the kernel changes: %t, want %t", c.name, changed, c.changes)
		}
	}
	kept, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, tuning := range []*memc.Tuning{nil, with(own.Texts[0], memc.Sizes{Rows: 20}), with(own.Texts[0], memc.Sizes{Rows: 30}), nil} {
		p := o
		p.Tuning = tuning
		a, _, err := memc.CompileCached(t.Context(), kept, spec, p)
		if err != nil {
			t.Fatal(err)
		}
		seen[a.Identity(&a.Targets[0])] = true
	}
	if len(seen) != 3 {
		t.Errorf("three tunings give %d artifacts from the cache", len(seen))
	}
}

// TestTuningFile: a file without a record for the program is refused, one whose
// records are of other machines or versions is said not to be used, each time.
func TestTuningFile(t *testing.T) {
	o := memc.Options{Targets: []string{"interp", "sm_80"}, Set: map[string]json.RawMessage{"K": json.RawMessage("64"), "N": json.RawMessage("256")}}
	const spec = "specs/bench/contract.spec"
	m, err := memc.Load(spec, o)
	if err == nil {
		m, err = memc.Optimise(m, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	own, err := memc.Lower(m, "sm_80", o)
	if err != nil {
		t.Fatal(err)
	}
	other := record("another", memc.Sizes{Rows: 64})
	other.Target = "sm_80"
	fits := record(own.Texts[0], memc.Sizes{Rows: 64})
	fits.Target = "sm_80"
	elsewhere, before, target := fits, other, fits
	elsewhere.Machine = "another"
	before.Compiler = "0.0.0"
	target.Target = "sm_90a"
	kept, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		records       []memc.TunedKernel
		warned, error string
	}{
		{"nothing", nil, "", "none of its 0 records"},
		{"another kernel", []memc.TunedKernel{other}, "", "none of its 1 records"},
		{"another target", []memc.TunedKernel{other, target}, "", "on interp, sm_80"},
		{"its own", []memc.TunedKernel{elsewhere, other, fits}, "", ""},
		{"another machine", []memc.TunedKernel{elsewhere, other}, "is not used: none of its 2 records", ""},
		{"another version", []memc.TunedKernel{before}, "is not used: none of its 1 records", ""},
	} {
		file := filepath.Join(t.TempDir(), "spec.tuning")
		if err := memc.WriteTuningFile(file, c.records); err != nil {
			t.Fatal(err)
		}
		p := o
		if p.Tuning, err = memc.OpenTuning(file); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from the cache
			warned := ""
			p.Warn = func(s string) { warned += s }
			_, _, err := memc.CompileCached(t.Context(), kept, spec, p)
			if (err == nil) != (c.error == "") || err != nil && !(strings.Contains(err.Error(), c.error) && strings.Contains(err.Error(), file)) {
				t.Errorf("%s: %v", c.name, err)
			}
			if (warned == "") != (c.warned == "") || !strings.Contains(warned, c.warned) {
				t.Errorf("%s: warned %q", c.name, warned)
			}
		}
	}
}

// TestTuningServesDeeper: the kernels of a model are those of one with fewer layers,
// so that what is found for these serves it.
func TestTuningServesDeeper(t *testing.T) {
	config, err := os.ReadFile("models/passkey-allmem/config.json")
	if err != nil {
		t.Fatal(err)
	}
	texts := func(layers string) map[string]bool {
		o := memc.Options{Set: map[string]json.RawMessage{"num_hidden_layers": json.RawMessage(layers)}}
		if err := json.Unmarshal(config, &o.Config); err != nil {
			t.Fatal(err)
		}
		m, err := memc.Load("specs/allmem.spec", o)
		if err == nil {
			m, err = memc.Optimise(m, false, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := memc.Lower(m, "avx512", o)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, text := range p.Texts {
			out[memc.HashKernel(text)] = true
		}
		return out
	}
	few, many := texts("3"), texts("6")
	for hash := range many {
		if !few[hash] {
			t.Errorf("the kernel %.12s of six layers is none of three layers' %d", hash, len(few))
		}
	}
}

// TestTuningFails: sizes that do not compile give way to the next best, with a
// sentence.
func TestTuningFails(t *testing.T) {
	target := native(t)[0]
	const spec = "specs/bench/attend.spec"
	o := memc.Options{Targets: []string{target}, Set: map[string]json.RawMessage{}}
	for name, v := range map[string]string{"heads": "1", "kv_heads": "1", "head_dim": "5000", "window": "8"} {
		o.Set[name] = json.RawMessage(v)
	}
	m, err := memc.Load(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = memc.Optimise(m, false, nil); err != nil {
		t.Fatal(err)
	}
	own, err := memc.Lower(m, target, o)
	if err != nil {
		t.Fatal(err)
	}
	var list []memc.TunedKernel
	for _, text := range own.Texts {
		k := record(text, memc.Sizes{AttendQ: 1024}, memc.Sizes{AttendQ: 28}) // tiles of 5 million elements are refused
		k.Target = target
		list = append(list, k)
	}
	var warned []string
	kept, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	identity := func(tuning *memc.Tuning) string {
		o.Tuning, o.Warn = tuning, func(s string) { warned = append(warned, s) }
		a, _, err := memc.CompileCached(t.Context(), kept, spec, o)
		if err != nil {
			t.Fatal(err)
		}
		return a.Identity(&a.Targets[0])
	}
	tuning, _ := memc.NewTuning(list)
	want := identity(memc.Force(target, memc.Sizes{AttendQ: 28}))
	for i := range 2 { // the second time it comes from the cache
		if got := identity(tuning); got != want {
			t.Error("the next best sizes are not used")
		}
		if len(warned) != i+1 || !strings.Contains(warned[i], "the tuned tile sizes of attend ") || !strings.Contains(warned[i], "(query rows 1024) do not compile") {
			t.Errorf("it says %q", warned)
		}
	}
	if own := identity(nil); own == want || len(warned) != 2 {
		t.Errorf("the next best sizes are the target's own, or these fail: %q", warned)
	}
	// Where every choice fails, the target's own are left; where the spec does, it
	// is not the tuning's fault.
	for i := range list {
		list[i].Choices = list[i].Choices[:1]
	}
	warned = nil
	tuning, _ = memc.NewTuning(list)
	if got := identity(tuning); got != identity(nil) || len(warned) != 1 {
		t.Errorf("after all choices: %q", warned)
	}
}
