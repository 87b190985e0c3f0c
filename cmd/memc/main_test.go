package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/memc-lang/memc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"memc": main})
}

// TestScripts runs the scripts of testdata/script: for each command what it
// does, and what it says and returns where it cannot.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir() // one for all scripts: what is compiled once is compiled
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("MEMC_CACHE", cache)
			e.Setenv("ALONE", filepath.SplitList(e.Getenv("PATH"))[0]) // a PATH with memc and nothing else
			e.Setenv("GOLDEN", filepath.Join(root, "testdata", "golden"))
			e.Setenv("MODELS", filepath.Join(root, "models"))
			e.Setenv("SPECS", filepath.Join(root, "specs"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if target, ok := strings.CutPrefix(cond, "target:"); ok {
				return memc.Runnable(target) == nil && memc.Buildable(target) == nil, nil
			}
			if cond == "root" { // who may write anywhere
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":  exits,
			"config": config,
			"field":  field,
		},
	})
}

// exits CODE COMMAND…: runs memc and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE memc …")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// config CASE FILE: writes a golden case's parameters as a config.
func config(ts *testscript.TestScript, neg bool, args []string) {
	var c struct {
		Set json.RawMessage `json:"set"`
	}
	if err := json.Unmarshal([]byte(ts.ReadFile(filepath.Join(ts.Getenv("GOLDEN"), args[0], "case.json"))), &c); err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), c.Set, 0o666))
}

// field NAME…: checks that standard output is one JSON object with these fields.
func field(ts *testscript.TestScript, neg bool, args []string) {
	var v map[string]json.RawMessage
	out := ts.ReadFile("stdout")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		ts.Fatalf("standard output is no JSON object: %v\n%s", err, out)
	}
	for _, name := range args {
		if _, ok := v[name]; ok == neg {
			ts.Fatalf("field %s: present is %v\n%s", name, ok, out)
		}
	}
}
