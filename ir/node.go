package ir

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/memc-lang/memc/ir/elem"
	"github.com/memc-lang/memc/ir/ints"
)

// Node is one value: an operator applied to values. Nodes are immutable and
// interned by their Builder: equal means the same pointer.
type Node struct {
	Op   *Op
	Type Type
	Args []*Node
	Attr Attr
	Body *Region // scan only
	ID   int     // order of creation in the builder: arguments before users

	at []Pos
}

// Pos gives every place of the spec that the node comes from.
func (n *Node) Pos() []Pos { return n.at }

// Attr holds an op's attributes; each op's row says which ones it has.
type Attr struct {
	Name   string     // what a leaf, a state, a scan, an attend is called
	Value  float64    // const, attend: the factor of the scores
	Over   []string   // sum, maximum, dot: the dimensions summed
	Dims   []Dim      // leaves: the type's dimensions; view, expand: the new ones
	Elem   elem.Type  // leaves, cast
	Dim    string     // slice, pad, concat, turns, iota, grad, rename
	Start  int        // slice, pad, result: the first; shift: by how many
	Size   int        // slice, pad, tail
	Ints   []int64    // table, turns, rows
	Floats []float64  // table; attend: the slope of each head's bias
	Where  *ints.Expr // attend: the mask, over i (query row), j (key row), and i.n, j.n (see RowVar)
	Linear bool       // attend: scores weigh as they are, no softmax
	Cap    float64    // attend: scores s become cap·tanh(s/cap); 0: they stay
	Init   Init       // weight
	Clock  *Clock     // index, chunk.index, prefix, suffix, take
	Keep   Keep       // keep
}

// Keep says what a history may forget; see ops attend and keep.
type Keep struct {
	Ring  int  // at least the last Ring rows are kept (0: none for being recent)
	Pin   int  // the first Pin rows are kept
	Chunk bool // all rows of the running chunk are kept, at most Ring of them
	Block int  // above 0: of these only the rows of blocks not yet complete; see Added
	All   bool // nothing may be forgotten: the history grows
}

func (k Keep) String() string {
	switch {
	case k.All:
		return "all"
	case k.Chunk && k.Block > 0:
		return fmt.Sprintf("chunk %d block %d", k.Ring, k.Block)
	case k.Chunk:
		return fmt.Sprintf("chunk %d", k.Ring)
	}
	return fmt.Sprintf("ring %d pin %d", k.Ring, k.Pin)
}

// Region is the body of a scan. Before streaming is derived it describes a whole
// chunk: Rows are computed for every chunk, Next and Probes for complete ones.
// After it, Rows are computed for each piece of a chunk that a call brings, and
// Write, run when a chunk completes, has the next states instead. Where Block is
// above 0, sums over the chunk's rows are states that grow while it is read:
// Write.Sums are run whenever blocks of rows are complete.
type Region struct {
	Clock  *Clock   // the chunk's rows
	Params []*Node  // op param: the scan's arguments, cut into chunks
	States []*Node  // op state
	Init   []*Node  // the first value of each state: clock-free
	Rows   []*Node  // results over Clock
	Next   []*Node  // the next value of each state; nil for one that never changes
	Lens   []Length // lengths of bounded states
	Probes []Probe
	Kept   []*Node // after streaming: op keep, histories that Write alone reads
	Groups []Group // after fuse: of Rows and Kept; Write has its own
	Adding []Group // after fuse: of a Write's Sums, where the chunk is not complete
	Block  int     // after streaming: the rows of a block of the chunk, see Added; 0: there are none
	Write  *Region // after streaming: op kept gives it the whole chunk's rows, or those of the complete blocks
	Sums   []*Node // of a Write: what each state becomes where blocks are complete; nil for one that they leave
}

// Length is a bounded state's number of rows: Start, then Next after each write.
type Length struct {
	Name  string
	Start int64
	Max   int64
	Next  *ints.Expr // over the region's lengths
}

// Probe is a named scalar that a run shows once a chunk.
type Probe struct {
	Name  string
	Value *Node
}

// Output is a named result of an entry point.
type Output struct {
	Name string
	Node *Node
}

// Group is a set of nodes that one kernel will compute.
type Group struct {
	Kind  string  // the schedule: map, contract, attend, recur, hybrid
	Nodes []*Node // in order of dependence
	From  int     // hybrid: from so many workers on it is faster than its parts apart; 0: in one launch
	Why   string  // what was counted to choose the schedule, where there was a choice
}

// Graph is one entry point.
type Graph struct {
	Name    string
	Doc     string // the spec's own words above the entry
	Base    *Clock
	Clocks  []*Clock // every clock in use, parents first
	Inputs  []*Node
	Outputs []Output
	Groups  []Group // after fuse
	B       *Builder
}

// Module is an elaborated spec.
type Module struct {
	Spec    string // file name of the spec
	Doc     string
	Params  []Param
	Entries []*Graph
}

// Param is a parameter of a spec with the value it has here, as JSON.
type Param struct {
	Name, Type, Value, Doc string
}

// Builder makes and interns nodes.
type Builder struct {
	table map[string]*Node
	nodes int
	At    []Pos // positions given to the nodes made next
}

// NewBuilder gives an empty builder.
func NewBuilder() *Builder { return &Builder{table: map[string]*Node{}} }

// Make gives the node op(args) with these attributes, checking operands and
// inferring its type. An error says what was expected and what was found.
func (b *Builder) Make(op string, attr Attr, args ...*Node) (*Node, error) {
	return b.make(op, attr, nil, args)
}

// Must is Make for operands that are right by construction; a fault is a bug of
// the compiler, reported as such by the pass runner.
func (b *Builder) Must(op string, attr Attr, args ...*Node) *Node {
	n, err := b.make(op, attr, nil, args)
	if err != nil {
		panic(fmt.Errorf("ir: %s: %w", op, err))
	}
	return n
}

// Scan makes a scan over xs, whose chunks are the body's Params in order.
func (b *Builder) Scan(name string, body *Region, xs ...*Node) (*Node, error) {
	return b.make("scan", Attr{Name: name}, body, xs)
}

func (b *Builder) make(op string, attr Attr, body *Region, args []*Node) (*Node, error) {
	o, ok := Ops[op]
	if !ok {
		return nil, fmt.Errorf("there is no op %q", op)
	}
	if !o.Variadic && len(args) != len(o.Operands) {
		return nil, fmt.Errorf("%s takes %d operands (%s), not %d", op, len(o.Operands), strings.Join(o.Operands, ", "), len(args))
	}
	n := &Node{Op: o, Args: args, Attr: attr, Body: body}
	t, err := o.Type(n)
	if err != nil {
		return nil, err
	}
	n.Type = t
	key := n.key()
	if old, ok := b.table[key]; ok {
		for _, p := range b.At {
			if !slices.Contains(old.at, p) {
				old.at = append(old.at, p)
			}
		}
		return old, nil
	}
	n.ID = b.nodes
	b.nodes++
	n.at = slices.Clone(b.At)
	b.table[key] = n
	return n, nil
}

// key is a text that two nodes share exactly when they are the same value: op,
// attributes and operands, each word with its length. It is made for every node
// of every pass, so it is put together without package fmt where it can be.
func (n *Node) key() string {
	a := &n.Attr
	key := make([]byte, 0, 256)
	number := func(x int64) { key = append(strconv.AppendInt(key, x, 10), ' ') }
	word := func(s string) { number(int64(len(s))); key = append(key, s...) }
	word(n.Op.Name)
	word(a.Name)
	number(int64(math.Float64bits(a.Value)))
	number(int64(len(a.Over)))
	for _, s := range a.Over {
		word(s)
	}
	number(int64(a.Elem))
	word(a.Dim)
	number(int64(a.Start))
	number(int64(a.Size))
	number(int64(len(a.Ints)))
	for _, x := range a.Ints {
		number(x)
	}
	number(int64(len(a.Floats)))
	for _, x := range a.Floats {
		number(int64(math.Float64bits(x)))
	}
	number(int64(math.Float64bits(a.Cap)))
	if a.Where != nil {
		word(a.Where.String())
	}
	if a.Linear || a.Init != (Init{}) || a.Keep != (Keep{}) || a.Clock != nil || n.Body != nil {
		key = fmt.Appendf(key, "%v %v %v %p %p ", a.Linear, a.Init, a.Keep, a.Clock, n.Body)
	}
	key = append(key, '|')
	number(int64(len(a.Dims)))
	number(int64(n.Type.Elem))
	for _, d := range n.Type.Dims {
		word(d.Name)
		number(int64(d.Size))
		switch {
		case d.Clock != nil:
			key = fmt.Appendf(key, "%p %v ", d.Clock, d.Past)
		case d.Len != nil:
			word(d.Len.String())
		}
	}
	key = append(key, '|')
	for _, x := range n.Args {
		number(int64(x.ID))
	}
	return string(key)
}

// Postorder lists every node that roots depend on, arguments first, each once,
// in an order that depends on structure alone. Bodies of scans are not entered.
func Postorder(roots ...*Node) []*Node {
	var out []*Node
	seen := map[*Node]bool{}
	var visit func(*Node)
	visit = func(n *Node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, a := range n.Args {
			visit(a)
		}
		out = append(out, n)
	}
	for _, r := range roots {
		visit(r)
	}
	return out
}

// Roots gives the nodes of a region that nothing in it may drop.
func (r *Region) Roots() []*Node {
	return slices.Concat(r.Rows, r.Kept, r.Ends(), r.Adds())
}

// Ends gives the nodes of Next and Probes.
func (r *Region) Ends() []*Node {
	ends := slices.DeleteFunc(slices.Clone(r.Next), func(n *Node) bool { return n == nil })
	for _, p := range r.Probes {
		ends = append(ends, p.Value)
	}
	return ends
}

// Adds gives the nodes of Sums.
func (r *Region) Adds() []*Node {
	return slices.DeleteFunc(slices.Clone(r.Sums), func(n *Node) bool { return n == nil })
}

// Roots gives the graph's outputs.
func (g *Graph) Roots() []*Node {
	var roots []*Node
	for _, o := range g.Outputs {
		roots = append(roots, o.Node)
	}
	return roots
}
