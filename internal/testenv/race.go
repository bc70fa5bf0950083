//go:build race

package testenv

// RaceDetector reports whether the race detector looks on. It makes a test ten times as slow: those
// that look at very many cases, one after the other, run without it in a step of their own.
const RaceDetector = true
