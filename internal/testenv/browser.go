package testenv

import (
	"context"
	"os"
	"strings"

	"github.com/handstamp/handstamp/lab"
)

// BrowserVariable makes this program a browser, which writes its arguments to the
// file that it names and consents.
const BrowserVariable = "TEST_FAKE_BROWSER"

func fakeBrowser(path string) int {
	if err := os.WriteFile(path, []byte(strings.Join(os.Args[1:], " ")), 0o600); err != nil {
		return 1
	}
	if _, err := lab.Browse(context.Background(), os.Args[len(os.Args)-1]); err != nil {
		return 1
	}
	return 0
}
