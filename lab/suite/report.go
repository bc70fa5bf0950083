package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Report is what came of a run.
type Report struct {
	Client   string        `json:"client"`
	Begun    time.Time     `json:"begun"`
	Duration time.Duration `json:"duration_ns"`
	Cells    []*Cell       `json:"cells"` // by personality, condition and processes
}

// Summary counts the cells: those that passed, those that failed, and those that
// are not possible.
func (r *Report) Summary() (passed, failed, void int) {
	for _, c := range r.Cells {
		switch {
		case c.Expect.Void:
			void++
		case c.Passed():
			passed++
		default:
			failed++
		}
	}
	return passed, failed, void
}

// WriteJSON writes the whole report.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// sentence is the result in a line.
func (r *Report) sentence() string {
	passed, failed, void := r.Summary()
	cells := "cells"
	if passed == 1 {
		cells = "cell"
	}
	return fmt.Sprintf("%d %s passed, %d failed, %d not possible; %v", passed, cells, failed,
		void, r.Duration.Round(time.Second))
}

// String is the result in a line.
func (r *Report) String() string { return r.Client + ": " + r.sentence() }

// Reports are those of several clients.
type Reports []*Report

// Passed reports whether no cell of any client failed.
func (all Reports) Passed() bool {
	for _, r := range all {
		if _, failed, _ := r.Summary(); failed > 0 {
			return false
		}
	}
	return true
}
