package amd64

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"github.com/memc-lang/memc/ir/kernel"
)

// Missing is the error of a machine without LLVM's llc.
type Missing struct{}

// Error says what is missing and how to get it.
func (Missing) Error() string {
	return "compiling for the processor needs LLVM's assembler llc (version 14 or newer), and none is in PATH; install it with: apt install llvm"
}

// findLLC gives the path of the newest llc: llc-NN before plain llc.
var findLLC = sync.OnceValues(func() (string, error) {
	for v := 30; v >= 14; v-- {
		if p, err := exec.LookPath(fmt.Sprintf("llc-%d", v)); err == nil {
			return p, nil
		}
	}
	if p, err := exec.LookPath("llc"); err == nil {
		return p, nil
	}
	return "", Missing{}
})

// quicker are options without which llc makes the same code, later: addresses
// in loops are printed in the form that they should keep. Options of this kind
// may vanish from a future llc.
var quicker = []string{"-disable-lsr", "-disable-x86-domain-reassignment"}

// FindLLC gives the path of LLVM's assembler, the newest in PATH. The error is
// Missing where there is none.
func FindLLC() (string, error) { return findLLC() }

// runLLC assembles LLVM IR to an object file or to assembly text.
func runLLC(ctx context.Context, llc, text string, m Machine, filetype string) ([]byte, error) {
	out, diag, err := tryLLC(ctx, llc, text, m, filetype, quicker)
	if err != nil && strings.Contains(diag, "Unknown command line argument") {
		out, diag, err = tryLLC(ctx, llc, text, m, filetype, nil)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !errors.As(err, &exit):
		return nil, fmt.Errorf("running %s: %w", llc, err)
	}
	return nil, fmt.Errorf("%s rejects the code generated for %s: %.2000s", llc, m.Name, diag)
}

func tryLLC(ctx context.Context, llc, text string, m Machine, filetype string, options []string) (out []byte, diag string, err error) {
	args := append([]string{"-O2", "-filetype=" + filetype, "-relocation-model=pic", "-mtriple=x86_64-unknown-linux-gnu",
		"-mattr=+" + strings.Join(m.Features, ",+"), "-o", "-", "-"}, options...)
	cmd := exec.CommandContext(ctx, llc, args...)
	cmd.Stdin = strings.NewReader(text)
	var o, d bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &d
	err = cmd.Run()
	return o.Bytes(), d.String(), err
}

// Blob is assembled and linked code. It may be placed at any address that is a
// multiple of 4096, readable and executable.
type Blob struct {
	Code     []byte
	Symbols  map[string]int64 // offsets of the functions of kernels, "walk" and "work"
	Scratch  map[string]int64 // bytes of scratch, aligned to 64, that a worker needs for a kernel
	Features []string         // processor features, in llc's spelling, that the code uses
}

// KernelError is the error of one kernel that no code can be printed for.
type KernelError struct {
	Kernel string // its name
	Err    error
}

// Error says which kernel it is, and where in it the fault lies.
func (e *KernelError) Error() string { return e.Err.Error() }

// Unwrap gives the fault.
func (e *KernelError) Unwrap() error { return e.Err }

// Compile prints, assembles and links kernels. Modules that known has are not assembled
// again; it may be nil. The error is Missing where there is no llc, and has a KernelError
// where one of the kernels is at fault.
func Compile(ctx context.Context, ks []*kernel.Kernel, m Machine, known *Objects) (*Blob, error) {
	llc, err := findLLC()
	if err != nil {
		return nil, err
	}
	m = m.with(ks)
	mod, scratch, err := build(ks, m)
	if err != nil {
		return nil, err
	}
	modules := mod.cut(split(ks, known != nil), known != nil)
	objects, errs := make([]object, len(modules)), make([]error, len(modules))
	var wg sync.WaitGroup
	room := make(chan struct{}, runtime.GOMAXPROCS(0)+1)
	for i, fs := range modules {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			text, o := mod.text(fs), &objects[i]
			if _, ok := scratch[fs[0].Name()]; ok && known != nil && len(fs) == 1 {
				o.kernel = fs[0].Name()
				text = anonymous(text, o.kernel)
			}
			if o.file = known.get(text, m); o.file != nil {
				return
			}
			if o.file, errs[i] = runLLC(ctx, llc, text, m, "obj"); errs[i] == nil {
				known.put(text, m, o.file)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b, err := link(objects)
	if err != nil {
		return nil, err
	}
	b.Scratch, b.Features = scratch, m.Features
	return b, nil
}

// Assembly gives the assembly text of kernels, as llc prints it.
func Assembly(ctx context.Context, ks []*kernel.Kernel, m Machine) (string, error) {
	llc, err := findLLC()
	if err != nil {
		return "", err
	}
	text, err := Print(ks, m)
	if err != nil {
		return "", err
	}
	out, err := runLLC(ctx, llc, text, m.with(ks), "asm")
	return string(out), err
}
