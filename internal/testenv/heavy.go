package testenv

import "testing"

// Heavy skips a test that computes for minutes where the race detector looks on, or where short
// tests are wanted. "make test" runs it without the race detector, in a step of its own.
func Heavy(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip(why)
	}
	WithoutRaceDetector(t, why)
}

// WithoutRaceDetector is [Heavy] for a test that is among the short ones, too.
func WithoutRaceDetector(t testing.TB, why string) {
	t.Helper()
	if RaceDetector {
		t.Skip("it runs without the race detector, in a step of its own: " + why)
	}
}
