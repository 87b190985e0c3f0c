package ptx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Usage is what ptxas says of one entry (its -v output).
type Usage struct {
	Name       string
	Registers  int // 32-bit registers a thread
	Stack      int // bytes of local memory a thread
	SpillStore int // bytes of registers spilled, stores and loads
	SpillLoad  int
	Shared     int // bytes of static shared memory; the tiles are dynamic and not in it
}

// Assembled is what became of one text.
type Assembled struct {
	Cubin    []byte
	Usage    []Usage
	Warnings []string // whole lines; none for text that Print made
}

// FindPtxas gives the path of NVIDIA's assembler. A path that is given must be
// one; else the search goes over PATH, /usr/local/cuda*/bin, and the Python
// package nvidia-cuda-nvcc of the python3 in PATH. The error says how to get it.
func FindPtxas(path string) (string, error) {
	if path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("ptx: no assembler at %s: %w", path, err)
		}
		return found, nil
	}
	if found, err := exec.LookPath("ptxas"); err == nil {
		return found, nil
	}
	patterns := []string{"/usr/local/cuda/bin/ptxas", "/usr/local/cuda-*/bin/ptxas", "/opt/cuda/bin/ptxas"}
	// nvidia-cuda-nvcc-cu12 puts it below cuda_nvcc, nvidia-cuda-nvcc below cu13 and later ones.
	for _, site := range sitePackages() {
		patterns = append(patterns, filepath.Join(site, "nvidia", "*", "bin", "ptxas"))
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // a folder's name with a pattern's signs in it
		}
		for _, f := range found {
			if good, err := exec.LookPath(f); err == nil {
				return good, nil
			}
		}
	}
	return "", errors.New("ptx: ptxas is neither in PATH, nor in /usr/local/cuda/bin, nor in python3's site-packages; python3 -m pip install nvidia-cuda-nvcc-cu12 brings it")
}

// sitePackages lists where python3 keeps packages; empty where there is no
// python3.
func sitePackages() []string {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, "python3", "-c", `import sys; print("\n".join(p for p in sys.path if p.endswith("-packages")))`).Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}

// Assemble runs the assembler at a path that FindPtxas gave over one text. The
// error holds what it said where it refuses the text.
func Assemble(ctx context.Context, ptxas, text, target string) (*Assembled, error) {
	t, err := findTarget(target)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "memc-ptx-")
	if err != nil {
		return nil, fmt.Errorf("ptx: %w", err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "kernels.ptx"), filepath.Join(dir, "kernels.cubin")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("ptx: %w", err)
	}
	cmd := exec.CommandContext(ctx, ptxas, "-v", "-arch="+t.name, "-o", out, in)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("ptx: ptxas for %s: %w\n%s", target, err, strings.TrimSpace(said.String()))
	}
	a := readLog(said.String())
	if a.Cubin, err = os.ReadFile(out); err != nil {
		return nil, fmt.Errorf("ptx: %w", err)
	}
	return a, nil
}

var (
	entryLine  = regexp.MustCompile(`Compiling entry function '([^']+)'`)
	stackLine  = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	usedLine   = regexp.MustCompile(`Used (\d+) registers`)
	sharedLine = regexp.MustCompile(`(\d+) bytes smem`)
)

func readLog(log string) *Assembled {
	a := &Assembled{}
	last := func() *Usage {
		if len(a.Usage) == 0 {
			a.Usage = append(a.Usage, Usage{})
		}
		return &a.Usage[len(a.Usage)-1]
	}
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.Contains(strings.ToLower(line), "warning") {
			a.Warnings = append(a.Warnings, line)
		}
		if m := entryLine.FindStringSubmatch(line); m != nil {
			a.Usage = append(a.Usage, Usage{Name: m[1]})
		}
		if m := stackLine.FindStringSubmatch(line); m != nil {
			last().Stack, last().SpillStore, last().SpillLoad = number(m[1]), number(m[2]), number(m[3])
		}
		if m := usedLine.FindStringSubmatch(line); m != nil {
			last().Registers = number(m[1])
		}
		if m := sharedLine.FindStringSubmatch(line); m != nil {
			last().Shared = number(m[1])
		}
	}
	return a
}

// number reads digits that a pattern has found; 0 where they overflow.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
