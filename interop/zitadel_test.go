package interop

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// startZitadel starts the OpenID provider of zitadel/oidc as its own example has
// it: its login page, its storage, its test user. Clients are configured; ours is
// the example's native one. The MCP server is not known to it.
func startZitadel(t *testing.T, _ string) *authServer {
	s, connect := newAuthServer(t)
	const id = "handstamp"
	z := &zitadelStorage{
		Storage: storage.NewStorageWithClients(storage.NewUserStore(s.issuer),
			map[string]*storage.Client{id: storage.NativeClient(id, "http://127.0.0.1/callback")}),
		lifetime: time.Hour,
		ends:     make(map[string]time.Time),
	}
	behind := httptest.NewServer(exampleop.SetupServer(s.issuer, z, slog.New(slog.DiscardHandler), false))
	t.Cleanup(behind.Close)
	connect(behind.URL)
	s.scopes, s.token = []string{"openid"}, "/oauth/token"
	s.username, s.password = "test-user@127.0.0.1", "verysecure"
	s.registration = &handstamp.Registration{ClientID: id, TokenEndpointAuthMethod: "none"}
	s.method = s.registration.TokenEndpointAuthMethod
	s.verify = userinfo(behind.URL + "/userinfo")
	s.lifetime = func(d time.Duration) { z.set(func() { z.lifetime = d }) }
	s.forgetClients = func() { z.set(func() { z.forgetful = true }) }
	s.forgotten = handstamp.ErrUnreachable // the example calls it a server_error
	s.rememberClients = func() { z.set(func() { z.forgetful = false }) }
	return s
}

// zitadelStorage is the example's storage, where the lifetime of access tokens
// and the clients are the test's.
type zitadelStorage struct {
	*storage.Storage

	mu        sync.Mutex // guards what follows
	lifetime  time.Duration
	ends      map[string]time.Time // of access tokens, by id
	forgetful bool
}

func (z *zitadelStorage) set(f func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f()
}

func (z *zitadelStorage) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (id, refresh string, end time.Time, err error) {
	id, refresh, _, err = z.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
	z.set(func() {
		end = time.Now().Add(z.lifetime)
		z.ends[id] = end
	})
	return id, refresh, end, err
}

func (z *zitadelStorage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, origin string) error {
	var end time.Time
	var ends bool
	z.set(func() { end, ends = z.ends[id] })
	if ends && time.Now().After(end) {
		return errors.New("token is expired")
	}
	return z.Storage.SetUserinfoFromToken(ctx, info, id, subject, origin)
}

func (z *zitadelStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	forgetful := false
	z.set(func() { forgetful = z.forgetful })
	if forgetful {
		return nil, errors.New("client not found")
	}
	return z.Storage.GetClientByClientID(ctx, id)
}
