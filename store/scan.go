package store

import (
	"context"
	"slices"
)

// Scanner is an optional ability of a Store: to read many values at once, for which a database
// needs one query, and a folder one look at each file.
type Scanner interface {
	// Scan calls visit with each value, in any order: those of a server, as [Key].Server has it, or
	// all if server is empty. visit may keep the value. rest has the keys of those that take a Get of
	// their own, such as damaged ones. It waits for no lock.
	Scan(
		ctx context.Context, server string, visit func(key Key, value []byte, revision Revision),
	) (rest []Key, err error)
}

// Scan is [Scanner.Scan]. Of a Store without that ability all keys are in rest.
func Scan(
	ctx context.Context, s Store, server string,
	visit func(key Key, value []byte, revision Revision),
) (rest []Key, err error) {
	if scanner, ok := s.(Scanner); ok {
		return scanner.Scan(ctx, server, visit)
	}
	keys, err := s.List(ctx)
	if server != "" {
		keys = slices.DeleteFunc(keys, func(k Key) bool { return k.Server != server })
	}
	return keys, err
}
