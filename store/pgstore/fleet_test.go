//go:build unix

package pgstore_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// replicaVariable holds what a process of this test binary does, which is run again as a replica.
const replicaVariable = "HANDSTAMP_TEST_REPLICA"

func TestMain(m *testing.M) {
	if database := os.Getenv(holderVariable); database != "" {
		if err := hold(context.Background(), database); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if text := os.Getenv(replicaVariable); text != "" {
		var r replica
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			panic(err)
		}
		if err := r.run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(workerVariable); text != "" {
		var w worker
		if err := json.Unmarshal([]byte(text), &w); err != nil {
			panic(err)
		}
		if err := w.run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	testenv.Main(m)
}

// replica is a process that needs a token of each user.
type replica struct {
	Database string
	Key      string // in hex
	Server   string
	Users    int
}

// run gets a token for all users, eight at a time, in an order of its own.
func (r *replica) run(ctx context.Context) error {
	raw, err := hex.DecodeString(r.Key)
	if err != nil {
		return err
	}
	key, err := sealed.NewKey(raw)
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, r.Database+" pool_max_conns=2")
	if err != nil {
		return err
	}
	defer pool.Close()
	db, err := pgstore.New(ctx, pool, pgstore.Options{Keys: []sealed.Key{key}, Refreshes: 2})
	if err != nil {
		return err
	}
	defer db.Close()
	users := make(chan int)
	failed := make(chan error, r.Users)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for user := range users {
				failed <- r.token(ctx, db, user)
			}
		})
	}
	for _, user := range rand.Perm(r.Users) {
		users <- user
	}
	close(users)
	workers.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

func (r *replica) token(ctx context.Context, db *pgstore.Database, user int) error {
	s, err := db.Store(ownerOf(user))
	if err != nil {
		return err
	}
	client := &handstamp.Client{Store: s, LoginPolicy: handstamp.LoginNever, InsecureAllowPrivateAddresses: true}
	_, err = client.Token(ctx, r.Server, handstamp.TokenOptions{})
	return errors.Join(err, client.Close(ctx))
}

func ownerOf(user int) store.Owner {
	return store.Owner{Tenant: "acme", User: strconv.Itoa(user)}
}

// The credentials of many users expire together, and many replicas need all of them: each is
// refreshed once, at a server that ends a login whose refresh token is used twice.
func TestManyReplicasRefreshEachCredentialOnce(t *testing.T) {
	replicas, users := 4, 20
	if testenv.Long() {
		replicas, users = 50, 200
	}
	server := servicetest.StartPostgres(t, "max_connections=400")
	raw := make([]byte, sealed.KeySize)
	key, err := sealed.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	db, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{key}})
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	for user := range users {
		w.Store = storeOf(t, db, ownerOf(user))
		w.MustLogin(w.Session())
		w.Expire()
	}
	w.Lab.Reset()
	job, err := json.Marshal(replica{server.URL(), hex.EncodeToString(raw), w.Lab.MCPURL(), users})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	var processes sync.WaitGroup
	for i := range replicas {
		processes.Go(func() {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), replicaVariable+"="+string(job))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("replica %d: %v\n%s", i, err, out[:min(len(out), 2000)])
			}
		})
	}
	processes.Wait()
	t.Logf("%d replicas had the tokens of %d users after %v", replicas, users, time.Since(began).Round(time.Millisecond))
	w.WantCounts(map[string]int{"token:refresh": users, "authorize": 0})
	if a := w.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		t.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
}
