package main

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

// A panel is one scale and its bars. Scales are logarithmic, because the
// contestants are an order of magnitude apart; they begin at one.
type panel struct {
	title  string
	decade int // the scale ends at ten to this
	bars   []bar
}

type bar struct {
	name  string
	class string // of the style sheet
	value float64
}

// plot draws start-up and memory. It brings its own ground, so that it can be
// read on a light page and on a dark one.
func (r *report) plot(out io.Writer) {
	panels := []panel{
		{title: "New process to the first tools/list response, ms", decade: 3, bars: r.bars(startTime)},
		{title: "Peak memory at rest, MiB", decade: 3, bars: r.bars(restMemory)},
		{title: "Peak memory after load, up to 32 messages of 1 MiB in flight, MiB", decade: 3, bars: r.bars(loadMemory)},
	}
	height := 24
	for _, p := range panels {
		height += p.height()
	}
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="13" role="img" aria-labelledby="title">
  <title id="title">Start-up time and peak memory of handstamp bridge beside its peers, on logarithmic scales</title>
  <style>
    .head { font-weight: 600; fill: #1f2430; } .text { fill: #3d4451; } .value { fill: #3d4451; stroke: #f6f7f9; stroke-width: 4px; paint-order: stroke; } .tick { fill: #6b7280; font-size: 11px; }
    .grid { stroke: #d5d9e0; } .own { fill: #1a7f4b; } .peer { fill: #8b93a1; } .floor { fill: #c3c9d3; }
  </style>
  <rect width="%d" height="%d" rx="12" fill="#f6f7f9"/>
`, plotWidth, height, plotWidth, height)
	top := 12
	for _, p := range panels {
		p.draw(out, top)
		top += p.height()
	}
	fmt.Fprintln(out, "</svg>")
}

// bars are the contestants that have a figure.
func (r *report) bars(m metric) (bars []bar) {
	for _, c := range r.all {
		value, ok := r.figures.shown(m, c.name)
		if !ok {
			continue
		}
		b := bar{name: c.name, class: "peer", value: value}
		switch c.name {
		case ours:
			b.name, b.class = "handstamp bridge", "own"
		case floor:
			b.name, b.class = "floor, a bare pump", "floor"
		}
		bars = append(bars, b)
	}
	return bars
}

func (p panel) height() int { return 32 + rowHeight*len(p.bars) + 28 }

func (p panel) draw(out io.Writer, top int) {
	fmt.Fprintf(out, "\n"+`  <text class="head" x="24" y="%d">%s</text>`+"\n", top+22, p.title)
	first := top + 34
	last := first + rowHeight*len(p.bars)
	for decade := range p.decade + 1 {
		x := p.x(math.Pow10(decade))
		fmt.Fprintf(out, `  <path class="grid" d="M%d %dV%d"/><text class="tick" x="%d" y="%d" text-anchor="middle">%.0f</text>`+"\n",
			x, first-2, last, x, last+14, math.Pow10(decade))
	}
	for i, b := range p.bars {
		y := first + i*rowHeight + (rowHeight-barHeight)/2
		end := p.x(b.value)
		fmt.Fprintf(out, `  <text class="text" x="%d" y="%d" text-anchor="end">%s</text>`, barLeft-10, y+13, b.name)
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="2"/>`, b.class, barLeft, y, end-barLeft, barHeight)
		fmt.Fprintf(out, `<text class="value" x="%d" y="%d">%s</text>`+"\n", end+7, y+13, short(b.value))
	}
}

// x is where a value stands. What is off the scale ends at its end; the number
// beside the bar tells.
func (p panel) x(value float64) int {
	part := min(max(math.Log10(value)/float64(p.decade), 0), 1)
	return barLeft + int(math.Round(part*(barRight-barLeft)))
}
