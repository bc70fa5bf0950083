package store

import (
	"context"
	"time"
)

// Schedule is when something has to be done about a value, and what that is bounded by. A store
// knows no more of it.
type Schedule struct {
	// Due is when the value is due. Zero: never.
	Due time.Time

	// Group is what values have in common of which few at a time are to be worked on, such as a
	// server.
	Group string
}

// SchedulePutter is an optional ability of a Store: values with a [Schedule], which the [Scheduler]
// that it belongs to finds. A value that [Store.Put] stores has none.
type SchedulePutter interface {
	// PutScheduled is [Store.Put] of a value and its schedule, in one step.
	PutScheduled(
		ctx context.Context, key Key, value []byte, revision Revision, schedule Schedule,
	) (Revision, error)
}

// Put is [Store.Put] with a schedule, if s takes one.
func Put(
	ctx context.Context, s Store, key Key, value []byte, revision Revision, schedule Schedule,
) (Revision, error) {
	if p, ok := s.(SchedulePutter); ok {
		return p.PutScheduled(ctx, key, value, revision, schedule)
	}
	return s.Put(ctx, key, value, revision)
}

// Scheduler is an optional ability of a [Database], whose stores are each a [SchedulePutter]: any
// number of replicas share the work on what is due.
type Scheduler interface {
	// Claim returns values that are due, those due longest first, and claims each for the caller:
	// it is not due again before the claim ends. A Put with another schedule ends it, too. Values
	// whose owners were not at work lately lose their schedule instead.
	Claim(ctx context.Context, o ClaimOptions) ([]Claim, error)

	// Release ends claims: the values are due at the given time, or never if it is zero. Claims
	// that have ended are left alone.
	Release(ctx context.Context, claims []Claim, due time.Time) error

	// NoteUse notes that users are at work. A value that gets a schedule, and had none, is one of a
	// user who is.
	NoteUse(ctx context.Context, owners []Owner) error
}

// ClaimOptions bound what [Scheduler.Claim] returns.
type ClaimOptions struct {
	Max      int // of all
	PerGroup int // of each group, less what Taken has for it

	// Taken is how many of PerGroup are taken, by the groups that claims have.
	Taken map[string]int

	// For is how long a claim lasts.
	For time.Duration

	// UsedWithin is how long ago an owner may have been at work last.
	UsedWithin time.Duration
}

// Claim is a value that is due.
type Claim struct {
	Owner Owner
	Key   Key
	Group string // of its schedule; one that is long or no text may be replaced by another
	Until time.Time
}
