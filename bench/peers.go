package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// peer is another program that does the same work: a process that reads
// questions and answers each with a line; see peers/peer.h and peers/pytorch.py.
type peer struct {
	name    string
	about   string // what it says about itself
	absent  string // why it is not here
	only    string // it is asked only questions with this word, where that is given
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	how     map[string]bool // the ways of working that it chose
}

// kinds are the peers that there are. Each says itself how many threads it has.
func kinds(tools string, targets []string, threads int) []*peer {
	python, bin := filepath.Join(tools, "python"), filepath.Join(tools, "bin")
	isa, wide := [4]string{"Haswell", "AVX2", "AVX2", "avx2"}, false
	if slices.ContainsFunc(targets, func(t string) bool { return t != "avx2" }) {
		isa, wide = [4]string{"SkylakeX", "ALL", "AVX512", "avx512"}, true
	}
	// Libraries that find out by themselves what a processor is do not know all
	// of them: OpenBLAS takes the slowest kernels for one that it does not know.
	env := []string{
		fmt.Sprint("OMP_NUM_THREADS=", threads), fmt.Sprint("OPENBLAS_NUM_THREADS=", threads),
		"OPENBLAS_CORETYPE=" + isa[0], "ONEDNN_MAX_CPU_ISA=" + isa[1], "MKL_ENABLE_INSTRUCTIONS=" + isa[2], "ATEN_CPU_CAPABILITY=" + isa[3],
	}
	list := []*peer{
		start("OpenBLAS", filepath.Join(bin, "openblas"), env),
		start("oneDNN", filepath.Join(bin, "onednn"), env),
	}
	if wide { // bf16 products in vectors, as other products are, beside those in tiles
		p := start("oneDNN without AMX", filepath.Join(bin, "onednn"), append(env, "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16"))
		p.only = "type=bf16"
		list = append(list, p)
	}
	list = append(list, start("ggml", filepath.Join(bin, "ggml"), env))
	return append(list, start("PyTorch", filepath.Join(python, "torch"), append(env, "PYTHONPATH="+python), "python3", "bench/peers/pytorch.py"))
}

// start runs a peer that needs a file to be there; without a command of its
// own, that file is the program.
func start(name, needs string, env []string, command ...string) *peer {
	p := &peer{name: name, how: map[string]bool{}}
	if _, err := os.Stat(needs); err != nil {
		p.absent = "not installed"
		return p
	}
	if len(command) == 0 {
		command = []string{needs}
	}
	p.process = exec.Command("env", append(env, command...)...)
	var err error
	if p.in, err = p.process.StdinPipe(); err == nil {
		var out io.Reader
		if out, err = p.process.StdoutPipe(); err == nil {
			p.out = bufio.NewReader(out)
			err = p.process.Start()
		}
	}
	if err == nil {
		p.about, err = p.out.ReadString('\n')
		p.about = strings.TrimSpace(p.about)
	}
	if err != nil {
		p.absent = fmt.Sprintf("it does not start: %v", err)
	}
	return p
}

// ask gives the median of the seconds that the work takes; ok is false where
// the peer does not do it.
func (p *peer) ask(question string) (seconds float64, ok bool) {
	if p.absent != "" || question == "" || p.only != "" && !strings.Contains(question, p.only) {
		return 0, false
	}
	fmt.Fprintln(p.in, question)
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.absent = fmt.Sprintf("it ended at %q", question)
		return 0, false
	}
	words := strings.Fields(line)
	if len(words) < 5 || words[0] != "ok" {
		return 0, false
	}
	if len(words) > 5 {
		what, _, _ := strings.Cut(question, " ")
		p.how[what+": "+strings.Join(words[5:], " ")] = true
	}
	seconds, err = strconv.ParseFloat(words[1], 64)
	return seconds, err == nil && seconds > 0
}

func (p *peer) close() {
	if p.process != nil {
		p.in.Close()
		p.process.Wait()
	}
}
