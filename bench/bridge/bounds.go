package main

import (
	"fmt"
	"slices"
)

// A metric is one row of the figures, named with its unit.
type metric string

const (
	startTime   metric = "new process to the first `tools/list` response, ms"
	startCPU    metric = "CPU time of that process, ms"
	restMemory  metric = "its peak memory, MiB"
	callTime    metric = "new process that makes one call, ms"
	callCPU     metric = "its CPU time, ms"
	smallMedian metric = "1 KiB, one in flight: median, ms"
	smallP99    metric = "1 KiB, one in flight: 99th percentile, ms"
	smallOne    metric = "1 KiB, one in flight: calls/s"
	smallMany   metric = "1 KiB, 32 in flight: calls/s"
	largeOne    metric = "1 MiB, one in flight: calls/s"
	largeMany   metric = "1 MiB, 32 in flight: calls/s"
	loadMemory  metric = "peak memory after all of that, MiB"
)

// metrics are the rows in their order.
var metrics = []metric{
	startTime, startCPU, restMemory, callTime, callCPU, smallMedian, smallP99, smallOne, smallMany, largeOne, largeMany, loadMemory,
}

// shown is the one number that stands for a contestant's: the median of the
// rounds, and of memory the most.
func (f figures) shown(m metric, name string) (value float64, ok bool) {
	values := f[m][name]
	if len(values) == 0 {
		return 0, false
	}
	if m == restMemory || m == loadMemory {
		return slices.Max(values), true
	}
	return median(values), true
}

// ratio is the median over the rounds of one contestant's figure divided by
// another's.
func (f figures) ratio(m metric, name, other string) (value float64, ok bool) {
	a, b := f[m][name], f[m][other]
	if len(a) == 0 || len(a) != len(b) {
		return 0, false
	}
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios), true
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// A bound is a promise about the bridge, beside another contestant or by itself.
type bound struct {
	what    string
	metric  metric
	beside  string // the contestant whose figure is the divisor; empty: none
	inverse bool   // the other's figure divided by ours
	atLeast bool
	limit   float64
}

var bounds = []bound{
	{what: "start-up, times the floor's", metric: startTime, beside: floor, limit: 1.8},
	{what: "start-up, times faster than mcp-remote", metric: startTime, beside: remote, inverse: true, atLeast: true, limit: 25},
	{what: "one call, times the Go SDK client's", metric: callTime, beside: sdk, limit: 1.5},
	{what: "peak memory at rest, MiB", metric: restMemory, limit: 18},
	{what: "peak memory after load, MiB", metric: loadMemory, limit: 80},
	{what: "1 KiB, median, times the floor's", metric: smallMedian, beside: floor, limit: 1.3},
	{what: "1 KiB, 99th percentile, times the floor's", metric: smallP99, beside: floor, limit: 1.25},
	{what: "1 KiB × 32, throughput, times the Go SDK client's", metric: smallMany, beside: sdk, atLeast: true, limit: 1.2},
	{what: "1 MiB, throughput, times the floor's", metric: largeOne, beside: floor, atLeast: true, limit: 0.8},
	{what: "1 MiB × 32, throughput, times the floor's", metric: largeMany, beside: floor, atLeast: true, limit: 0.8},
}

// An outcome is a bound with what was measured.
type outcome struct {
	bound
	value    float64
	measured bool
}

// check compares the bridge's figures with a bound.
func (b bound) check(f figures) outcome {
	v := outcome{bound: b}
	switch {
	case b.beside == "":
		v.value, v.measured = f.shown(b.metric, ours)
	case b.inverse:
		v.value, v.measured = f.ratio(b.metric, b.beside, ours)
	default:
		v.value, v.measured = f.ratio(b.metric, ours, b.beside)
	}
	return v
}

// missed is true of a bound that was measured and not met. A peer that is not
// there is no reason to fail; that the bridge itself is not, is one.
func (v outcome) missed() bool {
	if !v.measured {
		return v.beside != remote
	}
	if v.atLeast {
		return v.value < v.limit
	}
	return v.value > v.limit
}

func (v outcome) limitText() string {
	if v.atLeast {
		return fmt.Sprintf("≥ %.2f", v.limit)
	}
	return fmt.Sprintf("≤ %.2f", v.limit)
}

func (v outcome) valueText() string {
	if !v.measured {
		return "not available"
	}
	return fmt.Sprintf("%.2f", v.value)
}

func (v outcome) word() string {
	switch {
	case v.missed():
		return "MISSED"
	case !v.measured:
		return "–"
	}
	return "ok"
}
