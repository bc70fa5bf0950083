//go:build !race

package testenv

// RaceDetector reports whether the race detector looks on.
const RaceDetector = false
