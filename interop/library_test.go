package interop

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// crowd is how many Clients or processes find the token expired at once.
const crowd = 20

// short is the life of a token that is to expire: one second would be rounded
// down to none by a server that reckons what is left of it.
const short = 2 * time.Second

// library lives the life of a login with the library: its Clients have nothing
// but a folder in common.
type library struct {
	*scene
	dir    string
	client *handstamp.Registration // configured; nil: none
	tabs   atomic.Int32
}

func newLibrary(sc *scene) *library {
	return &library{scene: sc, dir: sc.t.TempDir() + "/credentials", client: sc.as.registration}
}

// session returns a Client as a further program would make it.
func (l *library) session(policy handstamp.LoginPolicy) *handstamp.Client {
	l.t.Helper()
	return l.sessionIn(l.dir, policy)
}

func (l *library) sessionIn(dir string, policy handstamp.LoginPolicy) *handstamp.Client {
	l.t.Helper()
	s, err := filestore.Open(filestore.Options{Dir: dir, Warn: func(m string) { l.t.Log("notice:", m) }})
	if err != nil {
		l.t.Fatal(err)
	}
	p := l.as.account()
	visit := func(ctx context.Context, rawURL, code string) {
		l.tabs.Add(1)
		user := p
		user.code = code
		go func() { // as a browser, which is not waited for
			if err := user.browse(context.WithoutCancel(ctx), rawURL); err != nil {
				l.t.Error("browser:", err)
			}
		}()
	}
	c := &handstamp.Client{
		Store: s, LoginPolicy: policy, LoginTimeout: timeout, Registration: l.client,
		Prompt: handstamp.Prompt{
			OpenURL: func(ctx context.Context, rawURL string) error {
				visit(ctx, rawURL, "")
				return nil
			},
			ShowCode: func(ctx context.Context, d handstamp.DeviceAuthorization) {
				visit(ctx, d.VerificationURI, d.UserCode)
			},
		},
	}
	if l.as.configure != nil {
		l.as.configure(c)
	}
	return c
}

// call does what a session is for, with the official SDK's client.
func (l *library) call(c *handstamp.Client) error {
	ctx, cancel := context.WithTimeout(l.t.Context(), timeout)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1"}, nil)
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: l.mcp, HTTPClient: c.HTTPClient(l.mcp)}
	if l.as.sse {
		transport = &mcp.SSEClientTransport{Endpoint: l.mcp, HTTPClient: c.HTTPClient(l.mcp)}
	}
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	return echo(ctx, session)
}

// echo calls a tool and checks what comes back.
func echo(ctx context.Context, session *mcp.ClientSession) error {
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "hello"}})
	if err != nil {
		return err
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != "hello" {
		return errors.New("the tool says something else")
	}
	return nil
}

func (l *library) mustCall(what string, policy handstamp.LoginPolicy) {
	l.t.Helper()
	if err := l.call(l.session(policy)); err != nil {
		l.t.Fatalf("%s: %v; requests: %s", what, err, l.as.all())
	}
}

// record returns what is stored, with a login in it.
func (l *library) record() *record.Record {
	l.t.Helper()
	key, err := store.NewKey(l.mcp, "")
	if err != nil {
		l.t.Fatal(err)
	}
	s, err := filestore.Open(filestore.Options{Dir: l.dir})
	if err != nil {
		l.t.Fatal(err)
	}
	rec, err := record.Get(l.t.Context(), s, key)
	if err != nil {
		l.t.Fatal(err)
	}
	if rec.Grant == nil {
		l.t.Fatal("no login is stored")
	}
	return rec
}

// grant returns the stored login.
func (l *library) grant() *record.Grant {
	l.t.Helper()
	return l.record().Grant
}

// refresh refreshes by force, and returns the new login.
func (l *library) refresh() *record.Grant {
	l.t.Helper()
	if _, err := l.session(handstamp.LoginNever).Token(l.t.Context(), l.mcp, handstamp.TokenOptions{Refresh: true}); err != nil {
		l.t.Fatalf("refresh: %v; requests: %s", err, l.as.all())
	}
	return l.grant()
}

// expired leaves a login whose access token has ended.
func (l *library) expired() *record.Grant {
	l.t.Helper()
	l.as.lifetime(short)
	g := l.refresh()
	l.as.lifetime(time.Hour)
	l.expire(string(g.AccessToken), g.ExpiresAt)
	return g
}

func (l *library) wantTabs(what string, n int32) {
	l.t.Helper()
	if got := l.tabs.Swap(0); got != n {
		l.t.Errorf("%s: %d tabs, want %d", what, got, n)
	}
}

func (l *library) live() {
	l.mustCall("first session", handstamp.LoginAuto)
	l.wantTabs("first session", 1)
	l.wantRegistered("first session")
	l.want("first session", l.as.token, 1+l.as.extra)
	if got := l.record().GrantClient().Method; got != l.as.method {
		l.t.Errorf("the client authenticates by %s, want %s", got, l.as.method)
	}
	l.seen("first", l.as.cost()+", 1 tab")
	first := l.grant()
	if first.RefreshToken == "" {
		l.t.Fatalf("the login brought no refresh token; requests: %s", l.as.all())
	}

	l.as.reset()
	l.mustCall("second session", handstamp.LoginNever)
	l.want("second session", "", 0)
	l.seen("second", l.as.cost())

	rotated := l.refresh()
	if rotated.RefreshToken == first.RefreshToken || rotated.AccessToken == first.AccessToken {
		l.t.Error("the server rotated nothing")
	}

	before := l.expired()
	l.as.reset()
	var wait sync.WaitGroup
	for range crowd {
		c := l.session(handstamp.LoginNever)
		wait.Go(func() {
			if err := l.call(c); err != nil {
				l.t.Errorf("expired token: %v", err)
			}
		})
	}
	wait.Wait()
	l.want("expired token, many at once", l.as.token, 1)
	l.want("expired token, many at once", "", 1)
	l.seen("expired token, 20 at once", l.as.cost())
	if after := l.grant(); after.RefreshToken == before.RefreshToken {
		l.t.Error("the refresh did not rotate the refresh token")
	}
	l.as.reset()
	l.mustCall("the session after", handstamp.LoginNever)
	l.want("the session after", "", 0)

	l.rejected()
	l.forgotten()
	l.restarted()
	l.keptClients()

	// Another program has the same login and does not hear of the logout.
	other := l.t.TempDir() + "/credentials"
	if out, err := exec.Command("cp", "-a", l.dir, other).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	last := l.grant()
	result, err := l.session(handstamp.LoginNever).Logout(l.t.Context(), l.mcp, handstamp.LogoutOptions{DeleteClient: l.as.manages})
	if err != nil || !result.WasSignedIn || !result.Revoked {
		l.t.Fatalf("logout: %+v, %v", result, err)
	}
	if result.ClientDeleted != l.as.manages {
		l.t.Errorf("logout: client deleted: %v, %v", result.ClientDeleted, result.DeleteClientError)
	}
	l.seen("logout", map[bool]string{true: "revoked, client deleted", false: "revoked"}[result.ClientDeleted])
	l.wantDead("logout", string(last.AccessToken))
	for what, dir := range map[string]string{"signed out": l.dir, "signed out by another": other} {
		c := l.sessionIn(dir, handstamp.LoginNever)
		err := l.call(c)
		if l.as.outlives && err == nil {
			_, err = c.Token(l.t.Context(), l.mcp, handstamp.TokenOptions{Refresh: true})
		}
		if !errors.Is(err, handstamp.ErrLoginRequired) {
			l.t.Errorf("%s: %v, want ErrLoginRequired", what, err)
		}
	}
}

// forgotten is what becomes of a login whose client the server has forgotten.
func (l *library) forgotten() {
	if l.as.forgetClients == nil {
		return
	}
	l.expired()
	l.as.forgetClients()
	if err := l.call(l.session(handstamp.LoginNever)); !errors.Is(err, l.as.forgotten) {
		l.t.Errorf("forgotten client: %v, want %v", err, l.as.forgotten)
	}
	l.as.rememberClients()
	l.as.reset()
	tabs := ", 0 tabs"
	if l.as.forgotten == handstamp.ErrUnreachable { // which kept the login
		proctest.Wait(l.t, timeout, "the login comes back with the client", func() bool {
			return l.call(l.session(handstamp.LoginNever)) == nil
		})
		l.wantTabs("forgotten client", 0)
	} else {
		l.mustCall("forgotten client", handstamp.LoginAuto)
		l.wantTabs("forgotten client", 1)
		l.wantRegistered("forgotten client")
		tabs = ", 1 tab"
	}
	l.want("forgotten client", l.as.token, 1)
	l.seen("forgotten client", l.as.cost()+tabs)
}
