package amd64

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/kernel/kerneltest"
)

var seeds = flag.Int64("seeds", 30, "random kernels to try")

// Random kernels agree with the interpreter, on every machine, and do not
// depend on the number of workers.
func TestRandom(t *testing.T) {
	const batch = 30
	for first := int64(0); first < *seeds; first += batch {
		var cases []*kerneltest.Case
		var rngs []*rand.Rand
		var ks []*kernel.Kernel
		for i := range int64(batch) {
			r := rand.New(rand.NewSource(first + i))
			c := kerneltest.Random(r)
			c.Kernel.Name = fmt.Sprintf("random%d", first+i)
			cases, rngs, ks = append(cases, c), append(rngs, r), append(ks, c.Kernel)
		}
		ms := machines(t)
		var ps []*program
		for _, m := range ms {
			ps = append(ps, compile(t, m, ks...))
		}
		for i, c := range cases {
			for range 3 {
				args := c.Args(rngs[i])
				mem := c.Memory(rngs[i], args)
				want := c.Clone(mem)
				if err := c.Kernel.Run(want, args); err != nil {
					t.Fatalf("seed %d: %v\n%s", first+int64(i), err, c.Kernel)
				}
				for j, p := range ps {
					got := p.run(t, c.Kernel, mem, args, 1)
					if err := c.Compare(got, want); err != nil {
						t.Fatalf("%s, seed %d, args %v: %v\n%s", ms[j].Name, first+int64(i), args, err, c.Kernel)
					}
					for w, other := range p.run(t, c.Kernel, mem, args, 3) {
						if !bytes.Equal(got[w], other) {
							t.Fatalf("%s, seed %d, args %v: buffer %d differs with three workers\n%s", ms[j].Name, first+int64(i), args, w, c.Kernel)
						}
					}
				}
			}
		}
	}
}
