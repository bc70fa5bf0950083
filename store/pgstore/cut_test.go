//go:build unix

package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// cutter passes connections on to a server. It cuts one where the response to a write would come:
// the server has carried the write out, and the client does not know.
type cutter struct {
	dir  string
	next atomic.Pointer[string] // is in the statement whose response to cut; nil: none
	cuts atomic.Int32
	pass atomic.Int32 // how many parts of the response arrive before the cut

	between func() // is called after a cut, before the client knows
}

func startCutter(t *testing.T, server *servicetest.Postgres) *cutter {
	t.Helper()
	dir, err := os.MkdirTemp("", "cut") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const socket = ".s.PGSQL.5432"
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &cutter{dir: dir}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("unix", filepath.Join(filepath.Dir(server.Dir()), socket))
			if err != nil {
				client.Close()
				continue
			}
			cut := new(atomic.Bool)
			go c.request(upstream, client, cut)
			go c.respond(client, upstream, cut)
		}
	}()
	return c
}

// URL is in the mode in which each request has the statement, and one response.
func (c *cutter) URL() string {
	return "host=" + c.dir + " port=5432 user=postgres dbname=postgres default_query_exec_mode=exec"
}

// request passes requests on, and has the response to the armed statement cut.
func (c *cutter) request(upstream, client net.Conn, cut *atomic.Bool) {
	defer upstream.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if next := c.next.Load(); next != nil && bytes.Contains(buf[:n], []byte(*next)) {
			c.next.Store(nil)
			cut.Store(true)
		}
		if _, werr := upstream.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// respond passes responses on.
func (c *cutter) respond(client, upstream net.Conn, cut *atomic.Bool) {
	defer client.Close()
	defer upstream.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := upstream.Read(buf)
		if cut.Load() && c.pass.Add(-1) < 0 {
			c.cuts.Add(1)
			if c.between != nil {
				c.between()
			}
			return
		}
		if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// A write whose response was lost is neither an error nor a conflict, and is not done twice.
func TestWriteWhoseResponseIsLost(t *testing.T) {
	server := servicetest.StartPostgres(t)
	cut := startCutter(t, server)
	db, _ := openURL(t, cut.URL(), pgstore.Options{})
	direct, _ := open(t, server, pgstore.Options{})
	s, other := storeOf(t, db, ownerOf(0)), storeOf(t, direct, ownerOf(0))
	arm := func(statement string) { cut.next.Store(&statement) }
	put := func(value string, from store.Revision) store.Revision {
		t.Helper()
		revision, err := s.Put(t.Context(), lockedKey, []byte(value), from)
		if err != nil {
			t.Fatalf("Put of %s: %v", value, err)
		}
		got, now, err := other.Get(t.Context(), lockedKey)
		if string(got) != value || now != revision || err != nil {
			t.Errorf("stored is %q, %v", got, err)
		}
		return revision
	}
	arm("INSERT INTO handstamp_credential")
	revision := put("created", "")
	arm("UPDATE handstamp_credential")
	revision = put("changed", revision)
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	arm("INSERT INTO handstamp_lease")
	revision = put("under the lock", revision)
	if _, err := s.Put(t.Context(), lockedKey, nil, "another"); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put with another revision = %v", err)
	}
	arm("DELETE FROM handstamp_credential")
	if err := s.Delete(t.Context(), lockedKey, revision); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if _, _, err := other.Get(t.Context(), lockedKey); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after Delete: %v", err)
	}
	arm("INSERT INTO handstamp_lease")
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	unlockLogin, err := s.Lock(ctx, lockedKey, store.LockLogin)
	if err != nil {
		t.Fatalf("Lock of a login: %v", err)
	}
	unlockLogin()
	if n := cut.cuts.Load(); n != 5 {
		t.Errorf("%d responses were cut", n)
	}
}

// A write whose response was lost, and whose value was replaced before it is sent again, is no
// conflict: that would mean that it changed nothing.
func TestWriteWhoseResponseIsLostIsReplaced(t *testing.T) {
	server := servicetest.StartPostgres(t)
	cut := startCutter(t, server)
	db, _ := openURL(t, cut.URL(), pgstore.Options{})
	direct, _ := open(t, server, pgstore.Options{})
	s, other := storeOf(t, db, ownerOf(0)), storeOf(t, direct, ownerOf(0))
	for tag, write := range map[string]func(store.Revision) error{
		"UPDATE handstamp_credential": func(revision store.Revision) error {
			_, err := s.Put(t.Context(), lockedKey, []byte("lost"), revision)
			return err
		},
		"DELETE FROM handstamp_credential": func(revision store.Revision) error { return s.Delete(t.Context(), lockedKey, revision) },
	} {
		_, before, err := other.Get(t.Context(), lockedKey)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		revision, err := other.Put(t.Context(), lockedKey, []byte("first"), before)
		if err != nil {
			t.Fatal(err)
		}
		cut.between = func() {
			_, now, err := other.Get(t.Context(), lockedKey)
			if err == nil || errors.Is(err, store.ErrNotFound) {
				_, err = other.Put(t.Context(), lockedKey, []byte("replaced"), now)
			}
			if err != nil {
				t.Error(err)
			}
		}
		cut.next.Store(&tag)
		if err := write(revision); !errors.Is(err, store.ErrUnusable) {
			t.Errorf("%q: %v, want ErrUnusable", tag, err)
		}
		if got, _, err := other.Get(t.Context(), lockedKey); string(got) != "replaced" || err != nil {
			t.Errorf("stored is %q, %v", got, err)
		}
	}
	if n := cut.cuts.Load(); n != 2 {
		t.Errorf("%d responses were cut", n)
	}
}

// A scan whose connection breaks in the middle goes on in another one, and has each value once.
func TestScanThatIsCut(t *testing.T) {
	const values = 40
	server := servicetest.StartPostgres(t)
	cut := startCutter(t, server)
	db, _ := openURL(t, cut.URL(), pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	want := make(map[store.Key]int)
	for n := range values {
		key := store.Key{Server: fmt.Sprintf("https://mcp-%d.example", n), Profile: store.DefaultProfile}
		want[key] = 1
		mustPut(t, s, key, bytes.Repeat([]byte{'v'}, 64<<10))
	}
	_, direct := open(t, server, pgstore.Options{})
	_, err := direct.Exec(t.Context(), "UPDATE handstamp_credential SET value = 'damaged' WHERE server LIKE '%-3.%'")
	if err != nil {
		t.Fatal(err)
	}
	query := "SELECT server, profile, value"
	cut.between = func() { time.Sleep(1100 * time.Millisecond) } // longer than broken connections are replaced
	cut.pass.Store(values / 2)
	cut.next.Store(&query)
	visited := make(map[store.Key]int)
	rest, err := store.Scan(t.Context(), s, "", func(key store.Key, _ []byte, _ store.Revision) { visited[key]++ })
	if err != nil || len(rest) != 1 || len(visited) != values-1 {
		t.Fatalf("Scan has %d values and leaves %v: %v", len(visited), rest, err)
	}
	visited[rest[0]]++
	if !maps.Equal(visited, want) {
		t.Errorf("visited and left are %v", visited)
	}
	if cut.cuts.Load() != 1 {
		t.Errorf("%d cuts, want 1", cut.cuts.Load())
	}
}
