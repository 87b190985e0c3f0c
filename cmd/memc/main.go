// Memc compiles specs of long-context models and runs what it compiled.
//
// Run "memc --help" for the list of commands, and "memc COMMAND --help" for the
// flags of one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/memc-lang/memc"
	"github.com/memc-lang/memc/frontend"
)

// commands is the command line: a field a command.
type commands struct {
	JSON bool `name:"json" help:"Print one JSON object instead of text."`

	Compile  compileCmd  `cmd:"" help:"Compile a spec to an artifact."`
	Exec     execCmd     `cmd:"" help:"Run one entry point on tensors from a file."`
	Dump     dumpCmd     `cmd:"" help:"Show any level of a program, after any pass."`
	Opt      optCmd      `cmd:"" help:"Run passes on a graph that memc dump printed."`
	Run      runCmd      `cmd:"" help:"Stream a text through a model."`
	Eval     evalCmd     `cmd:"" help:"Give a trained model a task with a right answer."`
	Bench    benchCmd    `cmd:"" help:"Time a program."`
	Tune     tuneCmd     `cmd:"" help:"Find the tile sizes that are best on this machine."`
	Quantize quantizeCmd `cmd:"" help:"Write a model's weights as q8 or q4 into a file."`
	Gen      genCmd      `cmd:"" help:"Write a Go package that runs a spec."`
	Targets  targetsCmd  `cmd:"" help:"What this machine can run, and what is missing to run more."`
	Passes   passesCmd   `cmd:"" help:"The passes, in the order in which they run."`
	Fmt      fmtCmd      `cmd:"" help:"Give specs the one layout."`
	Version  versionCmd  `cmd:"" help:"The version."`
}

// Exit codes. Everything else a command returns is exitInput.
const (
	exitDone    = 0
	exitInput   = 1 // the spec, weights, tensors or artifact are at fault
	exitUsage   = 2
	exitMachine = 3 // the machine lacks something
)

// usageError is a fault of the command line.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what commands write to and read from.
type app struct {
	ctx      context.Context
	in       io.Reader
	out, err io.Writer
	json     bool
}

// standardInput reads all of the standard input, at most so many bytes, unless it
// is interrupted.
func (a *app) standardInput(most int64) ([]byte, error) {
	type result struct {
		bytes []byte
		err   error
	}
	read := make(chan result, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(a.in, most+1))
		if err == nil && int64(len(b)) > most {
			err = fmt.Errorf("the standard input has more than %d bytes", most)
		}
		read <- result{b, err}
	}()
	select {
	case r := <-read:
		return r.bytes, r.err
	case <-a.ctx.Done():
		return nil, a.ctx.Err()
	}
}

// warn says what is no error and yet not as it was asked for.
func (a *app) warn(sentence string) { fmt.Fprintf(a.err, "warning: %s\n", sentence) }

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// exited ends parsing where help was asked for.
type exited int

// internal is the error of a panic.
type internal struct{ what any }

func (i internal) Error() string {
	return fmt.Sprintf("internal error (a bug in memc, not in its input): %v", i.what)
}

// guarded runs f, which may run in a goroutine of its own, and gives a panic as
// an error.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = internal{r}
		}
	}()
	return f()
}

// run runs one command line and gives its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			asked, ok := r.(exited)
			if code = int(asked); !ok {
				code = fail(stderr, internal{r})
			}
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	var cli commands
	parser, err := kong.New(&cli,
		kong.Name("memc"),
		kong.Description("A compiler for long-context model layers: window attention next to memories that learn while they read."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
	)
	if err != nil {
		fmt.Fprintf(stderr, "error: internal error: %v\n", err)
		return exitInput
	}
	k, err := parser.Parse(longPkg(args))
	if err != nil {
		return fail(stderr, usageError{err})
	}
	a := &app{ctx: ctx, in: stdin, out: stdout, err: stderr, json: cli.JSON}
	if err := k.Run(a); err != nil {
		return fail(stderr, err)
	}
	return exitDone
}

// at is how a fault of a spec begins that a pass has found.
var at = regexp.MustCompile(`^[^\s:]+:\d+:\d+: error: `)

// fail prints an error and gives the exit code that it stands for.
func fail(stderr io.Writer, err error) int {
	var use usageError
	var diags *frontend.Diagnostics
	switch {
	case errors.As(err, &diags):
		fmt.Fprintln(stderr, diags)
		if settings(diags) {
			return exitUsage
		}
		return exitInput
	case errors.As(err, &use):
		fmt.Fprintf(stderr, "error: %v\n", err)
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, interrupted(err))
		return exitInput
	}
	if at.MatchString(err.Error()) {
		fmt.Fprintln(stderr, err) // it begins with its place and "error:"
		return exitInput
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	if memc.Lacks(err) {
		return exitMachine
	}
	return exitInput
}

// interrupted says where a command was when a signal ended it.
func interrupted(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if at, _ := strings.CutSuffix(line, context.Canceled.Error()); at != "" {
		return "interrupted: " + strings.TrimSuffix(at, ": ")
	}
	return "interrupted"
}

// settings reports whether a fault is one of the command line's --set.
func settings(d *frontend.Diagnostics) bool {
	return slices.ContainsFunc(d.List, func(x frontend.Diagnostic) bool { return strings.HasPrefix(x.Msg, "--set ") })
}

// print writes a command's result: v with --json, else what text writes.
func (a *app) print(v any, text func(w io.Writer)) error {
	if !a.json {
		w := &errWriter{w: a.out}
		text(w)
		return w.err
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// errWriter keeps the first error, so that printing code needs no checks.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(b []byte) (int, error) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
	return len(b), e.err
}
