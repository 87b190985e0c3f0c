package ptx

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/memc-lang/memc/ir/kernel"
	"github.com/memc-lang/memc/ir/kernel/kerneltest"
)

// randomCases is how many random kernels are run; assembling one takes longer,
// and each target gets perTarget of them.
const (
	randomCases = 120
	perTarget   = 2
)

// The printed texts of random kernels do what the interpreter does: with few
// CTAs and with many, and on a target so small that most tiles are spilled.
func TestRandomKernels(t *testing.T) {
	for seed := range int64(randomCases) {
		r := rand.New(rand.NewSource(seed))
		c := kerneltest.Random(r)
		if seed%2 == 1 {
			onTensorCores(c.Kernel)
		}
		args := c.Args(r)
		want := c.Memory(r, args)
		got := c.Clone(want)
		if err := (kernel.Interp{Round32: true}).Run(c.Kernel, want, args); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, c.Kernel)
		}
		to := target{name: "sm_90", sm: 90, ptx: 78, shared: []int{227 << 10, 8 << 10, 0}[seed%3]}
		if err := simulateOn(to, c.Kernel, got, args, 1+r.Intn(9)); err != nil {
			t.Fatalf("seed %d, %v: %v\n%s", seed, args, err, c.Kernel)
		}
		if err := c.Compare(got, want); err != nil {
			t.Fatalf("seed %d, %v: %v\n%s", seed, args, err, c.Kernel)
		}
	}
}

// onTensorCores lets tensor cores compute every product.
func onTensorCores(k *kernel.Kernel) {
	var walk func(body []kernel.Stmt)
	walk = func(body []kernel.Stmt) {
		for _, s := range body {
			switch s := s.(type) {
			case *kernel.Dot:
				s.Group = 64
			case *kernel.For:
				walk(s.Body)
			case *kernel.When:
				walk(s.Body)
			}
		}
	}
	for _, pt := range k.Parts {
		walk(pt.Body)
	}
}

func TestAssemblerTakesRandomKernels(t *testing.T) {
	path := ptxas(t)
	for i, target := range where {
		var ks []*kernel.Kernel
		for seed := i * perTarget; seed < (i+1)*perTarget; seed++ {
			k := kerneltest.Random(rand.New(rand.NewSource(int64(seed)))).Kernel
			k.Name = fmt.Sprintf("random.%d", seed)
			ks = append(ks, k)
		}
		m := mustPrint(t, target, ks...)
		if a := accept(t, path, m.Text, target); len(a.Usage) != len(ks) {
			t.Errorf("%s: %d entries of %d", target, len(a.Usage), len(ks))
		}
	}
}
