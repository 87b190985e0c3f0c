package main

import (
	"html/template"
	"io"
	"slices"
	"strings"
)

// column is the graph after some passes, its lines marked where they are not in
// the column before.
type column struct {
	Name  string
	Lines []line
}

type line struct {
	Text string
	New  bool
}

// page writes a static page with a column for each section of a dump.
func page(w io.Writer, d dumped) error {
	var columns []column
	before := map[string]bool{}
	for i, s := range d.Sections {
		c := column{Name: s.Name}
		now := map[string]bool{}
		for _, text := range strings.Split(strings.TrimSuffix(s.Text, "\n"), "\n") {
			key := unnumbered(text)
			now[key] = true
			c.Lines = append(c.Lines, line{text, i > 0 && !before[key]})
		}
		before = now
		columns = append(columns, c)
	}
	return pageTemplate.Execute(w, struct {
		Spec    string
		Columns []column
	}{d.Spec, columns})
}

// unnumbered is a line without the numbers of its values, which every pass deals
// out anew, and without its places.
func unnumbered(s string) string {
	s, _, _ = strings.Cut(s, "  @")
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
	for i, w := range words {
		if strings.HasPrefix(w, "%") {
			words[i] = "%"
		}
	}
	return strings.Join(slices.Clip(words), " ")
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{.Spec}}</title>
<style>
body { margin: 0; font: 13px/1.45 ui-monospace, monospace; color: #222; background: #fff; }
h1 { font-size: 15px; margin: 12px 16px; }
main { display: flex; align-items: flex-start; height: calc(100vh - 48px); overflow-x: auto; }
section { flex: 0 0 auto; max-width: 46vw; height: 100%; overflow: auto; border-left: 1px solid #ccc; }
h2 { position: sticky; top: 0; margin: 0; padding: 4px 10px; font-size: 13px; background: #eee; }
pre { margin: 0; padding: 6px 10px; }
.new { background: #e2f4df; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #161616; }
  section { border-color: #444; }
  h2 { background: #2a2a2a; }
  .new { background: #1f3a22; }
}
</style>
</head>
<body>
<h1>{{.Spec}}: the graph after each pass; lines that a pass made are marked</h1>
<main>
{{range .Columns}}<section>
<h2>{{.Name}}</h2>
<pre>{{range .Lines}}{{if .New}}<span class="new">{{.Text}}</span>{{else}}{{.Text}}{{end}}
{{end}}</pre>
</section>
{{end}}</main>
</body>
</html>
`))
