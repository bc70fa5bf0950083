// Package servicetest runs the real services that stores keep credentials in, for tests: each test
// has a server of its own. Only tests import it.
package servicetest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// missing skips the test, or fails it where the environment demands the service.
func missing(t testing.TB, service, why string) {
	t.Helper()
	if slices.Contains(strings.Fields(os.Getenv("HANDSTAMP_TEST_REQUIRE")), service) {
		t.Fatal(why)
	}
	t.Skip(why)
}
