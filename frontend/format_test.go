package frontend_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memc-lang/memc/frontend"
)

var update = flag.Bool("update", false, "rewrite what is compared")

// specFiles lists every spec that is not there to be wrong.
func specFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("../specs", func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(p, ".spec") {
			out = append(out, p)
		}
		return err
	})
	if err != nil || len(out) < 10 {
		t.Fatal(out, err)
	}
	return out
}

func TestSpecsAreFormatted(t *testing.T) {
	for _, p := range specFiles(t) {
		src, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := frontend.Format(p, string(src))
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if got != string(src) {
			if *update {
				if err := os.WriteFile(p, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			t.Errorf("%s is not formatted; it should be\n%s", p, got)
		}
	}
}

func TestFormat(t *testing.T) {
	const in = "# lead\n\n\n\nclock  t # the tokens\nparam a,b:int=1+2*3\n\ndim h=a*(b+1) # trailing\nfn f[d](x[..,d],name:string=\"x\")=if a<b then x*x else -x[d:0..d div 2]\n" +
		"memory M(x[t,h]) chunk a of t{ # opens\n  # first\n\n\n  state w[h]as bf16=0\n  state q[m:4,h] len n=empty\n  read y=x*w # why\n  write{w=w+sum_t(x) ;probe p=1\n    # last\n  }\n  if a<b { y=y+1 }\n  return y # end\n\n  # nothing more\n}\n" +
		"rows r from t every 8{\n group 4{text;beacon} # short\n # then\n end{ g[3] } }\n# tail\n"
	const want = `# lead

clock t  # the tokens
param a, b: int = 1 + 2 * 3

dim h = a * (b + 1)  # trailing
fn f[d](x[.., d], name: string = "x") = if a < b then x * x else -x[d: 0..d div 2]
memory M(x[t, h]) chunk a of t {  # opens
  # first

  state w[h] as bf16 = 0
  state q[m: 4, h] len n = empty
  read y = x * w  # why
  write {
    w = w + sum_t(x)
    probe p = 1
    # last
  }
  if a < b { y = y + 1 }
  return y  # end

  # nothing more
}
rows r from t every 8 {
  group 4 { text; beacon }  # short
  # then
  end { g[3] }
}
# tail
`
	got, err := frontend.Format("a.spec", in)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again, err := frontend.Format("a.spec", got); err != nil || again != got {
		t.Errorf("the second time (%v)\n%s", err, again)
	}
}

// A long line is broken, and what was broken reads as before.
func TestFormatBreaks(t *testing.T) {
	long := "fn f(x) = " + strings.Repeat("some_function(x, [1, 2, 3], (x + 1) * x) + ", 8) + "x\n"
	got, err := frontend.Format("a.spec", long)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(got, "\n") {
		if len(line) > 120 {
			t.Errorf("a line of %d: %s", len(line), line)
		}
	}
	if strings.Join(strings.Fields(got), " ") != strings.TrimSpace(long) {
		t.Errorf("the words changed:\n%s", got)
	}
	if again, err := frontend.Format("a.spec", got); err != nil || again != got {
		t.Errorf("the second time (%v)\n%s", err, again)
	}
}
