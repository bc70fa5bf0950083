//go:build race

package testenv

// RaceDetector reports whether the race detector looks on. It makes a test ten times as slow.
const RaceDetector = true
