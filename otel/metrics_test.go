package otel

import "testing"

// A status that is not registered counts as the one that it means: there are few series.
func TestKnownStatus(t *testing.T) {
	for status, want := range map[int]int{
		200: 200, 404: 404, 503: 503, 299: 200, 499: 400, 599: 500, 600: 500, 999: 500, 99: 500,
	} {
		if got := knownStatus(status); got != want {
			t.Errorf("%d counts as %d, want %d", status, got, want)
		}
	}
	all := make(map[int]bool)
	for status := range 1000 {
		all[knownStatus(status)] = true
	}
	if len(all) > 70 {
		t.Errorf("%d values", len(all))
	}
}
