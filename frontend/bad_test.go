package frontend_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/memc-lang/memc/frontend"
)

// A fault that a spec in testdata/bad says it has: on the comment's own line, or
// on the next one; ERROR@7 says the column too.
var expectation = regexp.MustCompile(`# ERROR( NEXT)?(?:@(\d+))? "(.*)"$`)

func TestBadSpecs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.spec")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d bad specs (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".spec"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			type want struct {
				col  int
				text *regexp.Regexp
			}
			wants := map[int]want{}
			var set map[string]json.RawMessage
			for k, line := range strings.Split(string(raw), "\n") {
				if rest, ok := strings.CutPrefix(line, "# SET "); ok {
					set = values(t, rest)
				}
				m := expectation.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				at := k + 1
				if m[1] != "" {
					at++
				}
				col, _ := strconv.Atoi(m[2])
				wants[at] = want{col, regexp.MustCompile(strings.ReplaceAll(m[3], `\"`, `"`))}
			}
			if len(wants) == 0 {
				t.Fatal("the spec says no ERROR")
			}
			mod, d := frontend.Load(file, nil, set, nil)
			if d == nil {
				t.Fatalf("the spec loads: %d entries", len(mod.Entries))
			}
			for _, x := range d.List {
				w, ok := wants[x.Pos.Line]
				switch {
				case !ok || x.Pos.File != file:
					t.Errorf("unexpected:\n%s", x)
				case !w.text.MatchString(x.Msg):
					t.Errorf("want %q, found:\n%s", w.text, x)
				case w.col > 0 && w.col != x.Pos.Col:
					t.Errorf("want column %d, found:\n%s", w.col, x)
				}
				delete(wants, x.Pos.Line)
			}
			for line, w := range wants {
				t.Errorf("line %d: no error like %q", line, w.text)
			}
		})
	}
}
