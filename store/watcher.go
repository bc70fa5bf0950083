package store

import "context"

// Change is that a credential was written or deleted. It has no names, so that it can be sent where
// more can listen than may read the database.
type Change struct {
	// Owner is the [Owner.ID] and Key the [Key.ID] of the credential. Both are empty if changes may
	// have been missed, so that anything may have changed: at the beginning, and after a connection
	// was lost.
	Owner, Key string
}

// Watcher is an optional ability of a [Database]: to report what others change, so that a replica
// that keeps tokens in memory does not use one which another has replaced or removed.
type Watcher interface {
	// Watch calls changed for the changes that are made with other handles on the database, soon
	// after each, until ctx ends. It calls it from one goroutine, and in the meantime reports nothing
	// else. Several changes of one credential may be reported as one. Where it cannot follow the
	// changes, it calls changed with the zero Change now and then. It returns the context's error.
	//
	// It is an optimisation: a change may be reported late, and who holds a lock reads the store.
	Watch(ctx context.Context, changed func(Change)) error
}
