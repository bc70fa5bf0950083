//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// How the refreshes are measured. The latency is that of an authorization server elsewhere.
const (
	lockPool     = 32
	atOnce       = lockPool + lockPool/4 // what is done before and after needs no lock
	tokenLatency = 250 * time.Millisecond
	minRefresh   = 0.9 // of lock pool / token latency
)

// tokenEndpoint responds to refreshes after a while, and could to any number at once.
type tokenEndpoint struct {
	listener net.Listener
	server   http.Server
	served   atomic.Int64
	twice    atomic.Int64 // that came with a refresh token that had been used
	used     sync.Map     // refresh tokens
}

func startTokenEndpoint() (*tokenEndpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &tokenEndpoint{listener: listener}
	e.server.Handler = e
	go func() { _ = e.server.Serve(listener) }()
	return e, nil
}

func (e *tokenEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, again := e.used.LoadOrStore(r.PostFormValue("refresh_token"), true); again {
		e.twice.Add(1)
	}
	select {
	case <-time.After(tokenLatency):
	case <-r.Context().Done():
		return
	}
	e.served.Add(1)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":86400,"refresh_token":%q}`,
		rand.Text(), rand.Text())
}

func (e *tokenEndpoint) url() string { return "http://" + e.listener.Addr().String() + "/token" }

// due returns the template of a login that has to be refreshed, at another token endpoint.
func (t *template) due(until time.Time, endpoint string) (*template, error) {
	rec := *t.record
	grant := *rec.Grant
	rec.Grant = &grant
	grant.ExpiresAt, grant.TokenEndpoint = until.UTC().Round(time.Second), endpoint
	grant.ObtainedAt = grant.ExpiresAt.Add(-time.Hour) // or a short life would have it due later
	grant.RefreshToken = refreshMarker
	text, err := record.Encode(&rec)
	return &template{server: t.server, record: &rec, text: text}, err
}

// measureRefreshes has many logins due at once, and a replica refresh them ahead of requests for a
// while.
func (d *database) measureRefreshes(ctx context.Context, r *report) error {
	progress("%s refreshes that are due", count(r.due))
	endpoint, err := startTokenEndpoint()
	if err != nil {
		return err
	}
	defer endpoint.server.Close()
	if err := d.expire(ctx, time.Now().Add(time.Minute), endpoint.url(), r.due); err != nil {
		return err
	}
	db, err := pgstore.New(ctx, d.pool, pgstore.Options{Keys: []sealed.Key{d.key}, Refreshes: lockPool})
	if err != nil {
		return err
	}
	defer db.Close()
	app := (&database{store: db}).app(r.cache)
	defer app.Close(ctx)
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		ended <- app.RefreshAhead(working, hosted.AheadOptions{AtOnce: atOnce, PerIssuer: atOnce})
	}()
	for time.Since(began) < r.refresh && endpoint.served.Load() < int64(r.due) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	served, took := float64(endpoint.served.Load()), time.Since(began).Seconds()
	stop()
	if err := errors.Join(<-ended, ctx.Err()); err != nil {
		return err
	}
	if n := endpoint.twice.Load(); n > 0 {
		return fmt.Errorf("%d refresh tokens were used twice", n)
	}
	is, could := served/took, lockPool/tokenLatency.Seconds()
	r.add(result{
		what: fmt.Sprintf("refreshes while %s are due, of %d connections / %v", count(r.due), lockPool,
			tokenLatency),
		ratio: is / could, limit: minRefresh, atLeast: true, ours: is, floor: could, unit: "a second",
	})
	return nil
}

// expire has the tokens of the first users expire, and lets them be refreshed from now on.
func (d *database) expire(ctx context.Context, until time.Time, endpoint string, users int) error {
	t, err := d.template.due(until, endpoint)
	if err != nil {
		return err
	}
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, "CREATE TEMPORARY TABLE expired (id bytea, value bytea) ON COMMIT DROP")
	if err != nil {
		return err
	}
	number := 0
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"expired"}, []string{"id", "value"},
		pgx.CopyFromFunc(func() ([]any, error) {
			if number == users {
				return nil, nil
			}
			o := owner(number)
			id := rowID(o, t.record.Key)
			box, err := d.seal(ctx, o, t.record.Key, t.value(number))
			number++
			return []any{id, checksum.Add(id, box)}, err
		}))
	if err == nil {
		_, err = tx.Exec(ctx, "UPDATE handstamp_credential AS c SET value = expired.value, "+
			"revision = md5(random()::text) FROM expired WHERE c.id = expired.id")
	}
	if err == nil {
		_, err = tx.Exec(ctx, "INSERT INTO handstamp_due (id, due_group, due_at) "+
			"SELECT id, $1, now() FROM expired", t.record.Grant.Issuer)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err == nil {
		_, err = d.pool.Exec(ctx, "VACUUM ANALYZE")
	}
	return err
}
