package frontend_test

import (
	"os"
	"strings"
	"testing"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/ir"
)

// TestReference compiles every example of the language's reference.
func TestReference(t *testing.T) {
	raw, err := os.ReadFile("../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(raw), "```spec\n")
	if len(parts) < 10 {
		t.Fatalf("only %d examples", len(parts)-1)
	}
	for k, part := range parts[1:] {
		src, _, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatalf("example %d has no end", k+1)
		}
		m, d := frontend.Load("language.md", func(string) ([]byte, error) { return []byte(src), nil }, values(t, `{}`), values(t, `{"hidden": 8}`))
		if d != nil {
			t.Errorf("example %d:\n%s", k+1, d)
			continue
		}
		if errs := m.Verify(); len(errs) > 0 {
			t.Errorf("example %d: %s", k+1, ir.Explain(errs))
		}
		if got, err := frontend.Format("language.md", src); err != nil || got != src {
			t.Errorf("example %d (%v) is not formatted; it should be\n%s", k+1, err, got)
		}
	}
}

// TestReferenceNames: the reference tells every function of the language.
func TestReferenceNames(t *testing.T) {
	raw, err := os.ReadFile("../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range frontend.Functions() {
		if !strings.Contains(string(raw), "`"+name) && !strings.Contains(string(raw), name+"(") {
			t.Errorf("docs/language.md does not tell %s", name)
		}
	}
}
