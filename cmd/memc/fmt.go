package main

import (
	"fmt"
	"io"
	"os"

	"github.com/memc-lang/memc/frontend"
	"github.com/memc-lang/memc/runtime/atomicfile"
	"github.com/memc-lang/memc/runtime/regular"
)

type fmtCmd struct {
	Files []string `arg:"" name:"spec" help:"Specs; - is the standard input."`
	Write bool     `short:"w" xor:"how" help:"Write each file anew instead of printing it."`
	Check bool     `xor:"how" help:"Only list the files whose layout differs, and fail where there are any."`
}

type formatted struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	Text    string `json:"text,omitempty"`
}

// maxFormat is the most bytes of a spec that are read.
const maxFormat = 1 << 24

func (c *fmtCmd) Run(a *app) error {
	var all []formatted
	changed := 0
	for _, file := range c.Files {
		src, err := c.read(a, file)
		if err != nil {
			return err
		}
		text, err := frontend.Format(file, src)
		if err != nil {
			return err
		}
		f := formatted{File: file, Changed: text != src}
		if f.Changed {
			changed++
		}
		switch {
		case c.Check:
		case !c.Write:
			f.Text = text
		case f.Changed:
			if err := rewrite(file, text); err != nil {
				return err
			}
		}
		all = append(all, f)
	}
	err := a.print(struct {
		Files []formatted `json:"files"`
	}{all}, func(w io.Writer) {
		for _, f := range all {
			if c.Check || c.Write {
				if f.Changed {
					fmt.Fprintln(w, f.File)
				}
				continue
			}
			io.WriteString(w, f.Text)
		}
	})
	if err == nil && c.Check && changed > 0 {
		return fmt.Errorf("%d of %d specs are laid out otherwise than memc fmt does", changed, len(all))
	}
	return err
}

func (c *fmtCmd) read(a *app, file string) (string, error) {
	if file != "-" {
		b, err := regular.Read(file, maxFormat)
		return string(b), err
	}
	if c.Write {
		return "", usage("-w cannot write the standard input")
	}
	b, err := a.standardInput(maxFormat)
	return string(b), err
}

// rewrite replaces a file's text and keeps its permissions.
func rewrite(file, text string) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(file, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}); err != nil {
		return err
	}
	return os.Chmod(file, st.Mode().Perm())
}
