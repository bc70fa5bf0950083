//go:build (dragonfly && cgo) || (freebsd && cgo) || linux || netbsd || openbsd

package keyringstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
)

// busVariable names the session bus.
const busVariable = "DBUS_SESSION_BUS_ADDRESS"

// bus is the address of a session bus.
type bus struct{ address string }

// openBus finds the session bus. Where the environment names none, as in what an MCP host starts,
// in a cron job or behind su, it is where systemd puts it. One is never started.
func openBus(getenv func(string) string) (bus, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	address := getenv(busVariable)
	switch {
	case address == "disabled:":
		err := errors.New("the environment disables the session bus")
		return bus{}, &Error{Reason: ErrUnavailable, Err: err}
	case address != "" && !strings.HasPrefix(address, "autolaunch:"):
		return bus{address}, nil
	}
	usual := fmt.Sprintf("/run/user/%d", os.Getuid())
	var tried []string
	for _, dir := range []string{getenv("XDG_RUNTIME_DIR"), usual} {
		path := filepath.Join(dir, "bus")
		if !filepath.IsAbs(dir) || slices.Contains(tried, path) {
			continue
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().Type() == fs.ModeSocket && ownedByUser(info) {
			return bus{"unix:path=" + dbus.EscapeBusAddressValue(path)}, nil
		}
		tried = append(tried, path)
	}
	err := fmt.Errorf("there is no session bus: %s is not set, and %s is no socket of yours",
		busVariable, strings.Join(tried, " or "))
	return bus{}, &Error{Reason: ErrUnavailable, Err: err}
}

func ownedByUser(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// call calls the keyring by do. A service that goes away during the call gets a second chance: the
// bus starts it again.
func (b bus) call(ctx context.Context, do func() error) error {
	var locked atomic.Bool
	job := func() error {
		// go-keyring takes the bus that the environment of the process names.
		if err := os.Setenv(busVariable, b.address); err != nil {
			return err
		}
		isLocked, err := collectionLocked()
		if err != nil {
			return err
		}
		locked.Store(isLocked)
		return do()
	}
	err := bounded(ctx, job)
	if wentAway(err) {
		err = bounded(ctx, job)
	}
	switch {
	case err == nil, errors.Is(err, keyring.ErrNotFound):
		return err
	case locked.Load():
		return &Error{Reason: ErrLocked, Err: err}
	}
	return explain(ctx, err)
}

const (
	secretService = "org.freedesktop.secrets"
	secretPath    = dbus.ObjectPath("/org/freedesktop/secrets")
	secrets       = "org.freedesktop.Secret."
)

var errNoCollection = errors.New("its service has no keyring yet: " +
	"make one with its password manager")

// collectionLocked reports whether the keyring that go-keyring uses is locked. Where it is,
// go-keyring has the service show a window, and waits.
func collectionLocked() (bool, error) {
	conn, err := dbus.SessionBus()
	if err != nil {
		return false, noBusError{err}
	}
	all, err := conn.Object(secretService, secretPath).GetProperty(secrets + "Service.Collections")
	if err != nil {
		return false, err
	}
	paths, _ := all.Value().([]dbus.ObjectPath)
	path := secretPath + "/collection/login"
	if !slices.Contains(paths, path) {
		path = secretPath + "/aliases/default"
	}
	value, err := conn.Object(secretService, path).GetProperty(secrets + "Collection.Locked")
	if e, ok := asDBus(err); ok && e.Name != "org.freedesktop.DBus.Error.NoReply" {
		return false, errNoCollection
	}
	locked, _ := value.Value().(bool)
	return locked, err
}

// noBusError reports that the bus cannot be reached.
type noBusError struct{ err error }

func (e noBusError) Error() string { return "no connection to the session bus: " + e.err.Error() }

func asDBus(err error) (dbus.Error, bool) {
	var e dbus.Error
	ok := errors.As(err, &e)
	return e, ok
}

// wentAway reports whether the service ended during a call.
func wentAway(err error) bool {
	e, _ := asDBus(err)
	return e.Name == "org.freedesktop.DBus.Error.NoReply" || errors.Is(err, dbus.ErrClosed)
}

// absent are errors of a bus on which there is no Secret Service, and of one that cannot be
// started.
var absent = []string{
	"org.freedesktop.DBus.Error.ServiceUnknown",
	"org.freedesktop.DBus.Error.NameHasNoOwner",
	"org.freedesktop.DBus.Error.UnknownInterface",
	"org.freedesktop.DBus.Error.UnknownObject",
	"org.freedesktop.DBus.Error.Spawn.",
}

func explain(ctx context.Context, err error) error {
	e, isDBus := asDBus(err)
	var noBus noBusError
	var network *net.OpError
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, errTimeout), e.Name == "org.freedesktop.DBus.Error.NoReply":
		return &Error{Reason: ErrSilent, Err: err}
	case errors.As(err, &noBus), errors.As(err, &network), errors.Is(err, errNoCollection):
		return &Error{Reason: ErrUnavailable, Err: err}
	case isDBus && slices.ContainsFunc(absent, func(prefix string) bool {
		return strings.HasPrefix(e.Name, prefix)
	}):
		return &Error{Reason: ErrUnavailable,
			Err: errors.New("there is no secret service on the session bus")}
	case isDBus && e.Name == "org.freedesktop.Secret.Error.IsLocked":
		return &Error{Reason: ErrLocked}
	}
	return &Error{Reason: ErrRejected, Err: err}
}
