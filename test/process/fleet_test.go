//go:build unix

package process_test

import (
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

// The credentials of many users expire together, and many processes of one machine need all of them.
func TestManyProcessesRefreshEachCredentialOnce(t *testing.T) {
	folder := t.TempDir() + "/credentials"
	clients, _, err := openFolder(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	testenv.New(t, testenv.Personality(t, "rotates-strictly")).Fleet(folder, clients)
}
