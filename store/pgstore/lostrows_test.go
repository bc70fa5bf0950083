//go:build unix

package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
)

// lag waits until a standby has what the primary has, and stops it: what comes later it lacks.
func lag(t *testing.T, primary, standby *servicetest.Postgres) {
	t.Helper()
	revision := func(server *servicetest.Postgres) (r string) {
		conn, err := pgx.Connect(t.Context(), server.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		// Where nothing is stored yet there is no row or no table.
		_ = conn.QueryRow(t.Context(), "SELECT revision FROM handstamp_credential").Scan(&r)
		return r
	}
	deadline := time.Now().Add(testenv.Timeout)
	for want := revision(primary); revision(standby) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the standby does not follow")
		}
	}
	standby.Kill()
}

// A standby takes over that lacks the last refresh. The replica that did it still has the login, and
// stores it again, rather than send a refresh token that it knows was used; the others read it there.
func TestStandbyWithoutTheLastRows(t *testing.T) {
	primary := servicetest.StartPostgres(t)
	standby := primary.StartStandby()
	o := newOutage(t, servicetest.URLs(primary, standby))
	lag(t, primary, standby)
	before := <-o.Start(o.First)
	if before.Err != nil {
		t.Fatal(before.Err)
	}
	primary.Kill()
	standby.Start()
	standby.Promote()
	o.First.StoreChanged("") // as package hosted calls it after the connection was lost
	first := <-o.Start(o.First)
	o.WantSame(first, <-o.Start(o.Second))
	if first.Token.Value != before.Token.Value {
		t.Error("the replica has another token than the one it was issued")
	}
}
