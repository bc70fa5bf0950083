package main

import "testing"

func TestBounds(t *testing.T) {
	atMost := bound{metric: startTime, beside: floor, limit: 2}
	faster := bound{metric: startTime, beside: remote, inverse: true, atLeast: true, limit: 25}
	alone := bound{metric: restMemory, limit: 20}
	for _, test := range []struct {
		name   string
		bound  bound
		figure figures
		value  string
		word   string
	}{
		{
			// The median of the ratios 1, 3 and 1.5, not the ratio of the medians.
			"rounds are compared one by one", atMost,
			figures{startTime: {ours: {10, 30, 15}, floor: {10, 10, 10}}}, "1.50", "ok",
		},
		{"slow", atMost, figures{startTime: {ours: {21}, floor: {10}}}, "2.10", "MISSED"},
		{"inverse", faster, figures{startTime: {ours: {10}, remote: {260}}}, "26.00", "ok"},
		{"not fast enough", faster, figures{startTime: {ours: {10}, remote: {240}}}, "24.00", "MISSED"},
		{"a peer is not there", faster, figures{startTime: {ours: {10}}}, "not available", "–"},
		{"the bridge is not there", atMost, figures{startTime: {floor: {10}}}, "not available", "MISSED"},
		{"the most memory", alone, figures{restMemory: {ours: {10, 21, 10}}}, "21.00", "MISSED"},
	} {
		v := test.bound.check(test.figure)
		if v.valueText() != test.value || v.word() != test.word {
			t.Errorf("%s: %s %s, want %s %s", test.name, v.valueText(), v.word(), test.value, test.word)
		}
	}
}
