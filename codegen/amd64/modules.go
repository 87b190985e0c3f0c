package amd64

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"

	"github.com/memc-lang/memc/ir/kernel"
)

// split divides kernels among modules that are assembled at the same time, beside
// the one of what they call. Where modules of other programs are known each kernel has
// its own, unless so many would not pay for llc's starts. The result depends on nothing
// else.
func split(ks []*kernel.Kernel, known bool) (shards [][]*kernel.Kernel) {
	const modules, apart, many = 2, 4, 300
	if known && len(ks) <= many {
		for _, k := range ks {
			shards = append(shards, []*kernel.Kernel{k})
		}
		return shards
	}
	if len(ks) < apart {
		return [][]*kernel.Kernel{ks}
	}
	size := func(k *kernel.Kernel) (n int) {
		for _, p := range k.Parts {
			statements(p.Body, func(kernel.Stmt) { n++ })
		}
		return n
	}
	shards = make([][]*kernel.Kernel, modules)
	var load [modules]int
	for _, k := range ks {
		to := 0
		for i := range load {
			if load[i] < load[to] {
				to = i
			}
		}
		shards[to] = append(shards[to], k)
		load[to] += size(k)
	}
	return shards
}

// cut gives the functions of each module that m is assembled as: the kernels of each
// shard, and all that is no kernel, by its name, in a module of its own (alone, where
// each may be known from another program) behind them.
func (m *module) cut(shards [][]*kernel.Kernel, alone bool) [][]*ir.Func {
	of := map[string]int{}
	for i, shard := range shards {
		for _, k := range shard {
			of[k.Name] = i
		}
	}
	groups := make([][]*ir.Func, len(shards))
	var rest []*ir.Func
	for _, f := range m.m.Funcs {
		if len(f.Blocks) == 0 {
			continue
		}
		if i, ok := of[f.Name()]; ok {
			groups[i] = append(groups[i], f)
			continue
		}
		if f.Linkage == enum.LinkageInternal { // seen by the other modules, and by nobody else
			f.Linkage, f.Visibility = enum.LinkageNone, enum.VisibilityHidden
		}
		rest = append(rest, f)
	}
	slices.SortFunc(rest, func(a, b *ir.Func) int { return strings.Compare(a.Name(), b.Name()) })
	if !alone {
		return append(groups, rest)
	}
	for _, f := range rest {
		groups = append(groups, []*ir.Func{f})
	}
	return groups
}

// anyKernel is what a kernel is called in a module that is kept for others.
const anyKernel = "kernel"

// note is a comment on a line of its own.
var note = regexp.MustCompile(`(?m)^[ \t]*;.*\n`)

// anonymous is the text of a module of one kernel without its name and its notes: what
// kernels of other programs may have too.
func anonymous(text, name string) string {
	return note.ReplaceAllString(strings.ReplaceAll(text, "@"+name+"(", "@"+anyKernel+"("), "")
}

// global is a name of LLVM IR that a whole module knows.
var global = regexp.MustCompile(`@[-a-zA-Z$._0-9]+`)

// text is a module of these functions of m, with what they refer to.
func (m *module) text(fs []*ir.Func) string {
	var body strings.Builder
	here := map[string]bool{}
	for _, f := range fs {
		here[f.Ident()] = true
		fmt.Fprintf(&body, "\n%s\n", f.LLString())
	}
	named := map[string]bool{}
	for _, name := range global.FindAllString(body.String(), -1) {
		named[name] = !here[name]
	}
	var head strings.Builder
	fmt.Fprintf(&head, "target triple = %q\n\n", m.m.TargetTriple)
	for _, g := range m.m.Globals {
		if named[g.Ident()] {
			fmt.Fprintln(&head, g.LLString())
		}
	}
	for _, f := range m.m.Funcs {
		if !named[f.Ident()] {
			continue
		}
		params := make([]*ir.Param, len(f.Sig.Params))
		for i, t := range f.Sig.Params {
			params[i] = ir.NewParam("", t)
		}
		d := ir.NewFunc(f.Name(), f.Sig.RetType, params...)
		d.FuncAttrs, d.Visibility = f.FuncAttrs, f.Visibility
		fmt.Fprintln(&head, d.LLString())
	}
	return head.String() + body.String()
}
