package sim

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Program is parsed text: its entries and constant tables.
type Program struct {
	entries map[string]*entry
	tables  []table
}

type table struct {
	name string
	data []byte
}

type entry struct {
	params    []string
	code      []inst
	registers int
}

// What an instruction is, apart from one that computes a register from others.
const (
	computes = iota
	isBranch
	isBarrier
	isReturn
	isParam
	isLoad
	isStore
)

type inst struct {
	line    int
	text    string
	guard   *arg
	negated bool
	kind    int
	dst     int
	args    []arg // what it reads; for a load and a store the address first
	compute func(a, b, c uint64) uint64
	size    int // of a load or store, in bytes
	shared  bool
	target  int // of a branch
}

// arg is a register (reg >= 0; value is added to it where it is an address),
// or a value.
type arg struct {
	text    string
	reg     int
	value   uint64
	special string
	table   string // value is its address, once it has one
}

// place gives the tables addresses in a memory.
func (p *Program) place(m *Memory) {
	at := map[string]uint64{}
	for _, t := range p.tables {
		at[t.name] = m.Add(t.name, t.data)
	}
	for _, e := range p.entries {
		for i := range e.code {
			for j := range e.code[i].args {
				if a := &e.code[i].args[j]; a.table != "" {
					a.value = at[a.table]
				}
			}
		}
	}
}

// Parse reads PTX text as codegen/ptx prints it; an error names the line.
func Parse(text string) (*Program, error) {
	p := &parser{Program: &Program{entries: map[string]*entry{}}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "//")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := p.line(i+1, line); err != nil {
			return nil, fmt.Errorf("sim: line %d, %s: %w", i+1, line, err)
		}
	}
	if p.entry != nil || p.table != nil {
		return nil, fmt.Errorf("sim: the text ends within an entry or a table")
	}
	return p.Program, nil
}

type parser struct {
	*Program
	entry  *entry
	name   string
	regs   map[string]int
	labels map[string]int
	jumps  map[int]string // instruction, label
	table  *table
}

var (
	entryHead = regexp.MustCompile(`^\.visible \.entry (\w+)\($`)
	paramLine = regexp.MustCompile(`^\.param \.u64 (\w+)[,)]$`)
	tableHead = regexp.MustCompile(`^\.global \.align 8 \.b64 (\w+)\[\d+\] = \{(.*)$`)
	labelLine = regexp.MustCompile(`^(\$\w+):$`)
	opLine    = regexp.MustCompile(`^(?:@(!?)(%\w+)\s+)?([\w.]+)\s*(.*);$`)
	addressOp = regexp.MustCompile(`^\[([%\w]+)(?:\+(-?\d+))?\]$`)
)

func (p *parser) line(n int, line string) error {
	switch {
	case p.table != nil:
		return p.words(line)
	case p.entry == nil:
		if m := tableHead.FindStringSubmatch(line); m != nil {
			p.table = &table{name: m[1]}
			return p.words(m[2])
		}
		if m := entryHead.FindStringSubmatch(line); m != nil {
			p.entry, p.name = &entry{}, m[1]
			p.regs, p.labels, p.jumps = map[string]int{}, map[string]int{}, map[int]string{}
			return nil
		}
		for _, known := range []string{".version ", ".target ", ".address_size 64", ".extern .shared .align 128 .b8 near[];"} {
			if strings.HasPrefix(line, known) {
				return nil
			}
		}
		return fmt.Errorf("not known")
	case line == "{", strings.HasPrefix(line, ".maxntid "), strings.HasPrefix(line, ".reg "):
		return nil
	case line == "}":
		return p.finish()
	}
	if m := paramLine.FindStringSubmatch(line); m != nil {
		p.entry.params = append(p.entry.params, m[1])
		return nil
	}
	if m := labelLine.FindStringSubmatch(line); m != nil {
		if _, twice := p.labels[m[1]]; twice {
			return fmt.Errorf("the label is set twice")
		}
		p.labels[m[1]] = len(p.entry.code)
		return nil
	}
	m := opLine.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("not an instruction")
	}
	return p.op(inst{line: n, text: line, negated: m[1] != ""}, m[2], m[3], m[4])
}

func (p *parser) words(line string) error {
	line, last := strings.CutSuffix(line, "};")
	for w := range strings.SplitSeq(line, ",") {
		if w = strings.TrimSpace(w); w == "" {
			continue
		}
		v, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return err
		}
		p.table.data = binary.LittleEndian.AppendUint64(p.table.data, uint64(v))
	}
	if last {
		p.tables = append(p.tables, *p.table)
		p.table = nil
	}
	return nil
}

func (p *parser) finish() error {
	for i, l := range p.jumps {
		target, ok := p.labels[l]
		if !ok || target >= len(p.entry.code) {
			return fmt.Errorf("%s leads nowhere", l)
		}
		p.entry.code[i].target = target
	}
	if n := len(p.entry.code); n == 0 || p.entry.code[n-1].kind != isReturn {
		return fmt.Errorf("the entry does not end in ret")
	}
	p.entry.registers = len(p.regs)
	p.entries[p.name] = p.entry
	p.entry = nil
	return nil
}

func (p *parser) register(name string) int {
	i, ok := p.regs[name]
	if !ok {
		i = len(p.regs)
		p.regs[name] = i
	}
	return i
}

func (p *parser) op(in inst, guard, mnemonic, operands string) error {
	if guard != "" {
		in.guard = &arg{text: guard, reg: p.register(guard)}
	}
	var args []arg
	if operands != "" {
		for o := range strings.SplitSeq(operands, ", ") {
			a, err := p.arg(o, mnemonic == "ld.param.u64")
			if err != nil {
				return err
			}
			args = append(args, a)
		}
	}
	space, size := access(mnemonic)
	in.size, in.shared = size, space == "shared"
	switch {
	case mnemonic == "bra":
		in.kind = isBranch
		p.jumps[len(p.entry.code)] = operands
		args = nil
	case mnemonic == "bar.sync":
		in.kind, args = isBarrier, nil
	case mnemonic == "ret":
		in.kind = isReturn
	case mnemonic == "ld.param.u64":
		in.kind = isParam
	case space != "" && strings.HasPrefix(mnemonic, "ld."):
		in.kind = isLoad
	case space != "":
		in.kind = isStore
	default:
		if in.compute = semantics[mnemonic]; in.compute == nil {
			return fmt.Errorf("the instruction is not known")
		}
	}
	if in.kind == computes || in.kind == isParam || in.kind == isLoad {
		if len(args) < 2 || args[0].reg < 0 {
			return fmt.Errorf("it must write a register")
		}
		in.dst, args = args[0].reg, args[1:]
	}
	if len(args) > 3 {
		return fmt.Errorf("too many operands")
	}
	in.args = args
	p.entry.code = append(p.entry.code, in)
	return nil
}

// access gives the space and size of a load or store.
func access(mnemonic string) (space string, size int) {
	parts := strings.Split(mnemonic, ".")
	if len(parts) != 3 || parts[0] != "ld" && parts[0] != "st" || parts[1] != "shared" && parts[1] != "global" {
		return "", 0
	}
	return parts[1], map[string]int{"u8": 1, "b16": 2, "u32": 4, "f32": 4, "u64": 8}[parts[2]]
}

func (p *parser) arg(o string, isParam bool) (arg, error) {
	a := arg{text: o, reg: -1}
	if m := addressOp.FindStringSubmatch(o); m != nil {
		if isParam {
			for i, name := range p.entry.params {
				if name == m[1] {
					a.value = uint64(i)
					return a, nil
				}
			}
			return a, fmt.Errorf("no parameter is called %s", m[1])
		}
		if m[2] != "" {
			v, err := strconv.ParseInt(m[2], 10, 32)
			if err != nil {
				return a, err
			}
			a.value = uint64(v)
		}
		a.reg = p.register(m[1])
		return a, nil
	}
	switch {
	case strings.HasSuffix(o, ".x"):
		a.special = o
	case strings.HasPrefix(o, "%"):
		a.reg = p.register(o)
	case strings.HasPrefix(o, "0f"):
		v, err := strconv.ParseUint(o[2:], 16, 32)
		if err != nil {
			return a, err
		}
		a.value = v
	case o == "near" || strings.HasPrefix(o, "$"):
	case strings.HasPrefix(o, "_"):
		a.table = o
	default:
		v, err := strconv.ParseInt(o, 10, 64)
		if err != nil {
			return a, err
		}
		a.value = uint64(v)
	}
	return a, nil
}
