//go:build unix

package testenv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// Job is what a process is to do.
type Job struct {
	Do     string // one of jobs
	Dir    string // of the credentials
	Server string
	Crash  string // the point where it kills itself
	Login  bool   // it may sign in

	Spare    string // the store's second folder
	Volatile bool   // the store may keep what it cannot write

	// Hurried makes every stored access token read as expired, so that each
	// call is a refresh.
	Hurried bool

	// Helper has the work done by a helper, which is this binary once more.
	Helper bool

	// Close is how long it waits for refreshes at its end. Zero means 5 s, as
	// the command does.
	Close time.Duration
}

// jobs are what processes can do.
var jobs = map[string]func(*worker, context.Context) error{
	"call":    (*worker).call,
	"idle":    (*worker).idle,
	"refresh": (*worker).refresh,
	"loop":    (*worker).loop,
	"login":   (*worker).login,
}

// worker is a process from within. It says each point that it reaches, a line
// each, and at last how its job ended.
type worker struct {
	job    Job
	input  *bufio.Reader
	store  *watchedStore
	client *handstamp.Client
}

func newWorker(j Job) *worker {
	return &worker{job: j, input: bufio.NewReader(os.Stdin)}
}

func (w *worker) main() int {
	if w.job.Do == "help" {
		return w.help()
	}
	s := &watchedStore{at: w.at, hurried: w.job.Hurried}
	var err error
	s.Store, err = filestore.Open(filestore.Options{
		Dir:      w.job.Dir,
		SpareDir: w.job.Spare,
		Volatile: w.job.Volatile,
		Warn:     func(message string) { w.say("notice: " + message) },
		Trace:    func(step filestore.Step) { w.at(s.phase() + ":" + string(step)) },
	})
	if err != nil {
		w.say("failed store: " + err.Error())
		return 0
	}
	w.store, w.client = s, w.newClient(s)

	// As the command does: a signal ends what waits, and what was sent is
	// stored.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err = jobs[w.job.Do](w, ctx)
	if ctx.Err() != nil {
		w.say("closing")
	}
	if w.close(w.client) != nil {
		w.say("not closed")
	}
	if err != nil {
		w.say("failed " + kindOf(err) + err.Error())
		return 0
	}
	w.say("done")
	return 0
}

// close waits for what the Client has begun, as long as the job says.
func (w *worker) close(c *handstamp.Client) error {
	wait := w.job.Close
	if wait == 0 {
		wait = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return c.Close(ctx)
}

func kindOf(err error) string {
	for name, kind := range errorKinds {
		if errors.Is(err, kind) {
			return name + ": "
		}
	}
	return ""
}

// say writes a line to the test, in one write that no kill can tear.
func (w *worker) say(line string) { fmt.Fprintln(os.Stdout, line) }

// at says that a point is reached, or dies there.
func (w *worker) at(point string) {
	if w.job.Crash == point {
		die()
	}
	w.say(point)
}

// die is the kill that no process survives, not even to run its deferred calls.
func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// awaitLine waits for a line from the test.
func (w *worker) awaitLine() error {
	_, err := w.input.ReadString('\n')
	return err
}

// newClient returns the Client of a program without a user, unless the job
// has one.
func (w *worker) newClient(s store.Store) *handstamp.Client {
	c := &handstamp.Client{
		Store:         s,
		LoginPolicy:   handstamp.LoginNever,
		LoginTimeout:  Timeout,
		Prompt:        handstamp.Prompt{OpenURL: w.openURL},
		AuthTransport: &http.Transport{DialContext: w.dial},
	}
	if w.job.Login {
		c.LoginPolicy = handstamp.LoginAuto
	}
	if w.job.Helper {
		c.RefreshHelper = HelperOf(w.job)
		c.Prompt.Show = func(context.Context, handstamp.AuthorizationRequest) { w.say("shown") }
		c.Prompt.Waiting = func(context.Context, handstamp.AuthorizationRequest) { w.say("waiting") }
	}
	return c
}

// HelperOf returns the helper of a process.
func HelperOf(j Job) *handstamp.RefreshHelper {
	text, _ := json.Marshal(Job{Do: "help", Dir: j.Dir})
	return &handstamp.RefreshHelper{
		Command: []string{os.Args[0]},
		Env:     append(os.Environ(), jobVariable+"="+string(text), "GORACE=atexit_sleep_ms=0"),
		Config:  func() []byte { return []byte(j.Dir) },
		Logins:  true,
	}
}

// help is a helper: what it says on its standard output is for its Client alone.
func (w *worker) help() int {
	err := handstamp.ServeRefreshHelper(context.Background(), os.Stdin, os.Stdout, func(dir []byte) (*handstamp.Client, error) {
		s, err := filestore.Open(filestore.Options{Dir: string(dir)})
		return &handstamp.Client{Store: s, Prompt: handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			go lab.Browse(context.WithoutCancel(ctx), rawURL)
			return nil
		}}}, err
	})
	if err != nil {
		return 1
	}
	return 0
}

// openURL opens a tab, where a user consents.
func (w *worker) openURL(ctx context.Context, rawURL string) error {
	w.say("tab")
	go lab.Browse(context.WithoutCancel(ctx), rawURL)
	return nil
}

// call makes one MCP call.
func (w *worker) call(ctx context.Context) error {
	return Call(ctx, w.client.HTTPClient(w.job.Server), w.job.Server)
}

// idle makes a call, and another one for each line of its input, until the input ends.
func (w *worker) idle(ctx context.Context) error {
	for {
		if err := w.call(ctx); err != nil {
			return err
		}
		w.say("idle")
		if w.awaitLine() != nil {
			return nil
		}
	}
}

// refresh wants a new token for a good one.
func (w *worker) refresh(ctx context.Context) error {
	_, err := w.client.Token(ctx, w.job.Server, handstamp.TokenOptions{Refresh: true})
	return err
}

// login signs in, as the command of that name does.
func (w *worker) login(ctx context.Context) error {
	_, err := w.client.Login(ctx, w.job.Server, handstamp.LoginOptions{})
	return err
}

// loop is one short session after the other. A session that is lost is reported
// with the time of the rejection and whether it was named as interrupted, and the
// loop goes on when the user has signed in.
func (w *worker) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		c := w.newClient(w.store)
		_, err := c.Token(ctx, w.job.Server, handstamp.TokenOptions{})
		if closed := w.close(c); closed != nil {
			return closed
		}
		if errors.Is(err, handstamp.ErrLoginRequired) {
			status, err := c.Status(ctx, w.job.Server)
			if err != nil {
				return err
			}
			if status.GrantError == nil {
				continue // the user has signed in meanwhile
			}
			w.say(fmt.Sprintf("lost %s %v", status.GrantError.At.Format(time.RFC3339Nano), status.GrantError.Interrupted))
			if err := w.awaitLine(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dial opens a connection that says when it is used.
func (w *worker) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.at("connected")
	return &watchedConn{Conn: conn, w: w}, nil
}

type watchedConn struct {
	net.Conn
	w    *worker
	once sync.Once
}

// Write implements net.Conn. A request is small enough to be one Write.
func (c *watchedConn) Write(p []byte) (int, error) {
	if c.w.job.Crash == "half sent" {
		c.Conn.Write(p[:len(p)/2])
		die()
	}
	c.once.Do(func() { c.w.at("sending") })
	return c.Conn.Write(p)
}

// watchedStore is a file store that says where a refresh stands: "lock:name" and
// "locked:name" around the wait for a lock, "unlocked:name" after its release,
// "reserved", "received" when the first thing that can be done with a response is
// about to be done, "stored:what" after a write, and the steps of each write as
// "what:step". What is space, intent, response or final.
type watchedStore struct {
	*filestore.Store
	at      func(point string)
	hurried bool
	what    atomic.Value // string: what is being written
}

var _ store.Reserver = (*watchedStore)(nil)

func (s *watchedStore) phase() string {
	what, _ := s.what.Load().(string)
	return what
}

func (s *watchedStore) Lock(ctx context.Context, key store.Key, name store.LockName) (func(), error) {
	s.at("lock:" + string(name))
	unlock, err := s.Store.Lock(ctx, key, name)
	if err != nil {
		return nil, err
	}
	s.at("locked:" + string(name))
	return sync.OnceFunc(func() {
		unlock()
		s.at("unlocked:" + string(name))
	}), nil
}

func (s *watchedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	value, revision, err := s.Store.Get(ctx, key)
	if err != nil || !s.hurried {
		return value, revision, err
	}
	rec, err := record.Decode(value)
	if err == nil && rec.Grant != nil {
		rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
		value, err = record.Encode(rec)
	}
	return value, revision, err
}

func (s *watchedStore) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	return s.put(value, func() (store.Revision, error) { return s.Store.Put(ctx, key, value, revision) })
}

func (s *watchedStore) put(value []byte, put func() (store.Revision, error)) (store.Revision, error) {
	what := "final"
	rec, err := record.Decode(value)
	switch {
	case err != nil:
		return "", err
	case rec.Intent != nil && rec.Intent.Response != nil:
		what = "response"
	case rec.Intent != nil:
		what = "intent"
	}
	s.what.Store(what)
	next, err := put()
	if err == nil {
		s.at("stored:" + what)
	}
	return next, err
}

func (s *watchedStore) Reserve(ctx context.Context, key store.Key, size int) (store.Reservation, error) {
	s.what.Store("space")
	space, err := s.Store.Reserve(ctx, key, size)
	if err != nil {
		return nil, err
	}
	s.at("reserved")
	return &watchedSpace{Reservation: space, store: s}, nil
}

type watchedSpace struct {
	store.Reservation
	store *watchedStore
}

func (r *watchedSpace) Put(ctx context.Context, value []byte, revision store.Revision) (store.Revision, error) {
	r.store.at("received")
	return r.store.put(value, func() (store.Revision, error) { return r.Reservation.Put(ctx, value, revision) })
}
