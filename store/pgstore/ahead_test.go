//go:build unix

package pgstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// aheadTimeout bounds what takes moments, hundreds of times over, on a busy machine.
const aheadTimeout = 10 * time.Minute

func TestReplicasShareRefreshesAhead(t *testing.T) {
	const n = 300
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, n, time.Minute)
	u.add(n, 20, time.Hour) // which are not due
	ended := make(chan handstamp.RefreshEvent, 2*n)
	u.run(n, ended, hosted.AheadOptions{}, u.app(ended), u.app(ended), u.app(ended))
	u.wantStrict(n)
}

// A Client that the App keeps has the new token at once: the next request waits for nothing.
func TestRefreshAheadReachesTheUsersClient(t *testing.T) {
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, 1, 3*time.Minute) // which no request would refresh yet
	ended := make(chan handstamp.RefreshEvent, 1)
	app := u.app(ended)
	c, err := app.Client(ownerOf(0))
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.Token(t.Context(), u.Lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u.run(1, ended, hosted.AheadOptions{}, app)
	u.db.Close()
	u.server.Kill() // what is at hand has to do
	after, err := c.Token(t.Context(), u.Lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil || after.Value == before.Value {
		t.Errorf("the Client has the token from before (%v)", err)
	}
}

// A worker whose App was closed takes no claims: its Clients are closed, too.
func TestRefreshAheadOfAClosedApp(t *testing.T) {
	const n = 3
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, n, 3*time.Minute)
	app := u.app(nil)
	for user := range n {
		c, err := app.Client(ownerOf(user))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Token(t.Context(), u.Lab.MCPURL(), handstamp.TokenOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), aheadTimeout)
	defer cancel()
	if err := app.RefreshAhead(ctx, hosted.AheadOptions{}); err != nil || ctx.Err() != nil {
		t.Errorf("it returned %v, and %v", err, ctx.Err())
	}
	if due := u.due(); due != n {
		t.Errorf("%d of %d credentials are due", due, n)
	}
}

func TestRefreshAheadLeavesBusyServersAlone(t *testing.T) {
	const n = 40
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, n, time.Minute)
	u.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 429, RetryAfter: "600"})
	ended := make(chan handstamp.RefreshEvent, 2*n)
	u.run(1, ended, hosted.AheadOptions{AtOnce: 4, PerIssuer: 2}, u.app(ended))
	if got := u.Lab.Counts()["token:refresh"]; got < 1 || got > 2 {
		t.Errorf("%d requests to a server that responds with 429, of which 2 can be under way", got)
	}
	rows := func(when string) (n int) {
		t.Helper()
		err := u.pool.QueryRow(t.Context(), "SELECT count(*) FROM handstamp_due WHERE "+when).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows("due_at > now() + interval '1 minute' AND due_at < now() + interval '9 minutes'"); n > 0 {
		t.Errorf("%d claims were kept", n)
	}
	if rows("due_at > now() + interval '9 minutes'") == 0 {
		t.Error("nothing was put off until the time that the server named")
	}
	// Another replica finds that out from the credential, and sends nothing.
	u.Lab.Reset()
	u.exec("DELETE FROM handstamp_due WHERE due_at < now() + interval '9 minutes'")
	u.exec("UPDATE handstamp_due SET due_at = now() WHERE id = (SELECT id FROM handstamp_credential" +
		" ORDER BY written_at DESC LIMIT 1)")
	debug := make(notices, 1)
	ctx, cancel := context.WithTimeout(t.Context(), aheadTimeout)
	go func() {
		defer cancel()
		<-debug
	}()
	if err := u.app(ended).RefreshAhead(ctx, hosted.AheadOptions{Logger: slog.New(debug)}); err != nil {
		t.Error(err)
	}
	u.WantCounts(map[string]int{"token:refresh": 0})
}

// A server that is slow, and has had many users due for longest, takes neither all refreshes that
// are under way nor all that are claimed: the users of another one do not wait for it.
func TestRefreshAheadGoesOnBesideASlowServer(t *testing.T) {
	const n = 3
	slow := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	slow.add(0, 80, time.Minute)
	quick := &users{Env: testenv.New(t, testenv.Personality(t, "rotates-strictly")), server: slow.server, db: slow.db, pool: slow.pool}
	quick.MustLogin(quick.Session())
	quick.rec = quick.Record()
	quick.add(0, n, 2*time.Minute)
	gate := slow.Lab.Hold("token:refresh:received")
	defer gate.Release()
	ended := make(chan handstamp.RefreshEvent, 100)
	app := quick.app(ended)
	ctx, cancel := context.WithTimeout(t.Context(), aheadTimeout)
	defer cancel()
	worker := make(chan error, 1)
	go func() { worker <- app.RefreshAhead(ctx, hosted.AheadOptions{}) }()
	for i := range n { // those of the slow server end by a timeout
		select {
		case e := <-ended:
			if e.Server != quick.Lab.MCPURL() {
				t.Fatalf("%d of %d refreshes have ended before one of the slow server: %v", i, n, e.Err)
			}
		case <-ctx.Done():
			t.Fatalf("only %d of %d refreshes have ended", i, n)
		}
	}
	gate.Release()
	cancel()
	if err := <-worker; err != nil {
		t.Error(err)
	}
}

// notices is a handler of a log that receives what it says.
type notices chan string

func (n notices) Enabled(context.Context, slog.Level) bool { return true }
func (n notices) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n notices) WithGroup(string) slog.Handler            { return n }
func (n notices) Handle(_ context.Context, r slog.Record) error {
	n <- r.Message
	return nil
}

func TestRefreshAheadTriesARejectedRefreshOnce(t *testing.T) {
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, 3, -time.Minute)
	u.Lab.RevokeFamilies()
	ended := make(chan handstamp.RefreshEvent, 10)
	u.run(3, ended, hosted.AheadOptions{}, u.app(ended))
	u.WantCounts(map[string]int{"token:refresh": 3})
	var left int
	if err := u.pool.QueryRow(t.Context(), "SELECT count(*) FROM handstamp_due").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rejected logins are still to be refreshed (%v)", left, err)
	}
}

func TestRefreshAheadLeavesIdleUsersAlone(t *testing.T) {
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, 30, time.Minute)
	u.exec("UPDATE handstamp_due SET used_at = now() - interval '8 days'")
	u.add(30, 2, time.Minute)
	// User 3 is at work again.
	ended := make(chan handstamp.RefreshEvent, 50)
	app := u.app(ended)
	if _, err := app.Client(ownerOf(3)); err != nil {
		t.Fatal(err)
	}
	if err := app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// With claims of one at a time, so that the idle ones are in the way.
	u.run(3, ended, hosted.AheadOptions{AtOnce: 1}, u.app(ended))
	u.wantStrict(3)
}

// worker is a process that refreshes ahead until its standard input ends, and writes a line at the
// end of each refresh.
type worker struct{ Database string }

const workerVariable = "HANDSTAMP_TEST_WORKER"

func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	pool, err := pgxpool.New(ctx, w.Database+" pool_max_conns=4")
	if err != nil {
		return err
	}
	defer pool.Close()
	db, err := pgstore.New(ctx, pool, pgstore.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	app := newApp(db, func(e handstamp.RefreshEvent) { fmt.Println("refreshed", e.Err) })
	return errors.Join(app.RefreshAhead(ctx, hosted.AheadOptions{}), app.Close(context.WithoutCancel(ctx)))
}

// process is a worker that was started.
type process struct {
	*exec.Cmd
	stdin io.Closer
	ended chan struct{} // is closed when it writes no more
}

// start starts a worker, whose lines go to lines.
func (u *users) start(ctx context.Context, lines chan<- string) *process {
	u.T.Helper()
	job, err := json.Marshal(worker{u.server.URL()})
	if err != nil {
		u.T.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(ctx, os.Args[0]), ended: make(chan struct{})}
	p.Env = append(os.Environ(), workerVariable+"="+string(job))
	p.Stderr = os.Stderr
	if p.stdin, err = p.StdinPipe(); err != nil {
		u.T.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		u.T.Fatal(err)
	}
	if err := p.Start(); err != nil {
		u.T.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return p
}

// stop ends a worker as a deployment does.
func (u *users) stop(p *process) {
	u.T.Helper()
	p.stdin.Close()
	<-p.ended
	if err := p.Wait(); err != nil {
		u.T.Error(err)
	}
}

func TestProcessesShareRefreshesAhead(t *testing.T) {
	const n = 300
	u := newUsers(t, testenv.Personality(t, "rotates-strictly"))
	u.add(0, n, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), aheadTimeout)
	defer cancel()
	lines := make(chan string, 2*n)
	workers := []*process{u.start(ctx, lines), u.start(ctx, lines), u.start(ctx, lines)}
	u.await(ctx, lines, n)
	for _, p := range workers {
		u.stop(p)
	}
	u.wantStrict(n)
}

// await waits for the ends of n refreshes.
func (u *users) await(ctx context.Context, lines <-chan string, n int) {
	u.T.Helper()
	for i := range n {
		select {
		case line := <-lines:
			if !strings.HasPrefix(line, "refreshed <nil>") {
				u.T.Error(line)
			}
		case <-ctx.Done():
			u.T.Fatalf("%d of %d refreshes have ended", i, n)
		}
	}
}

func TestKilledWorkerLosesNothing(t *testing.T) {
	const n = 100
	u := newUsers(t, testenv.Personality(t, "rotates-with-grace"))
	u.add(0, n, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), aheadTimeout)
	defer cancel()
	lines := make(chan string, 2*n)
	// Most are left when the worker is killed, however late the test notices what it has done; and
	// the server carries out requests of it afterwards.
	u.Lab.SetFault("token", lab.Fault{Kind: lab.FaultDelay, Delay: time.Millisecond, Times: 10},
		lab.Fault{Kind: lab.FaultDelay, Delay: time.Second})
	killed := u.start(ctx, lines)
	u.await(ctx, lines, 10)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-killed.ended
	_ = killed.Wait()
	before := u.due()
	if before < n/2 {
		t.Fatalf("the worker was killed with %d credentials left to refresh", before)
	}
	// The claims and the marks of refreshes under way end.
	u.exec("UPDATE handstamp_due SET due_at = now() WHERE due_at < now() + interval '10 minutes'")
	u.Lab.SetFault("token")
	other := u.start(ctx, lines)
	for u.due() > 0 {
		select {
		case line := <-lines:
			if !strings.HasPrefix(line, "refreshed <nil>") {
				t.Error(line)
			}
		case <-ctx.Done():
			t.Fatalf("%d credentials are left", u.due())
		}
	}
	u.stop(other)
	if a := u.Lab.Audit(); a.FamiliesRevoked != 0 {
		t.Errorf("%d families revoked", a.FamiliesRevoked)
	}
}

func TestClaims(t *testing.T) {
	db, pool := open(t, servicetest.StartPostgres(t), pgstore.Options{})
	now := time.Now()
	put := func(user int, group string, due time.Duration) store.Claim {
		t.Helper()
		c := store.Claim{Owner: ownerOf(user), Key: store.Key{Server: "https://a.example", Profile: "default"}}
		s := storeOf(t, db, c.Owner)
		_, revision, _ := s.Get(t.Context(), c.Key)
		schedule := store.Schedule{Due: now.Add(due), Group: group}
		if _, err := store.Put(t.Context(), s, c.Key, nil, revision, schedule); err != nil {
			t.Fatal(err)
		}
		return c
	}
	long, odd := strings.Repeat("g", 10_000), "a\x00b\xff"
	for user, group := range []string{"a", "a", "a", "b", "b", long, odd} {
		put(user, group, time.Duration(user-100)*time.Second)
	}
	put(50, "a", time.Minute)
	claim := func(o store.ClaimOptions) (owners []string) {
		t.Helper()
		o.For, o.UsedWithin = time.Minute, time.Hour
		claims, err := db.Claim(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range claims {
			owners = append(owners, c.Owner.User)
		}
		slices.Sort(owners)
		return owners
	}
	for _, step := range []struct {
		about string
		o     store.ClaimOptions
		want  []string
	}{
		{"the first", store.ClaimOptions{Max: 1, PerGroup: 9}, []string{"0"}},
		{"less what is taken", store.ClaimOptions{Max: 9, PerGroup: 1, Taken: map[string]int{"a": 1, "c": 7}}, []string{"3", "5", "6"}},
		{"a bound for each group", store.ClaimOptions{Max: 9, PerGroup: 1}, []string{"1", "4"}},
		{"the rest", store.ClaimOptions{Max: 9, PerGroup: 9}, []string{"2"}},
		{"nothing", store.ClaimOptions{Max: 9, PerGroup: 9}, nil},
	} {
		if got := claim(step.o); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.about, got, step.want)
		}
	}
	// A Put with another schedule ends a claim, and so does one without.
	put(0, "a", -time.Second)
	if s := storeOf(t, db, ownerOf(1)); true {
		key := store.Key{Server: "https://a.example", Profile: "default"}
		_, revision, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), key, nil, revision); err != nil {
			t.Fatal(err)
		}
	}
	claims, err := db.Claim(t.Context(), store.ClaimOptions{Max: 9, PerGroup: 9, For: time.Minute, UsedWithin: time.Hour})
	if err != nil || len(claims) != 1 || claims[0].Owner != ownerOf(0) || claims[0].Group != "a" {
		t.Fatalf("Claim = %+v, %v", claims, err)
	}
	// Released claims are due again; those that have ended are left alone.
	stale := claims[0]
	stale.Until = stale.Until.Add(-time.Second)
	if err := db.Release(t.Context(), []store.Claim{stale}, now); err != nil {
		t.Fatal(err)
	}
	if got := claim(store.ClaimOptions{Max: 9, PerGroup: 9}); got != nil {
		t.Errorf("after the release of a claim that had ended: %v", got)
	}
	if err := db.Release(t.Context(), claims, now); err != nil {
		t.Fatal(err)
	}
	if got := claim(store.ClaimOptions{Max: 9, PerGroup: 9}); !slices.Equal(got, []string{"0"}) {
		t.Errorf("after Release: %v", got)
	}
	var rows int
	_, err = pool.Exec(t.Context(), "DELETE FROM handstamp_credential WHERE user_name = '0'")
	if err == nil {
		err = pool.QueryRow(t.Context(), "SELECT count(*) FROM handstamp_due WHERE due_group = 'a'").Scan(&rows)
	}
	if err != nil || rows != 2 { // of users 2 and 50
		t.Errorf("%d rows are left (%v)", rows, err)
	}
}
