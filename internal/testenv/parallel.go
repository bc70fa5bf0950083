package testenv

import "flag"

// SideBySide lets more parallel tests run at once than there are processors, since most of them
// wait. It is for TestMain: the flags are parsed later, so that -parallel wins. The race detector is
// slow enough with one for each processor.
func SideBySide() {
	if !RaceDetector {
		_ = flag.Set("test.parallel", "8") // which package testing has defined
	}
}
