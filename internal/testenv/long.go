package testenv

import (
	"os"
	"time"
)

// Long reports whether the tests that are worth minutes run in full.
func Long() bool { return os.Getenv("HANDSTAMP_TEST_LONG") != "" }

// Timeout is how long a test waits for what takes moments on an idle machine.
const Timeout = time.Minute
