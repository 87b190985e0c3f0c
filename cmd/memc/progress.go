package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on standard error where that is a terminal, else nothing.
// It has no colours.
type progress struct {
	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil: not shown
}

// newProgress shows a bar over so many tokens; -1 where the number is not known.
func newProgress(stderr io.Writer, tokens int64) *progress {
	f, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &progress{}
	}
	return &progress{bar: progressbar.NewOptions64(tokens,
		progressbar.OptionSetWriter(f), progressbar.OptionEnableColorCodes(false), progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("tokens"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
	)}
}

// add moves the bar on by so many tokens; what is shown beside it.
func (p *progress) add(tokens int, what string) {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar.Describe(what)
	p.bar.Add(tokens)
}

// done takes the bar away.
func (p *progress) done() {
	if p.bar != nil {
		p.bar.Clear()
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 10_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
