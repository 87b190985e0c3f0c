package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/runtime/cache"
)

type tuneCmd struct {
	Spec     string         `arg:"" optional:"" help:"A spec, an artifact (.memc), or a model folder; not needed by --list, which with one lists its kernels' records alone, and --prune."`
	Set      []string       `sep:"none" placeholder:"K=V" help:"Set a parameter of the spec; the value is JSON. May be repeated."`
	Config   string         `placeholder:"FILE" help:"A JSON object with values for the spec's parameters; other keys are ignored."`
	Quantize string         `placeholder:"Q" help:"Store the weights of products as q8 or q4."`
	Products string         `placeholder:"T" help:"Round the operands of products to bf16, or those of quantised weights to q8; f32 leaves them."`
	Cache    string         `placeholder:"T" help:"Keep the keys and values of attention as f32, bf16, f16 or q8."`
	Target   string         `placeholder:"T" help:"The target to tune; without it the fastest that this machine has."`
	Threads  *int           `placeholder:"N" help:"Threads of a call; without it one for each processor."`
	Tokens   *int64         `placeholder:"N" help:"Time calls of N tokens, and calls of one token behind them (512)."`
	Budget   *time.Duration `placeholder:"TIME" help:"About how long to search (60s)."`
	Out      string         `short:"o" placeholder:"FILE" help:"Write the records of this spec to a file too, to commit and give to --tuning."`
	List     bool           `help:"List what was found on this machine and others that share the folder."`
	Prune    bool           `help:"Remove records of other versions of memc, and damaged ones."`
}

// Help is what memc tune --help says beside its flags.
func (tuneCmd) Help() string {
	return "What is found is kept beside the cache, and used whenever a spec is compiled here (--tuning off does without). Results stay the same to the bit."
}

// tunedReport is what was found for one kernel.
type tunedReport struct {
	Kernel   string  `json:"kernel"` // its name under the target's own sizes
	Schedule string  `json:"schedule"`
	Default  float64 `json:"default_seconds"` // of a round
	Tuned    float64 `json:"tuned_seconds"`
	Changed  string  `json:"changed,omitempty"` // empty: the target's own sizes are best
}

type tuneReport struct {
	Spec    string        `json:"spec"`
	Target  string        `json:"target"`
	Machine string        `json:"machine"`
	Dir     string        `json:"dir"`
	Tried   int           `json:"tried"`   // sets of sizes
	Of      int           `json:"of"`      // as many as there are
	Check   []entryCheck  `json:"check"`   // of the target's own sizes, whose bits all others have
	Refused []string      `json:"refused"` // sizes that did not compile, or gave other results
	Default float64       `json:"default_seconds"`
	Tuned   float64       `json:"tuned_seconds"`
	Kernels []tunedReport `json:"kernels"`
}

func (c *tuneCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.List || c.Prune {
		return c.records(a)
	}
	dir, known, err := c.places(a)
	if err != nil {
		return err
	}
	t, err := c.tuner(a, dir, known)
	if err != nil {
		return err
	}
	defer t.close()
	err = t.search()
	stopped := errors.Is(err, context.Canceled)
	if err != nil && !stopped {
		return err
	}
	if c.Out != "" {
		if err := memc.WriteTuningFile(c.Out, t.records()); err != nil {
			return err
		}
	}
	r := t.report()
	if err := a.print(r, func(w io.Writer) { r.text(w) }); err != nil {
		return err
	}
	return err // where it was stopped, after what was finished
}

func (c *tuneCmd) check() error {
	switch {
	case c.List && c.Prune:
		return usage("--list and --prune are two commands")
	case c.Prune && c.Spec != "":
		return usage("--prune is about all records: it takes no spec")
	case (c.List || c.Prune) && c.searches():
		return usage("--list and --prune search nothing: --tokens, --budget, --threads and -o have no effect on them")
	case (c.List || c.Prune) && c.Spec == "" && c.describes():
		return usage("--list and --prune search nothing: flags that say what a spec is compiled to need one, whose records --list shows")
	case c.List || c.Prune:
		return nil
	case c.Spec == "":
		return usage("memc tune needs a spec, or --list or --prune")
	}
	if c.Budget == nil {
		d := time.Minute
		c.Budget = &d
	}
	if c.Tokens == nil {
		n := int64(512)
		c.Tokens = &n
	}
	switch {
	case *c.Budget <= 0:
		return usage("--budget %s: a search takes time", c.Budget)
	case *c.Tokens < 1 || *c.Tokens > 1<<16:
		return usage("--tokens %d: from 1 to %d can be timed", *c.Tokens, 1<<16)
	case samePath(c.Out, c.Spec):
		return usage("-o %s would replace what is tuned", c.Out)
	}
	if err := checkThreads(c.Threads); err != nil {
		return err
	}
	return c.aim()
}

// searches reports whether flags say how to search, or where to write what is found.
func (c *tuneCmd) searches() bool {
	return c.Tokens != nil || c.Budget != nil || c.Threads != nil || c.Out != ""
}

// describes reports whether flags say what is tuned.
func (c *tuneCmd) describes() bool {
	return len(c.Set) > 0 || c.Config != "" || c.Quantize != "" || c.Products != "" || c.Cache != "" || c.Target != ""
}

// places finds out, before anything is searched, that what will be found can be
// written. dir is the folder of records, empty where nothing is kept, and known are
// those in it.
func (c *tuneCmd) places(a *app) (dir string, known []memc.TunedKernel, err error) {
	if err := writable(c.Out); err != nil {
		return "", nil, err
	}
	kept, err := cache.Default()
	if err == nil {
		dir = memc.TuningDir(kept)
		if dir == "" && c.Out == "" {
			return "", nil, usage("the cache is off (%s), so that nothing that is found can be kept: give -o FILE", cache.Variable)
		}
		if dir == "" {
			return "", nil, nil
		}
		if known, _, err = memc.ReadTuningDir(dir); err == nil {
			err = memc.CheckTuningDir(dir)
		}
	}
	if err == nil {
		return dir, known, nil
	}
	return "", known, c.unkept(a, err)
}

// unkept gives up keeping records where there is a file for them.
func (c *tuneCmd) unkept(a *app, why error) error {
	if c.Out == "" {
		return fmt.Errorf("%w; with -o FILE what is found is written there", why)
	}
	a.warn(fmt.Sprintf("what is found is written to %s alone: %v", c.Out, why))
	return nil
}

// records lists or prunes what was found.
func (c *tuneCmd) records(a *app) error {
	kept, err := cache.Default()
	if err != nil {
		return err
	}
	dir := memc.TuningDir(kept)
	if dir == "" {
		return usage("the cache is off (%s), and the records of tuning with it", cache.Variable)
	}
	if c.Prune {
		return c.prune(a, dir)
	}
	return c.list(a, dir)
}

func (c *tuneCmd) source() source {
	return source{Spec: c.Spec, Set: c.Set, Config: c.Config, Quantize: c.Quantize, Products: c.Products, Cache: c.Cache, Tuning: "off"}
}

// aim chooses the target where no flag does, and refuses those that are not tuned.
func (c *tuneCmd) aim() error {
	if c.Target == "" {
		c.Target = memc.HostTargets()[0]
	}
	if !memc.Processor(c.Target) {
		return usage("--target %s: only code for processors is tuned: %s", c.Target, strings.Join(memc.Groups["cpu"], ", "))
	}
	return nil
}

// kernels are the hashes of the spec's kernels, by which records know them.
func (c *tuneCmd) kernels() (map[string]bool, error) {
	if err := c.aim(); err != nil {
		return nil, err
	}
	s := c.source()
	in, err := s.open()
	if err != nil {
		return nil, err
	}
	m, err := in.module()
	if err != nil {
		return nil, err
	}
	if m, err = memc.Optimise(m, false, nil); err != nil {
		return nil, err
	}
	p, err := memc.Lower(m, c.Target, in.options([]string{c.Target}))
	if err != nil {
		return nil, err
	}
	hashes := map[string]bool{}
	for _, text := range p.Texts {
		hashes[memc.HashKernel(text)] = true
	}
	return hashes, nil
}

func (c *tuneCmd) prune(a *app, dir string) error {
	n, err := memc.PruneTuning(dir)
	if err != nil {
		return err
	}
	r := struct {
		Dir     string `json:"dir"`
		Removed int    `json:"removed"`
	}{dir, n}
	return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "%s: %d records removed\n", dir, n) })
}

func (c *tuneCmd) list(a *app, dir string) error {
	list, faulty, err := memc.ReadTuningDir(dir)
	if err != nil {
		return err
	}
	if c.Spec != "" {
		kernels, err := c.kernels()
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(k memc.TunedKernel) bool { return k.Target != c.Target || !kernels[k.Kernel] })
	}
	r := struct {
		Dir     string             `json:"dir"`
		Kernels []memc.TunedKernel `json:"tuned"`
		Faulty  []string           `json:"faulty"`
	}{dir, append([]memc.TunedKernel{}, list...), []string{}}
	for _, err := range faulty {
		r.Faulty = append(r.Faulty, err.Error())
	}
	slices.Sort(r.Faulty)
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d records\n", dir, len(list))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, k := range list {
			best := "the target's own sizes"
			if len(k.Choices) > 0 {
				best = fmt.Sprintf("%s: %.0f %% of the time", k.Choices[0].Sizes, 100*k.Choices[0].Time)
			}
			fmt.Fprintf(t, "%s %.12s\t%s\tmemc %s\t%s\t%s\n", k.Schedule, k.Kernel, k.Target, k.Compiler, k.Machine, best)
		}
		t.Flush()
		for _, f := range r.Faulty {
			fmt.Fprintln(w, f)
		}
	})
}

func (r *tuneReport) text(w io.Writer) {
	fmt.Fprintf(w, "%s on %s (%s): %d of %d sets of sizes tried\n", r.Spec, r.Target, r.Machine, r.Tried, r.Of)
	for _, c := range r.Check {
		fmt.Fprintf(w, "%s %s\n", c.Entry, c)
	}
	for _, s := range r.Refused {
		fmt.Fprintln(w, "refused: "+s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kernel\tdefault ms\ttuned ms\tchanged")
	for _, k := range r.Kernels {
		changed := k.Changed
		if changed == "" {
			changed = "-"
		}
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%s\n", k.Kernel, 1e3*k.Default, 1e3*k.Tuned, changed)
	}
	t.Flush()
	if r.Tuned > 0 {
		fmt.Fprintf(w, "together %.3f ms by default, %.3f tuned: %.1f %% less\n", 1e3*r.Default, 1e3*r.Tuned, 100*(1-r.Tuned/r.Default))
	}
	if r.Dir != "" {
		fmt.Fprintf(w, "kept in %s\n", strings.TrimSuffix(r.Dir, "/"))
	}
}
