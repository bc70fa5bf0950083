//go:build unix

package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// tokenLatency is how long the authorization server takes for a refresh.
const tokenLatency = 100 * time.Millisecond

// The holder of the lock is suspended at any moment of a refresh, and another process needs a new
// token meanwhile: how many logins are lost? None while the lease lasts, and none at a server that
// forgives a refresh token that comes twice. The figures in docs/stores.md are those that this prints:
//
//	HANDSTAMP_TEST_LONG=1 go test -v -run TestLoginsLostToSuspension ./store/redisstore
func TestLoginsLostToSuspension(t *testing.T) {
	t.Parallel()
	strict := lab.Habits{Rotation: lab.RotateStrict}
	grace := lab.Habits{Rotation: lab.RotateGrace, Grace: time.Minute}
	trials := []*losses{{server: "rotates strictly", habits: strict, ratio: 0.5}}
	if testenv.Long() {
		trials = append(trials, &losses{server: "rotates strictly", habits: strict, ratio: 1.5, may: true},
			&losses{server: "rotates with a grace period", habits: grace, ratio: 1.5})
	}
	servers := addresses(servicetest.StartRedis(t))
	for _, l := range trials {
		freezes := l.count(t, servers)
		t.Logf("the server %s, suspended for %v of the lease at any moment of a refresh: %d of %d logins lost",
			l.server, l.ratio, l.lost, freezes)
		if l.lost > 0 && !l.may {
			t.Errorf("the server %s, %v of the lease: %d logins lost", l.server, l.ratio, l.lost)
		}
	}
}

// losses counts the logins that are lost to processes that are suspended.
type losses struct {
	server string
	habits lab.Habits
	ratio  float64 // of the pause to the lease
	may    bool    // logins may be lost

	client redis.UniversalClient

	mu   sync.Mutex
	lost int // guarded by mu
}

// suspendLease is the lease here: long enough for a machine that is busy with other tests.
const suspendLease = 2 * time.Second

// count suspends a process during each of many refreshes, and returns how many there were.
func (l *losses) count(t *testing.T, servers *redis.UniversalOptions) (freezes int) {
	pairs, rounds := 4, 2
	if testenv.Long() {
		pairs, rounds = 16, 5
	}
	w := testenv.New(t, l.habits)
	w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultDelay, Delay: tokenLatency})
	l.client = newClient(t, servers)
	db := open(t, l.client, redisstore.Options{Keys: []sealed.Key{newKey(t, 0)}})
	var done sync.WaitGroup
	for user := range pairs {
		job := puppetJob{Place: placeOf(t, servers), Lease: suspendLease, Server: w.Lab.MCPURL()}
		first, second := startPuppet(t, job), startPuppet(t, job)
		done.Go(func() {
			for range rounds {
				kept, late := l.freeze(t, w, db, user, first, second)
				for tries := 1; late && tries < maxLate; tries++ {
					kept, late = l.freeze(t, w, db, user, first, second)
				}
				if !kept && !late {
					l.mu.Lock()
					l.lost++
					l.mu.Unlock()
				}
			}
		})
	}
	done.Wait()
	return pairs * rounds
}

// maxLate is how often a suspension is made for which the machine was too late.
const maxLate = 10

// freeze suspends the first process during a refresh, and reports whether the login is still good.
// late is set if the suspension was to be shorter than the lease, and the machine was so busy that
// it may not have been: the refresh came to its end later than the lease would have, had the process
// not extended it when it went on.
func (l *losses) freeze(
	t *testing.T, w *testenv.Env, db *redisstore.Database, user int, first, second *puppet,
) (kept, late bool) {
	w.SignInExpired(testenv.ClientsOf(db), user)
	refresh := fmt.Sprint("refresh ", user)
	first.order(refresh)
	time.Sleep(rand.N(tokenLatency + tokenLatency/2)) // at any moment of it
	first.signal(syscall.SIGSTOP)
	suspended, left := time.Now(), l.leaseLeft(t, w, db, user)
	second.order(refresh)
	time.Sleep(time.Duration(l.ratio * float64(suspendLease))) // what is tested is that it passes
	first.signal(syscall.SIGCONT)
	firstResult := first.result()
	late = l.ratio < 1 && left < time.Since(suspended)
	kept = true
	for _, result := range []string{firstResult, second.result()} {
		switch {
		case result == "ok":
		case result == "login required":
			kept = false
		default:
			t.Errorf("user %d: %s", user, result)
		}
	}
	if !kept {
		return false, late
	}
	second.order(refresh)
	return second.result() == "ok", late
}

// leaseLeft returns how long the lock of a user's refresh lasts if it is not extended. One that no
// process has may be about to be taken.
func (l *losses) leaseLeft(
	t *testing.T, w *testenv.Env, db *redisstore.Database, user int,
) time.Duration {
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Error(err)
	}
	left, err := l.client.PTTL(t.Context(), db.LockKey(testenv.OwnerOf(user), key, store.LockRefresh)).Result()
	if err != nil {
		t.Error(err)
	}
	if left < 0 {
		return suspendLease
	}
	return left
}
