// Package plot draws the plots of the benchmarks: bars on logarithmic scales, which bring their own
// ground, so that they can be read on a light page and on a dark one.
package plot

import (
	"fmt"
	"io"
	"math"
)

// Measures of the plot, in pixels.
const (
	plotWidth = 760
	barLeft   = 160 // where the bars begin
	barRight  = 690 // where the scale ends; a value may stand to the right of it
	rowHeight = 26
	barHeight = 16
)

// Panel is one scale and its bars. Scales are logarithmic, because the
// contestants are an order of magnitude apart; they begin at one.
type Panel struct {
	Title  string
	Decade int // the scale ends at ten to this
	Bars   []Bar
}

// Bar is one value. Its class is "own", "peer" or "floor".
type Bar struct {
	Name  string
	Class string
	Value float64
}

// Draw writes the panels as SVG.
func Draw(out io.Writer, title string, panels ...Panel) {
	height := 24
	for _, p := range panels {
		height += p.height()
	}
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="13" role="img" aria-labelledby="title">
  <title id="title">%s</title>
  <style>
    .head { font-weight: 600; fill: #1f2430; } .text { fill: #3d4451; } .value { fill: #3d4451; stroke: #f6f7f9; stroke-width: 4px; paint-order: stroke; } .tick { fill: #6b7280; font-size: 11px; }
    .grid { stroke: #d5d9e0; } .own { fill: #1a7f4b; } .peer { fill: #8b93a1; } .floor { fill: #c3c9d3; }
  </style>
  <rect width="%d" height="%d" rx="12" fill="#f6f7f9"/>
`, plotWidth, height, title, plotWidth, height)
	top := 12
	for _, p := range panels {
		p.draw(out, top)
		top += p.height()
	}
	fmt.Fprintln(out, "</svg>")
}

func (p Panel) height() int { return 32 + rowHeight*len(p.Bars) + 28 }

func (p Panel) draw(out io.Writer, top int) {
	fmt.Fprintf(out, "\n"+`  <text class="head" x="24" y="%d">%s</text>`+"\n", top+22, p.Title)
	first := top + 34
	last := first + rowHeight*len(p.Bars)
	for decade := range p.Decade + 1 {
		x := p.x(math.Pow10(decade))
		fmt.Fprintf(out, `  <path class="grid" d="M%d %dV%d"/><text class="tick" x="%d" y="%d" text-anchor="middle">%.0f</text>`+"\n",
			x, first-2, last, x, last+14, math.Pow10(decade))
	}
	for i, b := range p.Bars {
		y := first + i*rowHeight + (rowHeight-barHeight)/2
		end := p.x(b.Value)
		fmt.Fprintf(out, `  <text class="text" x="%d" y="%d" text-anchor="end">%s</text>`, barLeft-10, y+13, b.Name)
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="2"/>`, b.Class, barLeft, y, end-barLeft, barHeight)
		fmt.Fprintf(out, `<text class="value" x="%d" y="%d">%s</text>`+"\n", end+7, y+13, Short(b.Value))
	}
}

// x is where a value stands. What is off the scale ends at its end; the number
// beside the bar tells.
func (p Panel) x(value float64) int {
	part := min(max(math.Log10(value)/float64(p.Decade), 0), 1)
	return barLeft + int(math.Round(part*(barRight-barLeft)))
}

// Short writes a value with three digits that count.
func Short(value float64) string {
	switch {
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}
