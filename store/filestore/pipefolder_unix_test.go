//go:build unix

package filestore_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store/filestore"
)

// A pipe in the place of a folder is an error at once: opening it would block until a user
// writes.
func TestPipeInPlaceOfFolder(t *testing.T) {
	for _, place := range []string{"", "locks", "spare"} {
		t.Run("at "+place, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "credentials")
			options := filestore.Options{Dir: dir, SpareDir: filepath.Join(dir, "spare")}
			if place != "" {
				if _, err := filestore.Open(filestore.Options{Dir: dir}); err != nil {
					t.Fatal(err)
				}
			}
			if place == "locks" {
				if err := syscall.Rmdir(filepath.Join(dir, place)); err != nil {
					t.Fatal(err)
				}
			}
			if err := syscall.Mkfifo(filepath.Join(dir, place), 0o600); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				s, err := filestore.Open(options)
				if err == nil {
					_, err = s.List(t.Context())
				}
				done <- err
			}()
			select {
			case err := <-done:
				t.Logf("opened: %v", err)
			case <-time.After(30 * time.Second): // of for ever
				t.Fatal("the store waits for the pipe")
			}
		})
	}
}
