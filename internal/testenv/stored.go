package testenv

import (
	"context"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// Record reads what is stored for the world's server.
func (w *Env) Record() *record.Record {
	w.T.Helper()
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		w.T.Fatal(err)
	}
	rec, err := record.Get(context.Background(), w.Store, key)
	if err != nil {
		w.T.Fatal(err)
	}
	return rec
}

// Expire makes the stored access token expired by the clock.
func (w *Env) Expire() {
	w.T.Helper()
	rec := w.Record()
	rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
	if err := record.Put(context.Background(), w.Store, rec); err != nil {
		w.T.Fatal(err)
	}
}

// Unusable is how an access token stops being usable.
var Unusable = map[string]func(*Env){
	"expired":        (*Env).Expire,
	"rejected early": func(w *Env) { w.Lab.RevokeAccessTokens() },
}

// Put stores a record that a test has changed.
func (w *Env) Put(rec *record.Record) {
	w.T.Helper()
	if err := record.Put(context.Background(), w.Store, rec); err != nil {
		w.T.Fatal(err)
	}
}

// dueLife is how long a token of an hour is good when its refresh is due, whatever the jitter: that
// is at 48 to 72 seconds before the expiry. It passes in real time, while a test uses the token.
const dueLife = 45 * time.Second

// AboutToExpire puts the access token into the last minute of its life.
func (m *Env) AboutToExpire() {
	m.T.Helper()
	rec := m.Record()
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	rec.Grant.ExpiresAt = time.Now().Add(dueLife)
	m.Put(rec)
}
