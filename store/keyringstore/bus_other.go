//go:build !((dragonfly && cgo) || (freebsd && cgo) || linux || netbsd || openbsd)

package keyringstore

import (
	"context"
	"errors"

	"github.com/zalando/go-keyring"
)

// bus is the way to the keyring, of which these systems need none.
type bus struct{}

func openBus(func(string) string) (bus, error) { return bus{}, nil }

// call calls the keyring by do.
func (bus) call(ctx context.Context, do func() error) error {
	err := bounded(ctx, do)
	switch {
	case err == nil, errors.Is(err, keyring.ErrNotFound):
		return err
	case errors.Is(err, keyring.ErrUnsupportedPlatform):
		return &Error{Reason: ErrUnavailable}
	case errors.Is(err, errTimeout): // the Keychain shows a window and waits for the user
		return &Error{Reason: ErrSilent, Err: err}
	case ctx.Err() != nil:
		return err
	}
	return &Error{Reason: ErrRejected, Err: err}
}
