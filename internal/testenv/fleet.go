package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// fleetVariable holds what a process of this test binary does that is run again as a replica.
const fleetVariable = "HANDSTAMP_TEST_FLEET"

// Clients returns a new Client of a user, of whom there are several, from 0 on.
type Clients func(user int) (*handstamp.Client, error)

// OpenClients opens in a replica what place names, and returns the Clients that share it.
type OpenClients func(ctx context.Context, place string) (clients Clients, close func(), err error)

// OwnerOf returns the owner that a user is in a [store.Database].
func OwnerOf(user int) store.Owner { return store.Owner{Tenant: "acme", User: strconv.Itoa(user)} }

// ClientsOf returns Clients with the stores of a database.
func ClientsOf(db store.Database) Clients {
	return func(user int) (*handstamp.Client, error) {
		s, err := db.Store(OwnerOf(user))
		return &handstamp.Client{Store: s}, err
	}
}

// fleetJob is what a replica does: get the tokens of users for a server.
type fleetJob struct {
	Place, Server string
	Users         int
}

// RunReplica is for TestMain, before everything else: in a process that is a replica it does what
// a replica does, and ends the process.
func RunReplica(open OpenClients) {
	text := os.Getenv(fleetVariable)
	if text == "" {
		return
	}
	var j fleetJob
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.run(context.Background(), open)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run gets a token of all users, eight at a time, in an order of its own.
func (j *fleetJob) run(ctx context.Context, open OpenClients) error {
	clients, closed, err := open(ctx, j.Place)
	if err != nil {
		return err
	}
	defer closed()
	users := make(chan int)
	failed := make(chan error, j.Users)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for user := range users {
				failed <- j.token(ctx, clients, user)
			}
		})
	}
	for _, user := range rand.Perm(j.Users) {
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

func (j *fleetJob) token(ctx context.Context, clients Clients, user int) error {
	c, err := clients(user)
	if err != nil {
		return err
	}
	c.LoginPolicy, c.InsecureAllowPrivateAddresses = handstamp.LoginNever, true
	_, err = c.Token(ctx, j.Server, handstamp.TokenOptions{})
	return errors.Join(err, c.Close(ctx))
}

// Fleet is many users whose credentials expire together, and many replicas that need all of them:
// each is refreshed once, at a server that ends a login whose refresh token is used twice. The test
// binary has [RunReplica] in its TestMain. place and clients are the same credentials. With the race
// detector there are few: more replicas share no more memory.
func (w *Env) Fleet(place string, clients Clients) {
	w.T.Helper()
	replicas, users := 4, 20
	if Long() && !RaceDetector {
		replicas, users = 50, 200
	}
	for user := range users {
		w.SignInExpired(clients, user)
	}
	w.Lab.Reset()
	job, err := json.Marshal(fleetJob{place, w.Lab.MCPURL(), users})
	if err != nil {
		w.T.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	var processes sync.WaitGroup
	for i := range replicas {
		processes.Go(func() {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), fleetVariable+"="+string(job))
			if out, err := cmd.CombinedOutput(); err != nil {
				w.T.Errorf("replica %d: %v\n%s", i, err, out[:min(len(out), 2000)])
			}
		})
	}
	processes.Wait()
	w.T.Logf("%d replicas had the tokens of %d users after %v",
		replicas, users, time.Since(began).Round(time.Millisecond))
	w.WantCounts(map[string]int{"token:refresh": users, "authorize": 0})
	if a := w.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		w.T.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
}

// SignInExpired signs a user in whose access token has expired since.
func (w *Env) SignInExpired(clients Clients, user int) {
	w.T.Helper()
	c, err := clients(user)
	if err != nil {
		w.T.Fatal(err)
	}
	c.Prompt = handstamp.Prompt{OpenURL: w.OpenURL}
	w.MustLogin(c)
	if err := c.Close(w.T.Context()); err != nil {
		w.T.Fatal(err)
	}
	key, err := store.NewKey(w.Lab.MCPURL(), c.Profile)
	if err != nil {
		w.T.Fatal(err)
	}
	rec, err := record.Get(w.T.Context(), c.Store, key)
	if err != nil {
		w.T.Fatal(err)
	}
	rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
	if err := record.Put(w.T.Context(), c.Store, rec); err != nil {
		w.T.Fatal(err)
	}
}
