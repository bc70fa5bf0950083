package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// memory is a Database in memory, which can be down.
type memory struct {
	mu     sync.Mutex
	stores map[store.Owner]*store.Memory
	down   atomic.Bool
}

func (m *memory) Store(o store.Owner) (store.Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stores[o] == nil {
		m.stores[o] = new(store.Memory)
	}
	return &switched{m.stores[o], m}, o.Check()
}

// switched is a store of a memory.
type switched struct {
	store.Store
	of *memory
}

var errDown = fmt.Errorf("%w: no connection to db-7.internal", store.ErrUnusable)

func (s *switched) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if s.of.down.Load() {
		return nil, "", errDown
	}
	return s.Store.Get(ctx, key)
}

func (s *switched) List(ctx context.Context) ([]store.Key, error) {
	if s.of.down.Load() {
		return nil, errDown
	}
	return s.Store.List(ctx)
}

// fixture is a service, with the server of testenv, at which the users sign in.
type fixture struct {
	*testenv.Env
	contract *contract
	db       *memory
	app      *hosted.App
	callers  []Caller
	path     string // of the callers
	url      string
	options  Options
	log      bytes.Buffer
}

func onThisMachine(_ store.Owner, c *handstamp.Client) { c.UntrustedServers = false }

func newFixture(t *testing.T, h lab.Habits, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{Env: testenv.New(t, h), contract: newContract(t),
		db:   &memory{stores: make(map[store.Owner]*store.Memory)},
		path: filepath.Join(t.TempDir(), "callers.json")}
	f.app = &hosted.App{Database: f.db, Configure: onThisMachine}
	f.options = Options{App: f.app, Database: f.db, Callers: &Callers{Path: f.path},
		NextStep: func(o store.Owner, server string) string { return "sign in " + o.User },
		Logger:   slog.New(slog.NewTextHandler(&f.log, nil))}
	if change != nil {
		change(&f.options)
	}
	server := httptest.NewUnstartedServer(New(f.options))
	server.Config.ConnContext = WithPeer
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		if err := f.app.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f.url = server.URL
	f.save()
	return f
}

// save writes the file of callers.
func (f *fixture) save() {
	f.T.Helper()
	text, err := EncodeCallers(f.callers)
	if err != nil {
		f.T.Fatal(err)
	}
	next := f.path + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		f.T.Fatal(err)
	}
	if err := os.Rename(next, f.path); err != nil {
		f.T.Fatal(err)
	}
}

// caller adds a caller and returns its key.
func (f *fixture) caller(tenant string, user *string) (key string) {
	f.T.Helper()
	secret, hash := NewKey()
	f.callers = append(f.callers, Caller{Name: fmt.Sprint("caller ", len(f.callers)), Tenant: tenant,
		User: user, KeyHash: hash})
	f.save()
	return secret.Reveal()
}

// signIn signs a user in.
func (f *fixture) signIn(tenant, user string) {
	f.T.Helper()
	s, err := f.db.Store(store.Owner{Tenant: tenant, User: user})
	if err != nil {
		f.T.Fatal(err)
	}
	f.Store = s
	f.MustLogin(f.Session())
}

// result is a response.
type result struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

// do makes a request with a key; the query follows the path. Each response is checked.
func (f *fixture) do(key, method, path string, query url.Values) *result {
	f.T.Helper()
	return f.send(key, method, path, query, "")
}

func (f *fixture) send(key, method, path string, query url.Values, body string) *result {
	f.T.Helper()
	req, err := http.NewRequest(method, f.url+path+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		f.T.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	defer resp.Body.Close()
	text := f.contract.check(resp)
	r := &result{status: resp.StatusCode, header: resp.Header, text: string(text)}
	_ = json.Unmarshal(text, &r.body)
	return r
}

// token requests the token of a user.
func (f *fixture) token(key, user string, more ...string) *result {
	f.T.Helper()
	query := url.Values{"server": {f.Lab.MCPURL()}}
	if user != "" {
		query.Set("user", user)
	}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return f.do(key, "GET", "/v1/token", query)
}

// want fails the test unless a response has a status and a code.
func (f *fixture) want(r *result, status int, code string) *result {
	f.T.Helper()
	if r.status != status || code != "" && r.body["code"] != code {
		f.T.Errorf("%d %s, want %d %s", r.status, r.text, status, code)
	}
	return r
}

// wantNoSecret fails the test if a token of the server is in a problem or the log.
func (f *fixture) wantNoSecret(texts ...string) {
	f.T.Helper()
	for _, secret := range f.Lab.Secrets() {
		if strings.Contains(strings.Join(texts, "\n")+f.log.String(), secret) {
			f.T.Errorf("a secret is in what no caller may get: %s", texts)
		}
	}
}
