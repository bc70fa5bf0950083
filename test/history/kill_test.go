//go:build unix

package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// crashVariable holds the crash of a process that is this test binary, run again.
const crashVariable = "HANDSTAMP_TEST_CRASH"

// crash is a refresh that is killed at a point of a write.
type crash struct {
	Place  place
	Server string
	Point  string // empty: it comes to its end
}

// run refreshes the login, and does not come to its end.
func (c crash) run(ctx context.Context) error {
	w := &watchedStore{point: c.Point}
	o, err := c.Place.open(ctx, watch{
		step: func(step filestore.Step) { w.at(string(step)) },
		conn: func(conn net.Conn) net.Conn { return &watchedConn{conn, w} },
	})
	if err != nil {
		return err
	}
	w.Store = o.Store
	var s store.Store = w
	if reserver, ok := o.Store.(store.Reserver); ok {
		s = &reservingStore{w, reserver}
	}
	login := newLogin(s, "", new(http.Transport))
	_, err = login.Token(ctx, c.Server, handstamp.TokenOptions{})
	if c.Point == "" {
		return errors.Join(err, login.Close(ctx))
	}
	return errors.Join(err, fmt.Errorf("the refresh never came to %q", c.Point))
}

// watchedStore kills its process at a point of one of the three writes of a refresh: the intent, the
// raw response, and the result.
type watchedStore struct {
	store.Store
	point string
	what  atomic.Value // string: what is being written
}

func (s *watchedStore) at(step string) {
	if what, _ := s.what.Load().(string); what+" "+step == s.point {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (s *watchedStore) put(value []byte, put func() (store.Revision, error)) (store.Revision, error) {
	rec, err := record.Decode(value)
	if err != nil {
		return "", err
	}
	what := "result"
	switch {
	case rec.Intent != nil && rec.Intent.Response != nil:
		what = "response"
	case rec.Intent != nil:
		what = "intent"
	}
	s.what.Store(what)
	s.at("begin")
	revision, err := put()
	if err == nil {
		s.at("stored")
	}
	return revision, err
}

// Put implements store.Store.
func (s *watchedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	return s.put(value, func() (store.Revision, error) { return s.Store.Put(ctx, key, value, revision) })
}

// reservingStore is a watchedStore that reserves.
type reservingStore struct {
	*watchedStore
	reserver store.Reserver
}

// Reserve implements store.Reserver.
func (s *reservingStore) Reserve(ctx context.Context, key store.Key, size int) (store.Reservation, error) {
	space, err := s.reserver.Reserve(ctx, key, size)
	if err != nil {
		return nil, err
	}
	return &watchedSpace{space, s.watchedStore}, nil
}

type watchedSpace struct {
	store.Reservation
	store *watchedStore
}

// Put implements store.Reservation.
func (r *watchedSpace) Put(ctx context.Context, value []byte, revision store.Revision) (store.Revision, error) {
	return r.store.put(value, func() (store.Revision, error) { return r.Reservation.Put(ctx, value, revision) })
}

// watchedConn is a connection to a database.
type watchedConn struct {
	net.Conn
	store *watchedStore
}

// Write implements net.Conn.
func (c *watchedConn) Write(p []byte) (int, error) {
	if strings.HasSuffix(c.store.point, "half sent") {
		half := len(p) / 2
		if n, err := c.Conn.Write(p[:half]); err != nil {
			return n, err
		}
		c.store.at("half sent")
		n, err := c.Conn.Write(p[half:])
		return half + n, err
	}
	n, err := c.Conn.Write(p)
	c.store.at("sent")
	return n, err
}

// steps are the points of one write, in their order.
func steps(name string) []string {
	if name == file || name == encrypted {
		return []string{"begin", "write", "sync", "rename", "syncdir", "stored"}
	}
	return []string{"begin", "half sent", "sent", "stored"}
}

// killed counts what became of logins whose refresh was killed.
type killed struct {
	early, earlyLost int // before the response was stored
	late, lateLost   int // once its first write has returned
}

var (
	killsMu sync.Mutex
	kills   = make(map[[2]string]*killed) // by store and rotation
)

// A process is killed at each step of each write of a refresh. Once the write of the response has
// returned, no login is lost. Before, none is lost at a server that forgives a repeated request, and
// at one that does not, the loss is named.
func TestKilledAtEachWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts some hundred processes")
	}
	for _, name := range allStores {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, name)
			for _, rotation := range []string{lab.RotateStrict, lab.RotateGrace} {
				for _, what := range []string{"intent", "response", "result"} {
					for _, step := range steps(name) {
						point := what + " " + step
						t.Run(rotation+"/"+point, func(t *testing.T) {
							t.Parallel()
							killAt(t, b, rotation, point)
						})
					}
				}
			}
		})
	}
}

func killAt(t *testing.T, b *backend, rotation, point string) {
	server, err := lab.Start(lab.Habits{Rotation: rotation, Grace: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	o, err := b.direct.open(t.Context(), watch{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	expiredLogin(t, o.Store, server)
	kill(t, crash{b.direct, server.MCPURL(), point})
	if b.store == redisName { // where the lease of who was killed has to expire first
		if err := b.expire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lost := isLost(t, o.Store, server)
	late := point == "response stored" || strings.HasPrefix(point, "result ")
	switch used := !strings.HasPrefix(point, "intent ") && !late; {
	case lost && late:
		t.Errorf("a login is lost whose response was stored")
	case lost && rotation != lab.RotateStrict:
		t.Errorf("a login is lost at a server that forgives")
	case lost && !used:
		t.Errorf("a login is lost whose refresh token was not sent")
	}
	killsMu.Lock()
	defer killsMu.Unlock()
	k := kills[[2]string{b.store, rotation}]
	if k == nil {
		k = new(killed)
		kills[[2]string{b.store, rotation}] = k
	}
	n, l := &k.early, &k.earlyLost
	if late {
		n, l = &k.late, &k.lateLost
	}
	*n++
	if lost {
		*l++
	}
}

// expiredLogin signs in, and makes the access token expired.
func expiredLogin(t *testing.T, s store.Store, server *lab.Server) {
	t.Helper()
	login := newLogin(s, "", new(http.Transport))
	if _, err := login.Login(t.Context(), server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := login.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	expireToken(t, s, server)
}

func expireToken(t *testing.T, s store.Store, server *lab.Server) {
	t.Helper()
	key, err := store.NewKey(server.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := record.Get(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
	if err := record.Put(t.Context(), s, rec); err != nil {
		t.Fatal(err)
	}
}

// kill starts a process that kills itself.
func kill(t *testing.T, c crash) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	out, _ := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v\n%s", cmd.ProcessState, out)
	}
}

// isLost reports whether the login has ended. The loss must be named, and a login that has not ended
// must be good for another refresh.
func isLost(t *testing.T, s store.Store, server *lab.Server) bool {
	t.Helper()
	for range 2 {
		login := newLogin(s, "", new(http.Transport))
		login.LockTimeout = testenv.Timeout
		_, err := login.Token(t.Context(), server.MCPURL(), handstamp.TokenOptions{})
		if errors.Is(err, handstamp.ErrLoginRequired) {
			status, err := login.Status(t.Context(), server.MCPURL())
			if err != nil || status.GrantError == nil || !status.GrantError.Interrupted {
				t.Errorf("the loss is not named: %+v, %v", status.GrantError, err)
			}
			return true
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := login.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		expireToken(t, s, server)
	}
	return false
}
