package handstamp_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// countingStore counts how often records are read.
type countingStore struct {
	store.Store
	reads atomic.Int32
}

func (s *countingStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, key)
}

// expiredLogin stores a login whose access token has expired, at a server that nobody asks.
func expiredLogin(t *testing.T, s store.Store) *record.Record {
	t.Helper()
	key, err := store.NewKey("https://mcp.example/mcp", "")
	if err != nil {
		t.Fatal(err)
	}
	rec := &record.Record{
		Key: key, ServerURL: key.Server,
		Clients: []*record.Client{{Issuer: "https://as.example", ID: "c", Method: "none", Source: record.SourceDynamic}},
		Grant: &record.Grant{
			Issuer: "https://as.example", ClientID: "c", TokenEndpoint: "https://as.example/token",
			AccessToken: "old", RefreshToken: "refresh", ObtainedAt: time.Now().Add(-2 * time.Hour), ExpiresAt: time.Now().Add(-time.Hour),
		},
	}
	if err := record.Put(t.Context(), s, rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// Who waits for another process's refresh looks at the record about once a second, and goes on
// in the moment when the lock is released.
func TestWaitingForRefreshReadsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(store.Memory)
		rec := expiredLogin(t, memory)
		unlock, err := memory.Lock(t.Context(), rec.Key, store.LockRefresh)
		if err != nil {
			t.Fatal(err)
		}
		counting := &countingStore{Store: memory}
		c := &handstamp.Client{Store: counting, LoginPolicy: handstamp.LoginNever}
		defer c.Close(t.Context())
		got := make(chan *handstamp.Token)
		go func() {
			token, err := c.Token(t.Context(), rec.ServerURL, handstamp.TokenOptions{})
			if err != nil {
				t.Error(err)
			}
			got <- token
		}()
		const seconds = 20
		<-time.After(seconds * time.Second)
		if n := counting.reads.Load(); n > seconds+5 {
			t.Errorf("the record was read %d times in %d s", n, seconds)
		}
		rec.Grant.AccessToken, rec.Grant.ExpiresAt = "new", time.Now().Add(time.Hour)
		if err := record.Put(t.Context(), memory, rec); err != nil {
			t.Fatal(err)
		}
		released := time.Now()
		unlock()
		if token := <-got; token == nil || token.Value != "new" {
			t.Errorf("token %v", token)
		}
		if waited := time.Since(released); waited > 0 {
			t.Errorf("it went on only %v after the release", waited)
		}
	})
}

// A holder that has stored what is waited for, and does not release the lock, is not waited for
// any longer.
func TestWaitingForRefreshSeesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(store.Memory)
		rec := expiredLogin(t, memory)
		unlock, err := memory.Lock(t.Context(), rec.Key, store.LockRefresh)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		c := &handstamp.Client{Store: memory, LoginPolicy: handstamp.LoginNever}
		defer c.Close(t.Context())
		stored := make(chan time.Time, 1)
		time.AfterFunc(5*time.Second, func() {
			rec.Grant.AccessToken, rec.Grant.ExpiresAt = "new", time.Now().Add(time.Hour)
			if err := record.Put(context.Background(), memory, rec); err != nil {
				t.Error(err)
			}
			stored <- time.Now()
		})
		token, err := c.Token(t.Context(), rec.ServerURL, handstamp.TokenOptions{})
		if err != nil || token.Value != "new" {
			t.Fatalf("token %v, %v", token, err)
		}
		if waited := time.Since(<-stored); waited > 1100*time.Millisecond {
			t.Errorf("it was seen only after %v", waited)
		}
	})
}

// stuckStore is a store of somebody else's whose waits end only with their context.
type stuckStore struct{ store.Store }

func (stuckStore) Put(ctx context.Context, _ store.Key, _ []byte, _ store.Revision) (store.Revision, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func (stuckStore) Delete(ctx context.Context, _ store.Key, _ store.Revision) error {
	<-ctx.Done()
	return ctx.Err()
}

// No operation waits for a store without bound, though its caller's context has none, and
// LockTimeout is the bound.
func TestWaitsForTheStoreAreBounded(t *testing.T) {
	operations := map[string]func(ctx context.Context, c *handstamp.Client, server string) error{
		"logout": func(ctx context.Context, c *handstamp.Client, server string) error {
			_, err := c.Logout(ctx, server, handstamp.LogoutOptions{NoRevoke: true})
			return err
		},
		"refresh": func(ctx context.Context, c *handstamp.Client, server string) error {
			_, err := c.Token(ctx, server, handstamp.TokenOptions{Refresh: true})
			return err
		},
	}
	for name, operation := range operations {
		for _, limit := range []time.Duration{0, 3 * time.Second} {
			t.Run(name+"/"+limit.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := new(store.Memory)
					rec := expiredLogin(t, memory)
					c := &handstamp.Client{Store: stuckStore{memory}, LoginPolicy: handstamp.LoginNever, LockTimeout: limit}
					defer c.Close(t.Context())
					want := limit
					if want == 0 {
						want = 15 * time.Second
					}
					began := time.Now()
					err := operation(t.Context(), c, rec.ServerURL)
					if took := time.Since(began); took > want+time.Second {
						t.Errorf("it took %v, want %v", took, want)
					}
					if !errors.Is(err, handstamp.ErrStore) || !strings.Contains(err.Error(), "for too long") {
						t.Errorf("error %v", err)
					}
				})
			})
		}
	}
}
