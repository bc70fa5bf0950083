package handstamp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

func TestStateOfARecord(t *testing.T) {
	now := time.Now().UTC()
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	client := &record.Client{Issuer: "as", ID: "c"}
	replaced := &record.Client{Issuer: "as", ID: "c", Secret: "s", SecretExpiresAt: past, Source: record.SourceDynamic,
		Response: "{}", RegistrationClientURI: "https://as.example/c", RegistrationAccessToken: "t"}
	for name, test := range map[string]struct {
		grant       *record.Grant
		ended       *record.GrantError
		client      *record.Client
		want        State
		refreshable bool
	}{
		"nothing":                       {nil, nil, client, StateNone, false},
		"ended":                         {nil, &record.GrantError{Code: "invalid_grant"}, client, StateRevoked, false},
		"valid":                         {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: future}, nil, client, StateValid, true},
		"valid, not to be refreshed":    {&record.Grant{AccessToken: "a", ExpiresAt: future}, nil, client, StateValid, false},
		"no expiry":                     {&record.Grant{AccessToken: "a"}, nil, client, StateNoExpiry, false},
		"expired":                       {&record.Grant{AccessToken: "a", ExpiresAt: past}, nil, client, StateExpired, false},
		"expired, to be refreshed":      {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: past}, nil, client, StateRefreshable, true},
		"rejected, to be refreshed":     {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: future, Rejected: true}, nil, client, StateRefreshable, true},
		"the client is gone":            {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: past}, nil, &record.Client{Issuer: "as", ID: "c", Rejected: true}, StateExpired, false},
		"the client's secret ended":     {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: past}, nil, &record.Client{Issuer: "as", ID: "c", Secret: "s", SecretExpiresAt: past}, StateExpired, false},
		"the secret is to be replaced":  {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: past}, nil, replaced, StateRefreshable, true},
		"ended, the token still works":  {&record.Grant{AccessToken: "a", ExpiresAt: future}, &record.GrantError{Code: "invalid_grant"}, client, StateValid, false},
		"ended, the token has expired":  {&record.Grant{AccessToken: "a", ExpiresAt: past}, &record.GrantError{Code: "invalid_grant"}, client, StateRevoked, false},
		"the token's client is unknown": {&record.Grant{AccessToken: "a", RefreshToken: "r", ExpiresAt: past}, nil, &record.Client{Issuer: "as", ID: "other"}, StateExpired, false},
	} {
		rec := &record.Record{Grant: test.grant, GrantError: test.ended, Clients: []*record.Client{test.client}}
		if test.grant != nil {
			test.grant.Issuer, test.grant.ClientID = "as", "c"
		}
		st := statusOf(rec, now)
		usable := test.want == StateValid || test.want == StateNoExpiry || test.want == StateRefreshable
		if st.State != test.want || st.Refreshable != test.refreshable || st.Usable() != usable {
			t.Errorf("%s: %s, refreshable %v, usable %v", name, st.State, st.Refreshable, st.Usable())
		}
	}
}

// hanging is a store that another process keeps busy for ever.
type hanging struct {
	*store.Memory
	list, get bool
}

func (h hanging) List(ctx context.Context) ([]store.Key, error) {
	if h.list {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.Memory.List(ctx)
}

func (h hanging) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if h.get {
		<-ctx.Done()
		return nil, "", ctx.Err()
	}
	return h.Memory.Get(ctx, key)
}

// List waits for the store as long as LockTimeout, and no longer.
func TestListDoesNotWaitForEver(t *testing.T) {
	for name, test := range map[string]struct {
		hangs   hanging
		timeout time.Duration
		want    time.Duration
	}{
		"listing":          {hanging{list: true}, time.Second, time.Second},
		"listing, default": {hanging{list: true}, 0, storeTimeout},
		"a record":         {hanging{get: true}, time.Second, time.Second},
		"no wait":          {hanging{}, time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept := new(store.Memory)
				key := store.Key{Server: "https://mcp.example", Profile: "default"}
				if err := record.Put(t.Context(), kept, &record.Record{Key: key}); err != nil {
					t.Fatal(err)
				}
				test.hangs.Memory = kept
				c := &Client{Store: test.hangs, LockTimeout: test.timeout}
				began := time.Now()
				list, err := c.List(t.Context())
				if waited := time.Since(began); waited != test.want {
					t.Errorf("it took %v, want %v", waited, test.want)
				}
				switch {
				case test.hangs.list:
					if !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), errStoreBusy.Error()) {
						t.Errorf("error %v", err)
					}
				case err != nil || len(list) != 1:
					t.Errorf("List = %v, %v", list, err)
				case test.hangs.get && (list[0].State != StateUnusable || list[0].Problem != errStoreBusy.Error()):
					t.Errorf("listed as %+v", list[0])
				case !test.hangs.get && list[0].State != StateNone:
					t.Errorf("listed as %+v", list[0])
				}
			})
		})
	}
}

// The error of a caller that does not want to wait any longer is not that of a busy store.
func TestListEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &Client{Store: hanging{Memory: new(store.Memory), list: true}}
	if _, err := c.List(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrStore) {
		t.Errorf("error %v", err)
	}
}
