// Package sim runs PTX text of the kind that codegen/ptx prints, slowly and on
// no GPU: a CTA's threads one after another from barrier to barrier. It is for
// tests. Beside the result it checks what a GPU would not say: an access
// outside an allocation or not aligned, a read of a register or of shared
// memory that nothing has written, threads of a CTA that meet at different
// barriers, and a race, where a thread touches what another one has written
// since the last barrier, or writes what another one has read.
//
// Arithmetic is that of the PTX ISA, "Instruction Set", correctly rounded;
// instructions with other roundings or approximations are not known. All
// threads of a warp are independent; CTAs run one after another.
package sim

import (
	"encoding/binary"
	"fmt"
)

// Memory is a device's global memory: allocations far from each other.
type Memory struct{ segments []*segment }

type segment struct {
	name string
	base uint64
	data []byte
	seen touched
}

// Add makes memory of data, under a name for errors, and gives its address, a
// multiple of 256. Runs read and write data itself.
func (m *Memory) Add(name string, data []byte) uint64 {
	base := uint64(len(m.segments)+1) << 40
	m.segments = append(m.segments, &segment{name: name, base: base, data: data})
	return base
}

// Words makes memory of 64-bit integers.
func (m *Memory) Words(name string, words ...uint64) uint64 {
	data := make([]byte, 0, 8*len(words))
	for _, w := range words {
		data = binary.LittleEndian.AppendUint64(data, w)
	}
	return m.Add(name, data)
}

func (m *Memory) find(at uint64, size int) (*segment, int, error) {
	i := int(at>>40) - 1
	if i < 0 || i >= len(m.segments) {
		return nil, 0, fmt.Errorf("the address %#x is in no allocation", at)
	}
	s := m.segments[i]
	off := int64(at - s.base)
	if off+int64(size) > int64(len(s.data)) {
		return nil, 0, fmt.Errorf("byte %d of %s, which has %d", off, s.name, len(s.data))
	}
	if off%int64(size) != 0 {
		return nil, 0, fmt.Errorf("byte %d of %s is not aligned for %d bytes", off, s.name, size)
	}
	return s, int(off), nil
}

// touched remembers which threads used each two bytes of a piece of memory
// since the last barrier.
type touched []touch

type touch struct {
	epoch          int // of the barrier interval
	reader, writer int // thread + 1, 0 for none, many for several
}

const many = -1

// use notes an access and reports a race.
func (t *touched) use(off, size, total, epoch, thread int, write bool) error {
	if *t == nil {
		*t = make(touched, (total+1)/2)
	}
	for i := off / 2; i < (off+size+1)/2; i++ {
		u := &(*t)[i]
		if u.epoch != epoch {
			*u = touch{epoch: epoch}
		}
		if u.writer != 0 && u.writer != thread+1 {
			return fmt.Errorf("race: byte %d, which thread %d wrote since the last barrier", off, u.writer-1)
		}
		if write {
			if u.reader != 0 && u.reader != thread+1 {
				return fmt.Errorf("race: it writes byte %d, which another thread read since the last barrier", off)
			}
			u.writer = thread + 1
			continue
		}
		switch u.reader {
		case 0, thread + 1:
			u.reader = thread + 1
		default:
			u.reader = many
		}
	}
	return nil
}

// Launch says how an entry is run.
type Launch struct {
	CTAs    int
	Threads int
	Shared  int // bytes of dynamic shared memory
	Args    []uint64
	Memory  *Memory
	Steps   int // the most instructions of all threads together; 0: 1<<32
}

// cta is one running CTA.
type cta struct {
	*Program
	*Launch
	entry   *entry
	number  int
	shared  []byte
	written []bool // by byte of shared
	seen    touched
	epoch   int
	threads []thread
}

type thread struct {
	regs []uint64
	set  []bool
	pc   int
	done bool
}

// Run runs an entry. An error names the CTA, the thread and the line.
func (p *Program) Run(name string, l Launch) error {
	e := p.entries[name]
	if e == nil {
		return fmt.Errorf("sim: no entry is called %s", name)
	}
	if len(l.Args) != len(e.params) {
		return fmt.Errorf("sim: %s takes %d arguments, not %d", name, len(e.params), len(l.Args))
	}
	steps := l.Steps
	if steps == 0 {
		steps = 1 << 32
	}
	p.place(l.Memory)
	for _, s := range l.Memory.segments {
		s.seen = nil
	}
	epoch := 0
	for n := range l.CTAs {
		c := &cta{Program: p, Launch: &l, entry: e, number: n, shared: make([]byte, l.Shared), written: make([]bool, l.Shared), epoch: epoch + 1}
		c.threads = make([]thread, l.Threads)
		for i := range c.threads {
			c.threads[i] = thread{regs: make([]uint64, e.registers), set: make([]bool, e.registers)}
		}
		if err := c.run(&steps); err != nil {
			return fmt.Errorf("sim: %s, CTA %d, %w", name, n, err)
		}
		epoch = c.epoch
	}
	return nil
}

func (c *cta) run(steps *int) error {
	for {
		at, done := -1, 0
		for i := range c.threads {
			t := &c.threads[i]
			for !t.done {
				if *steps--; *steps < 0 {
					return fmt.Errorf("thread %d: it runs for too long", i)
				}
				in := &c.entry.code[t.pc]
				stop, err := c.step(i, t, in)
				if err != nil {
					return fmt.Errorf("thread %d, line %d, %s: %w", i, in.line, in.text, err)
				}
				if stop {
					break
				}
			}
			if t.done {
				done++
				continue
			}
			if at >= 0 && at != t.pc {
				return fmt.Errorf("thread %d waits at line %d, another one at line %d", i, c.entry.code[t.pc-1].line, c.entry.code[at-1].line)
			}
			at = t.pc
		}
		if done == len(c.threads) {
			return nil
		}
		if done > 0 {
			return fmt.Errorf("%d threads have ended and the others wait at line %d", done, c.entry.code[at-1].line)
		}
		c.epoch++
	}
}

// value reads an operand.
func (c *cta) value(t *thread, a *arg) (uint64, error) {
	if a.reg < 0 {
		return a.value, nil
	}
	if !t.set[a.reg] {
		return 0, fmt.Errorf("%s has no value", a.text)
	}
	return t.regs[a.reg] + a.value, nil // a.value is an address's displacement
}

// step runs one instruction; stop says that the thread waits or has ended.
func (c *cta) step(id int, t *thread, in *inst) (stop bool, err error) {
	t.pc++
	if in.guard != nil {
		p, err := c.value(t, in.guard)
		if err != nil || (p != 0) == in.negated {
			return false, err
		}
	}
	switch in.kind {
	case isBranch:
		t.pc = in.target
		return false, nil
	case isBarrier:
		return true, nil
	case isReturn:
		t.done = true
		return true, nil
	}
	var v [4]uint64
	for i := range in.args {
		a := &in.args[i]
		switch a.special {
		case "%tid.x":
			v[i] = uint64(id)
		case "%ctaid.x":
			v[i] = uint64(c.number)
		case "%nctaid.x":
			v[i] = uint64(c.CTAs)
		case "":
			if v[i], err = c.value(t, a); err != nil {
				return false, err
			}
		}
	}
	var out uint64
	switch in.kind {
	case isParam:
		out = c.Args[in.args[0].value]
	case isLoad:
		out, err = c.load(id, in, v[0])
	case isStore:
		return false, c.store(id, in, v[0], v[1])
	default:
		out = in.compute(v[0], v[1], v[2])
	}
	t.regs[in.dst], t.set[in.dst] = out, true
	return false, err
}

func (c *cta) load(id int, in *inst, at uint64) (uint64, error) {
	data, off, err := c.access(id, in, at, false)
	if err != nil {
		return 0, err
	}
	if in.shared {
		for i := range in.size {
			if !c.written[off+i] {
				return 0, fmt.Errorf("shared byte %d has not been written", off+i)
			}
		}
	}
	switch in.size {
	case 1:
		return uint64(data[off]), nil
	case 2:
		return uint64(binary.LittleEndian.Uint16(data[off:])), nil
	case 4:
		return uint64(binary.LittleEndian.Uint32(data[off:])), nil
	}
	return binary.LittleEndian.Uint64(data[off:]), nil
}

func (c *cta) store(id int, in *inst, at, v uint64) error {
	data, off, err := c.access(id, in, at, true)
	if err != nil {
		return err
	}
	if in.shared {
		for i := range in.size {
			c.written[off+i] = true
		}
	}
	switch in.size {
	case 2:
		binary.LittleEndian.PutUint16(data[off:], uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(data[off:], uint32(v))
	default:
		binary.LittleEndian.PutUint64(data[off:], v)
	}
	return nil
}

// access checks an address and notes its use.
func (c *cta) access(id int, in *inst, at uint64, write bool) ([]byte, int, error) {
	if in.shared {
		off := int64(int32(at))
		if off < 0 || off+int64(in.size) > int64(len(c.shared)) || off%int64(in.size) != 0 {
			return nil, 0, fmt.Errorf("%d bytes at shared address %d of %d", in.size, off, len(c.shared))
		}
		return c.shared, int(off), c.seen.use(int(off), in.size, len(c.shared), c.epoch, id, write)
	}
	s, off, err := c.Memory.find(at, in.size)
	if err != nil {
		return nil, 0, err
	}
	return s.data, off, s.seen.use(off, in.size, len(s.data), c.epoch, id, write)
}
