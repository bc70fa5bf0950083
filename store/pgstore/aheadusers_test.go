//go:build unix

package pgstore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// users are users of an application who are all signed in to one server.
type users struct {
	*testenv.Env
	server *servicetest.Postgres
	db     *pgstore.Database
	pool   *pgxpool.Pool
	rec    *record.Record // of one of them
}

func newUsers(t *testing.T, h lab.Habits) *users {
	u := &users{Env: testenv.New(t, h), server: servicetest.StartPostgres(t)}
	u.db, u.pool = open(t, u.server, pgstore.Options{})
	u.MustLogin(u.Session())
	u.rec = u.Record()
	return u
}

// add signs users in, numbered from first on, whose tokens expire soon. They were issued an hour
// ago: a refresh is due a few minutes before the expiry.
func (u *users) add(first, n int, expires time.Duration) {
	u.T.Helper()
	for user := first; user < first+n; user++ {
		g := u.rec.Grant
		tokens := u.Lab.Issue(g.ClientID, u.Lab.ResourceURL(), g.ScopeGranted)
		rec := u.rec.Clone()
		rec.Revision = ""
		rec.Grant.AccessToken = secret.String(tokens.Access)
		rec.Grant.RefreshToken = secret.String(tokens.Refresh)
		rec.Grant.ObtainedAt = time.Now().Add(expires - time.Hour)
		rec.Grant.ExpiresAt = time.Now().Add(expires)
		schedule := store.Schedule{Due: rec.Grant.ExpiresAt.Add(-5 * time.Minute), Group: g.Issuer}
		err := record.PutScheduled(u.T.Context(), storeOf(u.T.(*testing.T), u.db, ownerOf(user)), rec, schedule)
		if err != nil {
			u.T.Fatal(err)
		}
	}
	u.Lab.Reset()
}

// app returns an App of a replica. ended receives the end of each refresh.
func (u *users) app(ended chan<- handstamp.RefreshEvent) *hosted.App {
	db, _ := open(u.T.(*testing.T), u.server, pgstore.Options{})
	return newApp(db, func(e handstamp.RefreshEvent) { ended <- e })
}

func newApp(db store.Database, refreshed func(handstamp.RefreshEvent)) *hosted.App {
	return &hosted.App{Database: db, Configure: func(_ store.Owner, c *handstamp.Client) {
		c.InsecureAllowPrivateAddresses = true
		c.Hooks.Refreshed = refreshed
	}}
}

// run runs RefreshAhead of the apps until n refreshes have ended.
func (u *users) run(n int, ended <-chan handstamp.RefreshEvent, o hosted.AheadOptions, apps ...*hosted.App) {
	u.T.Helper()
	ctx, cancel := context.WithTimeout(u.T.Context(), aheadTimeout)
	defer cancel()
	var workers sync.WaitGroup
	for _, app := range apps {
		workers.Go(func() {
			if err := app.RefreshAhead(ctx, o); err != nil {
				u.T.Error(err)
			}
		})
	}
	for i := range n {
		select {
		case <-ended:
		case <-ctx.Done():
			u.T.Errorf("%d of %d refreshes have ended", i, n)
		}
	}
	cancel()
	workers.Wait()
}

// due returns how many credentials are due.
func (u *users) due() (n int) {
	u.T.Helper()
	err := u.pool.QueryRow(u.T.Context(),
		"SELECT count(*) FROM handstamp_due WHERE due_at < now() + interval '10 minutes'").Scan(&n)
	if err != nil {
		u.T.Fatal(err)
	}
	return n
}

// exec runs a statement that takes the place of time or of another program.
func (u *users) exec(query string) {
	u.T.Helper()
	if _, err := u.pool.Exec(u.T.Context(), query); err != nil {
		u.T.Fatal(err)
	}
}

func (u *users) wantStrict(refreshes int) {
	u.T.Helper()
	u.WantCounts(map[string]int{"token:refresh": refreshes, "authorize": 0})
	if a := u.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		u.T.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
	if n := u.due(); n != 0 {
		u.T.Errorf("%d credentials are due", n)
	}
}
