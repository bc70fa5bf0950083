package browser

import (
	"context"
	"fmt"
	"io"
)

// openSystem opens url by macOS's own opener. URLs begin with "http", so it
// cannot take one for a file or a flag.
func openSystem(ctx context.Context, url string, output io.Writer) error {
	if err := available(); err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	return start(ctx, []string{"/usr/bin/open", url}, output, patience)
}

// available: a browser opened from a remote session appears at the wrong screen.
func available() error {
	if isRemote() {
		return unavailable("this is a remote session")
	}
	return nil
}
