package store

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Owner is who has credentials in a [Database]: a user of a tenant. Both are names of the
// application's own, valid UTF-8 without zero bytes and of at most 255 bytes, and may be empty.
type Owner struct{ Tenant, User string }

// maxOwnerName is the most that a name has, in bytes.
const maxOwnerName = 255

// Check returns an error if a name is not as it has to be.
func (o Owner) Check() error {
	for _, name := range []string{o.Tenant, o.User} {
		if len(name) > maxOwnerName || !utf8.ValidString(name) || strings.Contains(name, "\x00") {
			return errors.New("store: the name of a tenant or user has at most 255 bytes, " +
				"and is valid UTF-8 without zero bytes")
		}
	}
	return nil
}

// ID returns 16 characters that tell the owner apart from all others, and do not show the names.
func (o Owner) ID() string { return hashID(o.Tenant, o.User) }

// Database has a Store of each user, as pgstore and redisstore do. It may be used from any number
// of goroutines, and by any number of replicas.
type Database interface {
	// Store returns the store of one user, in which nothing of another can be read, listed, locked
	// or changed. It costs no request to a server. It fails for names that it cannot tell apart
	// from others.
	Store(o Owner) (Store, error)
}
