package pgstore

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/store"
)

const (
	// channel is where changes are announced. A payload is a sender, and after a space the IDs of
	// owner and key of each change, without any name.
	channel  = "handstamp_change"
	idSize   = 16
	perEvent = 7900 / (2 * idSize) // a payload has less than 8000 bytes

	notifyTimeout = 2 * time.Second
	notifyTries   = 5
)

// notifier announces this Database's writes to those of other replicas. It does so after the write
// and not within it: transactions that notify commit one at a time, in the whole of PostgreSQL.
// What is written while an announcement is under way goes out with the next one.
type notifier struct {
	pool *pgxpool.Pool
	mode pgx.QueryExecMode
	self string // the sender

	mu      sync.Mutex
	pending map[store.Change]bool // guarded by mu
	sending bool                  // guarded by mu
	running sync.WaitGroup
}

func newNotifier(pool *pgxpool.Pool) *notifier {
	return &notifier{
		pool: pool, mode: unprepared(pool), self: rand.Text(), pending: make(map[store.Change]bool),
	}
}

// add announces a change, soon.
func (n *notifier) add(change store.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending[change] = true
	if !n.sending {
		n.sending = true
		n.running.Go(n.send)
	}
}

// send announces changes until there are none left.
func (n *notifier) send() {
	for {
		n.mu.Lock()
		changes := n.pending
		n.pending = make(map[store.Change]bool)
		n.sending = len(changes) > 0
		n.mu.Unlock()
		if len(changes) == 0 {
			return
		}
		payloads := n.payloads(changes)
		for try := range notifyTries {
			// What cannot be announced now is noticed later, when a server rejects a token. A
			// replica whose connection is lost as well takes everything for changed.
			if n.exec(payloads) == nil {
				break
			}
			time.Sleep(firstRetry << try)
		}
	}
}

// exec sends notifications, which need not survive a crash.
func (n *notifier) exec(payloads []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	_, err := n.pool.Exec(ctx, "SELECT set_config('synchronous_commit', 'off', true), "+
		"pg_notify('"+channel+"', payload) FROM unnest($1::text[]) AS payload",
		n.mode, payloads)
	return err
}

func (n *notifier) payloads(changes map[store.Change]bool) (payloads []string) {
	var b strings.Builder
	count := 0
	flush := func() {
		if count > 0 {
			payloads = append(payloads, b.String())
		}
		b.Reset()
		count = 0
	}
	for change := range changes {
		if count == 0 {
			b.WriteString(n.self + " ")
		}
		b.WriteString(change.Owner + change.Key)
		if count++; count == perEvent {
			flush()
		}
	}
	flush()
	return payloads
}

// changesIn returns what a notification of another sender announces.
func (n *notifier) changesIn(payload string) (changes []store.Change) {
	sender, ids, _ := strings.Cut(payload, " ")
	if sender == n.self {
		return nil
	}
	for ; len(ids) >= 2*idSize; ids = ids[2*idSize:] {
		changes = append(changes, store.Change{Owner: ids[:idSize], Key: ids[idSize : 2*idSize]})
	}
	return changes
}

// close waits for announcements under way.
func (n *notifier) close() { n.running.Wait() }
