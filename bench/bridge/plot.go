package main

import (
	"io"

	"github.com/handstamp/handstamp/bench/plot"
)

// plot draws start-up and memory.
func (r *report) plot(out io.Writer) {
	plot.Draw(out, "Start-up time and peak memory of handstamp bridge beside its peers, on logarithmic scales",
		plot.Panel{Title: "New process to the first tools/list response, ms", Decade: 3, Bars: r.bars(startTime)},
		plot.Panel{Title: "Peak memory at rest, MiB", Decade: 3, Bars: r.bars(restMemory)},
		plot.Panel{Title: "Peak memory after load, up to 32 messages of 1 MiB in flight, MiB", Decade: 3, Bars: r.bars(loadMemory)},
	)
}

// bars are the contestants that have a figure.
func (r *report) bars(m metric) (bars []plot.Bar) {
	for _, c := range r.all {
		value, ok := r.figures.shown(m, c.name)
		if !ok {
			continue
		}
		b := plot.Bar{Name: c.name, Class: "peer", Value: value}
		switch c.name {
		case ours:
			b.Name, b.Class = "handstamp bridge", "own"
		case floor:
			b.Name, b.Class = "floor, a bare pump", "floor"
		}
		bars = append(bars, b)
	}
	return bars
}
