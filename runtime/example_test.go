package runtime_test

import (
	"context"
	"fmt"
	"log"

	"github.com/memc-lang/memc/runtime"
)

// counter is the smallest engine: it counts rows.
type counter struct{}

func (counter) Entries() []runtime.Entry {
	return []runtime.Entry{{Name: "count",
		Inputs:  []runtime.Port{{Name: "tokens", Elem: "i32", Dims: []string{"t"}}},
		Outputs: []runtime.Port{{Name: "rows", Elem: "i32"}}}}
}
func (counter) Params() []runtime.Param { return nil }
func (counter) NewMachine(*runtime.Weights, runtime.Options) (runtime.Machine, error) {
	return &count{}, nil
}

type count struct{ pos int64 }

func (c *count) Run(_ context.Context, _ int, in, out []runtime.Tensor) error {
	c.pos += int64(in[0].Len())
	out[0] = runtime.FromInt32([]int32{int32(c.pos)})
	return nil
}
func (c *count) Pos() int64                      { return c.pos }
func (c *count) StateBytes() int64               { return 8 }
func (c *count) Probes() []runtime.Probe         { return nil }
func (c *count) Fork() (runtime.Machine, error)  { return &count{c.pos}, nil }
func (c *count) State() (*runtime.State, error)  { return &runtime.State{Pos: c.pos}, nil }
func (c *count) SetState(s *runtime.State) error { c.pos = s.Pos; return nil }
func (c *count) Close()                          {}

// A session is one stream: calls feed the rows that come next, and a fork goes
// on from the same point.
func ExampleSession() {
	p := runtime.FromEngine("counter", "interp", "counter-1", counter{})
	s, err := p.NewSession(nil, runtime.Options{Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	feed := func(s *runtime.Session, tokens ...int32) {
		out, err := s.Call(ctx, "count", map[string]runtime.Tensor{"tokens": runtime.FromInt32(tokens)})
		if err != nil {
			log.Fatal(err)
		}
		rows, err := runtime.Int32(out["rows"])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(rows[0], "rows")
	}
	feed(s, 5, 6, 7)
	f, err := s.Fork()
	if err != nil {
		log.Fatal(err)
	}
	feed(s, 8)
	feed(f, 8, 9)
	// Output:
	// 3 rows
	// 4 rows
	// 5 rows
}

// Errors say what is wrong with a call and leave the stream as it was.
func ExampleSession_Call() {
	p := runtime.FromEngine("counter", "interp", "counter-1", counter{})
	s, err := p.NewSession(nil, runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_, err = s.Call(context.Background(), "count", map[string]runtime.Tensor{"token": runtime.FromInt32([]int32{1})})
	fmt.Println(err)
	// Output:
	// count has no input token; its inputs are ["tokens"]
}
