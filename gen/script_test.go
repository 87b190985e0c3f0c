package gen

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts writes packages as their users do: with go generate, in modules
// outside the checkout. It needs no network where the module cache holds what
// memc itself was built from.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the scripts build several programs")
	}
	for _, tool := range []string{"go", "llc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not in PATH: apt-get install golang llvm", tool)
		}
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache := strings.Fields(string(caches))
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "GOCACHE="+cache[0], "GOMODCACHE="+cache[1], "GOFLAGS=-mod=mod", "MEMC_CACHE=off", "GOPROXY=off", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOWORK=off",
				"MODEL="+filepath.Join(root, "models", "passkey-allmem"))
			mods, err := filepath.Glob(filepath.Join(e.WorkDir, "*", "go.mod"))
			if err != nil {
				return err
			}
			for _, mod := range mods {
				text, err := os.ReadFile(mod)
				if err != nil {
					return err
				}
				text = append(text, "\nreplace github.com/memc-lang/memc => "+root+"\n"...)
				if err := os.WriteFile(mod, text, 0o666); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(filepath.Dir(mod), "go.sum"), sums, 0o666); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
