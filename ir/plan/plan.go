// Package plan is what a runtime executes: buffers, the integers of a call, and
// the steps of each entry point. One plan serves one target; it holds no code.
//
// A call feeds n rows of the base clock, 1 <= n <= Slab, beginning at row pos.
// Before it runs, the runtime evaluates every integer that kernels read and
// writes them into the call descriptor: record 0 for the call, and one record
// for each turn of each loop. A record is Plan.Record int64 values; Slot
// numbers index it. Native code only reads descriptors.
package plan

import (
	"slices"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
	"github.com/memc-lang/memc/ir/kernel"
)

// Elem is an element type of memory, as kernels name it.
type Elem = kernel.Elem

// The element types.
const (
	F32  = kernel.F32
	BF16 = kernel.BF16
	F16  = kernel.F16
	I32  = kernel.I32
	I64  = kernel.I64
	Bool = kernel.Bool
	Q8   = kernel.Q8
	Q4   = kernel.Q4
)

// Quantisable reports whether a weight may hold x where it is stored as Q8 or Q4.
func Quantisable(x float32) bool { return elem.Quantisable(x) }

// ScaleBytes is the number of bytes of a scale of Q8 and Q4.
const ScaleBytes = elem.ScaleBytes

// Class says who owns a buffer's memory and how long it lives.
type Class uint8

// The classes.
const (
	Weight Class = iota // filled once from the weights; shared by sessions; read only
	Table               // constant data that the compiler computed; read only
	State               // lives from call to call; one copy a session
	Temp                // lives within a call, at Offset in the session's arena
	Input               // filled by the caller before a call
	Output              // read by the caller after a call
	Probe               // f32 [turns of its loop]; element i is written by turn i where the loop's Done slot is 1
)

var classes = [...]string{"weight", "table", "state", "temp", "input", "output", "probe"}

func (c Class) String() string { return classes[c] }

// Init says how a weight is drawn when there is no file: see runtime's Draw.
type Init struct {
	Kind  string  // "zeros", "const", "normal", "uniform"
	Scale float64 // const: the value; normal: the standard deviation; uniform: the bound
}

// Buffer is one tensor in memory. Layout (Dims, Panel, Pairs) is as in kernel.Buf.
type Buffer struct {
	Name  string
	Class Class
	Elem  Elem
	Dims  []int // Dims[0] of a growing state is the number of rows at the start
	Panel int
	Pairs bool // Weight

	Bytes  int64 // capacity, without the 64 readable bytes behind it
	Offset int64 // Temp, Input, Output, Probe: place in the arena, a multiple of 64

	Tensor string // Weight: the tensor's name in a checkpoint, its shape is Shape
	Shape  []int  // Weight: the checkpoint's shape; the buffer's elements in row-major order of Dims
	Init   Init   // Weight: how to draw it

	Data []byte // Table: the contents, little-endian, in the buffer's layout

	From int        // State: the buffer (Weight) that it starts as a copy of, or -1: filled with Fill
	Fill float64    // State: the starting value
	Grow *ints.Expr // State: how many of Dims[0] a call needs, over call slots; nil: fixed
	Loop string     // Probe: the loop whose turns write it
}

// Slot is a named integer of the call descriptor.
type Slot struct {
	Name string
	Expr *ints.Expr // over "pos", "n", carried lengths, and slots before it; nil: the variable of its name
}

// A slot without an expression holds the variable of its own name. In a call's
// record these are pos, n, every carried length as the call finds it, and for a
// loop called l the slots "l.first" and "l.turns": its first record and the
// number of its turns. In a turn's record they are turn, done (the loop's Done)
// and the loop's carried lengths as the turn finds them. A turn's record begins
// with a copy of the call's; its own slots follow, and its names hide the call's.

// Carry is a length that a session keeps from call to call (a bounded state's
// number of valid rows). In a loop's turn, its name gives the value before the
// turn's write.
type Carry struct {
	Name  string
	Start int64
	Next  *ints.Expr // the value after a turn whose Done is 1
}

// Loop runs its steps once for each turn: the pieces into which the borders of
// a scan's chunks cut a call. "turn" is the number of the turn, from 0.
type Loop struct {
	Name  string
	Turns *ints.Expr // over call slots
	Max   int        // the most turns a call of Slab rows can have
	Slots []Slot     // over call slots, "turn", the carried lengths, and slots before it
	Done  *ints.Expr // over the same and Slots: 1 where the turn completes its chunk
	Carry []Carry
}

// Kind is the kind of a step.
type Kind uint8

// The kinds of step.
const (
	Launch Kind = iota // run a kernel over its grid
	Repeat             // run Steps once for each turn of Loop
	If                 // run Steps where the slot Cond is not 0
	Beside             // run the first of Steps, a launch, beside the others
)

// Step is one step of an entry point. Steps run one after another; all blocks
// of a launch have finished before the next step begins. Only the first of the
// steps of a Beside, which has nothing to do with the others, may run at any time
// until the last of them has finished: its blocks are for who would else wait.
type Step struct {
	Kind   Kind
	Kernel string // Launch: the kernel's name
	Bufs   []int  // Launch: the buffer of each of the kernel's Bufs
	Slots  []int  // Launch: the record slot of each of the kernel's Ints
	Loop   int    // Repeat
	Cond   int    // If: the record slot
	From   int    // Beside: from so many workers on; fewer run Steps one after another
	Steps  []Step // Repeat, If, Beside
	Note   string // where in the spec it comes from
}

// Port is an input or output of an entry point. Rows is the number of valid
// rows (of Dims[0]) in a call as an expression over call slots, nil where all.
type Port struct {
	Name   string
	Buffer int
	Elem   Elem
	Dims   []int    // Dims[0] is the capacity in rows where Rows is given
	Names  []string // the dimensions' names
	Rows   *ints.Expr
	Below  int64 // input of integers, above 0: every value v must have 0 <= v < Below
	Clock  bool  // rows follow the base clock: pieces of a stream are concatenated; else the last call's value counts
}

// Entry is an entry point.
type Entry struct {
	Name    string
	Doc     string
	Inputs  []Port
	Outputs []Port
	Steps   []Step
}

// Param is what a kernel declares about one of its buffers: as in kernel.Buf,
// Dims[0] is 0 where the kernel does not know it.
type Param struct {
	Elem  Elem
	Dims  []int
	Panel int
	Pairs bool
	Write bool
}

// Signature is what a kernel expects of a launch. The verifier compares it
// with every launch, so that no kernel is given less memory than it declares.
type Signature struct {
	Bufs []Param
	Ints int // how many
}

// SignatureOf is what a kernel declares.
func SignatureOf(k *kernel.Kernel) Signature {
	g := Signature{Ints: len(k.Ints)}
	for _, b := range k.Bufs {
		g.Bufs = append(g.Bufs, Param{b.Elem, b.Dims, b.Panel, b.Pairs, b.Write})
	}
	return g
}

// Plan is a program for one target.
type Plan struct {
	Target  string
	Slab    int // the most rows of the base clock in one call
	Arena   int64
	Buffers []Buffer
	Slots   []Slot // the call's; the first two are pos and n
	Record  int    // slots of a record: the call's, then the widest loop's
	Loops   []Loop
	Kernels []string // names, in the order of the code's table
	Entries []Entry

	Signatures []Signature // one for each of Kernels, or none at all: launches are then not checked
}

// Signature is what a kernel declares; nothing where the plan does not say it.
func (p *Plan) Signature(kernel string) Signature {
	if i := slices.Index(p.Kernels, kernel); i >= 0 && i < len(p.Signatures) {
		return p.Signatures[i]
	}
	return Signature{}
}

// In the native ABI every kernel is a function
//
//	void kernel(void **bufs, const int64 *slots, const int64 *record, void *scratch, int64 worker, int64 workers, int64 *pieces)
//
// that runs its share of the blocks: value i of the kernel's Ints is
// record[slots[i]]. Where pieces is not null, a worker may leave some of its share of
// the kernel's first OpenParts parts to those who are free first: they count in
// pieces[part] what is taken. In the 64 bytes before scratch lies a NativeHost. The code has two functions more. One walks a step list:
//
//	void walk(const NativeStep *steps, int64 count, const int64 *records, int64 record_len, void *scratch, int64 worker, int64 workers, NativeBarrier *barrier)
//
// with a barrier behind launches that are not open, records[0] being the call's and loop turns
// reading their own; all workers call it together. The other is a worker's life:
//
//	void work(NativeTeam *team, int64 worker)
//
// waits for a call, does its part, and waits for the next, until a call is a JobEnd. The
// walk that is called may be another program's.

// NativeHost is what suits the processor that kernels run on.
type NativeHost struct {
	// Ahead is how many steps of k products of few rows fetch their right operand before
	// its use; 0: the processor does it better by itself. No result depends on it.
	Ahead int64
}

// HostBytes is the bytes before a worker's scratch that are kept for a NativeHost.
const HostBytes = 64

// NativeStep is a step as the generated walker reads it: eight int64 fields.
// A launch has Fn, Bufs and Slots; A is 1 where it is open, and B its place, below 0
// where it is OpenLaunches or more (see Link). A Repeat runs the Body steps that follow it
// once for each of records First, First+1, ...: record 0's slots A and B hold
// First and the number of turns. An If runs the Body steps that follow it
// where slot A of the current record is not 0. A Beside has A, its From, and
// Body steps.
type NativeStep struct {
	Kind  int64 // Launch, Repeat, If, Beside
	Fn    uintptr
	Bufs  uintptr
	Slots uintptr
	A, B  int64
	Body  int64
	_     int64
}

// OpenParts is how many of a kernel's parts may be shared out while they run, and
// OpenLaunches of how many launches until workers wait for each other.
const OpenParts, OpenLaunches = 4, 4

// NativeBarrier is the workers' meeting point: counters in cache lines of their
// own. All zero at the start. In a Beside, workers claim launches piece by piece and
// count what they have finished; Side is for its first step. Pieces are those of the
// launches by their places, and zero again when workers have waited.
type NativeBarrier struct {
	Arrived, Round Count
	Claimed, Done  Count
	Side           struct{ Claimed, Done Count }
	Pieces         [OpenLaunches][OpenParts]int64
}

// NativeTeam is where those who call and the workers beside them, which are in work,
// meet. Who calls sets Job and what it needs, then Left to the number of the other
// workers, adds 1 to Calls, wakes those who are Asleep (futex(2) at Calls) and does a
// part as worker 0. Everything may be changed again when Left is 0; who sleeps until
// then (futex at Left) sets Waiting.
type NativeTeam struct {
	Calls   Count // calls begun
	Left    Count // other workers that are not done with the call
	Asleep  Count // workers that sleep, or are about to
	Waiting Count
	Job     int64 // JobWalk, JobCopy or JobEnd

	// The arguments of walk, of which Scratch is worker 0's and Stride the way from
	// one worker's to the next.
	Steps       uintptr
	Count       int64
	Records     uintptr
	Record      int64
	Scratch     uintptr
	Stride      int64
	Workers     int64
	Barrier     uintptr
	To, From    uintptr // JobCopy: every worker but the last has Share bytes, the last one Rest
	Share, Rest int64
	Walk        uintptr // of the caller's program, which need not be that of the workers' code
}

// What a call of a NativeTeam is.
const (
	JobWalk int64 = iota // steps
	JobCopy              // bytes that do not overlap
	JobEnd               // work returns
)

// Count is a counter with a cache line of its own.
type Count struct {
	N int64
	_ [7]int64
}
