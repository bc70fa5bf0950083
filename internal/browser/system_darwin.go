package browser

import (
	"context"
	"errors"
	"fmt"
)

// openSystem opens url by macOS's own opener. URLs begin with "http", so it
// cannot take one for a file or a flag.
func openSystem(ctx context.Context, url string, o Opener) error {
	if err := available(); err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	return o.start(ctx, []string{"/usr/bin/open", url}, openTimeout)
}

// available returns an error in a remote session, from which a browser opens on the wrong screen.
func available() error {
	if isRemote() {
		return errors.New("this is a remote session")
	}
	return nil
}
