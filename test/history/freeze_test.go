//go:build unix

package history

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A process is suspended while the server has replaced its refresh token, and goes on after a while;
// a minute, where tests may take that long. Others send nothing meanwhile, and no login is lost.
func TestFrozenHolder(t *testing.T) {
	frozen := 2 * time.Second
	if testenv.Long() {
		frozen = time.Minute
	}
	for _, name := range allStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t, name)
			f := freezeHolder(t, b)
			ctx, cancel := context.WithTimeout(t.Context(), frozen)
			defer cancel()
			for ctx.Err() == nil {
				if err := f.token(ctx); err == nil || errors.Is(err, handstamp.ErrLoginRequired) {
					t.Fatalf("beside a frozen holder: %v", err)
				}
			}
			f.thaw()
			if err := f.token(t.Context()); err != nil {
				t.Errorf("after the holder was thawed: %v", err)
			}
			if a := f.server.Audit(); a.Reuses != 0 || a.Refreshes != 1 {
				t.Errorf("%d refreshes, %d reuses", a.Refreshes, a.Reuses)
			}
			if isLost(t, f.store, f.server) {
				t.Error("the login is lost")
			}
			frozenHolders[name].Add(1)
		})
	}
}

// frozenHolders counts, by store, the frozen holders that lost nothing.
var frozenHolders = map[string]*atomic.Int32{file: {}, encrypted: {}, postgres: {}, redisName: {}}

// A holder that is suspended for longer than its lease lasts has its refresh token repeated by
// another process, which a strict server takes for reuse. The loss is named, and what the holder
// does when it goes on overwrites nothing.
func TestFrozenBeyondTheLease(t *testing.T) {
	b := newBackend(t, redisName)
	f := freezeHolder(t, b)
	if err := b.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !isLost(t, f.store, f.server) {
		t.Fatal("the login is not lost: the other process has repeated nothing")
	}
	login := newLogin(f.store, "", new(http.Transport))
	if _, err := login.Login(t.Context(), f.server.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	key, err := store.NewKey(f.server.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, before, err := f.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	f.thaw()
	if _, after, err := f.store.Get(t.Context(), key); err != nil || after != before {
		t.Errorf("the holder has overwritten the new login (%v)", err)
	}
	if isLost(t, f.store, f.server) {
		t.Error("the new login is lost")
	}
}

// frozenHolder is a process that is suspended while its request is under way.
type frozenHolder struct {
	t      *testing.T
	cmd    *exec.Cmd
	store  store.Store
	server *lab.Server
}

func freezeHolder(t *testing.T, b *backend) *frozenHolder {
	t.Helper()
	server, err := lab.Start(lab.Habits{Rotation: lab.RotateStrict})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	o, err := b.direct.open(t.Context(), watch{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	f := &frozenHolder{t: t, store: o.Store, server: server}
	expiredLogin(t, f.store, server)
	server.Reset()
	text, err := json.Marshal(crash{Place: b.direct, Server: server.MCPURL()})
	if err != nil {
		t.Fatal(err)
	}
	f.cmd = exec.Command(os.Args[0])
	f.cmd.Env = append(os.Environ(), crashVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	f.cmd.Stderr = os.Stderr
	gate := server.Hold("token:refresh:committed")
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cmd.Process.Kill(); _ = f.cmd.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	proctest.Stop(t, f.cmd.Process)
	gate.Release()
	return f
}

// token is what another process does meanwhile.
func (f *frozenHolder) token(ctx context.Context) error {
	login := newLogin(f.store, "", new(http.Transport))
	_, err := login.Token(ctx, f.server.MCPURL(), handstamp.TokenOptions{})
	return err
}

// thaw lets the holder go on, and waits for its end.
func (f *frozenHolder) thaw() {
	f.t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		f.t.Fatal(err)
	}
	_ = f.cmd.Wait() // it may have lost its login
}
