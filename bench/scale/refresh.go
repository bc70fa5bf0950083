package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// How the refreshes are measured. The latency is that of an authorization server elsewhere.
const (
	lockPool     = 32
	tokenLatency = 250 * time.Millisecond
	minRefresh   = 0.9 // of lock pool / token latency
)

// tokenEndpoint responds to refreshes after a while, and could to any number at once.
type tokenEndpoint struct {
	listener net.Listener
	server   http.Server
	served   atomic.Int64
}

func startTokenEndpoint() (*tokenEndpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &tokenEndpoint{listener: listener}
	e.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(tokenLatency):
		case <-r.Context().Done():
			return
		}
		e.served.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":86400,"refresh_token":%q}`,
			rand.Text(), rand.Text())
	})
	go func() { _ = e.server.Serve(listener) }()
	return e, nil
}

func (e *tokenEndpoint) url() string { return "http://" + e.listener.Addr().String() + "/token" }

// due returns the template of a login that has to be refreshed, at another token endpoint.
func (t *template) due(until time.Time, endpoint string) (*template, error) {
	rec := *t.record
	grant := *rec.Grant
	rec.Grant = &grant
	grant.ExpiresAt, grant.TokenEndpoint = until.UTC().Round(time.Second), endpoint
	grant.RefreshToken = secret.String("refresh-" + rand.Text())
	text, err := record.Encode(&rec)
	return &template{server: t.server, record: &rec, text: text}, err
}

// measureRefreshes has many logins refreshed that are due at once, and counts for a while.
func (d *database) measureRefreshes(ctx context.Context, r *report) error {
	progress("%s refreshes that are due", count(r.due))
	endpoint, err := startTokenEndpoint()
	if err != nil {
		return err
	}
	defer endpoint.server.Close()
	most := min(r.due, int(3*r.refresh.Seconds()*lockPool/tokenLatency.Seconds()))
	if err := d.expire(ctx, time.Now().Add(-time.Minute), endpoint.url(), most); err != nil {
		return err
	}
	db, err := pgstore.New(ctx, d.pool, pgstore.Options{Keys: []sealed.Key{d.key}, Refreshes: lockPool})
	if err != nil {
		return err
	}
	defer db.Close()
	refreshing := &database{store: db, template: d.template}
	app := refreshing.app(r.cache)
	defer app.Close(ctx)
	began := time.Now()
	var done atomic.Int64
	err = each(most, 2*lockPool, func(i int) error {
		if time.Since(began) > r.refresh {
			return nil
		}
		defer done.Add(1)
		return refreshing.token(ctx, app, owner(i))
	})
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	if served := endpoint.served.Load(); served != done.Load() {
		return fmt.Errorf("%d refreshes for %d tokens", served, done.Load())
	}
	is, could := float64(done.Load())/took, lockPool/tokenLatency.Seconds()
	r.add(result{
		what: fmt.Sprintf("refreshes of logins that are due at once, of %d connections / %v", lockPool,
			tokenLatency),
		ratio: is / could, limit: minRefresh, atLeast: true, ours: is, floor: could, unit: "a second",
	})
	return nil
}

// each calls do for all numbers, from several goroutines, until one fails.
func each(n, workers int, do func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
