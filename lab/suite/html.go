package suite

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"sync"

	"github.com/handstamp/handstamp/internal/pagestyle"
)

var (
	//go:embed report.html
	reportHTML string
	//go:embed report.css
	reportCSS string

	reportStyle = pagestyle.Base + reportCSS
)

// WriteHTML writes the reports as one page that needs nothing else, with the
// matrix of each client as a picture.
func (all Reports) WriteHTML(w io.Writer) error {
	pages := make([]matrix, len(all))
	for i, r := range all {
		pages[i] = r.matrix()
	}
	return page().Execute(w, map[string]any{"Reports": pages, "Style": template.CSS(reportStyle),
		"Policy": "default-src 'none'; style-src " + pagestyle.Hash(reportStyle), "Conditions": Conditions()})
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
	return template.Must(template.New("report").Funcs(pageFuncs).Parse(reportHTML))
})

// pageFuncs are what the templates call.
var pageFuncs = template.FuncMap{"about": Condition.about}
