package suite

import (
	"html/template"
	"io"
	"slices"
	"sync"
)

// WriteHTML writes the reports as one page that needs nothing else, with the
// matrix of each client as a picture.
func (all Reports) WriteHTML(w io.Writer) error {
	pages := make([]matrix, len(all))
	for i, r := range all {
		pages[i] = r.matrix()
	}
	return page().Execute(w, pages)
}

// matrix is a report as rows of personalities and columns of conditions.
type matrix struct {
	*Report
	Sentence string
	Columns  []column
	Rows     []row
	Failed   []*Cell

	Width, Height int
}

type column struct {
	Condition Condition
	Processes int
	X         int
}

type row struct {
	Personality string
	Y           int
	Cells       []square
}

type square struct {
	*Cell
	X     int
	Class string
}

// The picture, in pixels.
const (
	squareSize = 18
	nameWidth  = 190
	headHeight = 130
)

func (r *Report) matrix() matrix {
	m := matrix{Report: r, Sentence: r.sentence()}
	for _, cell := range r.Cells {
		x := slices.IndexFunc(m.Columns,
			func(c column) bool { return c.Condition == cell.Condition && c.Processes == cell.Processes })
		if x < 0 {
			x = len(m.Columns)
			m.Columns = append(m.Columns,
				column{cell.Condition, cell.Processes, nameWidth + x*squareSize})
		}
		if len(m.Rows) == 0 || m.Rows[len(m.Rows)-1].Personality != cell.Personality {
			m.Rows = append(m.Rows,
				row{Personality: cell.Personality, Y: headHeight + len(m.Rows)*squareSize})
		}
		class := "good"
		switch {
		case cell.Expect.Void:
			class = "void"
		case !cell.Passed():
			class = "bad"
			m.Failed = append(m.Failed, cell)
		}
		last := &m.Rows[len(m.Rows)-1]
		last.Cells = append(last.Cells, square{cell, m.Columns[x].X, class})
	}
	m.Width = nameWidth + len(m.Columns)*squareSize + 100
	m.Height = headHeight + len(m.Rows)*squareSize + 4
	return m
}

// page shows what is wrong by shape as well as by colour.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Handstamp lab: {{range $i, $r := .}}{{if $i}}, {{end}}{{$r.Client}}{{end}}</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
svg { font: 12px system-ui, sans-serif; max-width: 100% }
svg text { fill: currentColor }
.good rect { fill: #2a9d58 } .bad rect { fill: #d1242f } .void rect { fill: #8885 }
.bad path { stroke: #fff; stroke-width: 2 }
li { margin-bottom: .5rem } code, pre { font-size: .85rem } pre { overflow-x: auto }
</style>
<h1>Handstamp lab</h1>
{{range .}}<section>
<h2>{{.Client}}</h2>
<p>{{.Sentence}}. {{.Begun.UTC.Format "2006-01-02 15:04 UTC"}}</p>
<svg viewBox="0 0 {{.Width}} {{.Height}}" width="{{.Width}}" role="img" aria-label="{{.Sentence}}">
{{range .Columns}}<text transform="translate({{.X}} 124) translate(13 0) rotate(-60)">{{.Condition}}, {{.Processes}}</text>
{{end}}{{range .Rows}}<g transform="translate(0 {{.Y}})"><text x="0" y="13">{{.Personality}}</text>
{{range .Cells}}<g class="{{.Class}}" transform="translate({{.X}} 0)"><title>{{.Name}}{{if .Expect.Void}}: cannot come about{{else}}: {{.Later.Worked}} of {{.Processes}} got through, {{.Later.Tabs}} tabs, {{.Later.TokenRequests}} token requests, {{.Later.Registrations}} registrations, {{.Later.FailedCalls}} failed calls{{end}}{{range .Failures}}
{{.}}{{end}}</title><rect width="16" height="16" rx="3"/>{{if eq .Class "bad"}}<path d="M4 4l8 8M12 4l-8 8"/>{{end}}</g>
{{end}}</g>
{{end}}</svg>
{{with .Failed}}<h3>What failed</h3>
<ul>
{{range .}}<li><code>{{.Name}}</code>{{range .Failures}}<br>{{.}}{{end}}
<details><summary>what the server saw</summary><pre>{{range .Requests}}{{.}}
{{end}}</pre></details></li>
{{end}}</ul>
{{end}}</section>
{{end}}</html>
`))
})
