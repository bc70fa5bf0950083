//go:build unix

package redisstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
)

// puppetVariable holds the puppetJob of a process of this test binary.
const puppetVariable = "HANDSTAMP_TEST_PUPPET"

// puppetJob is what a puppet does its orders with.
type puppetJob struct {
	Place  string
	Lease  time.Duration
	Write  time.Duration // bounds a write, which is then announced; zero is the usual time
	Server string        // of the order refresh
}

// puppet is a process that does what the test orders: lock, get, put VALUE, unlock, refresh USER.
type puppet struct {
	t       testing.TB
	cmd     *exec.Cmd
	orders  io.WriteCloser
	results *bufio.Scanner
}

func startPuppet(t testing.TB, j puppetJob) *puppet {
	t.Helper()
	job, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), puppetVariable+"="+string(job))
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &puppet{t, cmd, orders, bufio.NewScanner(out)}
	p.want("ready")
	return p
}

// order sends an order, and does not wait for its result.
func (p *puppet) order(order string) {
	p.t.Helper()
	if _, err := io.WriteString(p.orders, order+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// result waits for the result of the oldest order that has none yet.
func (p *puppet) result() string {
	if !p.results.Scan() {
		return "gone"
	}
	return p.results.Text()
}

// want waits for a result, and fails the test if it is another.
func (p *puppet) want(want string) {
	p.t.Helper()
	if got := p.result(); got != want {
		p.t.Fatalf("the process reports %q, want %q", got, want)
	}
}

func (p *puppet) do(order string) {
	p.t.Helper()
	p.order(order)
	p.want("ok")
}

func (p *puppet) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// runPuppet is the process.
func runPuppet(text string) error {
	var j puppetJob
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	ctx := context.Background()
	db, client, err := openPlace(ctx, j.Place)
	if err != nil {
		return err
	}
	defer client.Close()
	if j.Lease > 0 {
		db.SetLease(j.Lease)
	}
	if j.Write > 0 {
		db.SetWriteTimeout(j.Write)
	}
	s, err := db.Store(ada)
	if err != nil {
		return err
	}
	r := &puppetStrings{job: j, db: db, store: s, clients: make(map[string]*handstamp.Client)}
	fmt.Println("ready")
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		verb, object, _ := strings.Cut(orders.Text(), " ")
		fmt.Println(resultOf(r.do(ctx, verb, object)))
	}
	return nil
}

// resultOf is an error in one line.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, store.ErrConflict):
		return "conflict"
	case errors.Is(err, handstamp.ErrLoginRequired):
		return "login required"
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// puppetStrings are what the process does orders with.
type puppetStrings struct {
	job      puppetJob
	db       *redisstore.Database
	store    store.Store
	unlock   func()
	revision store.Revision
	clients  map[string]*handstamp.Client
}

func (r *puppetStrings) do(ctx context.Context, verb, object string) (err error) {
	switch verb {
	case "lock":
		r.unlock, err = r.store.Lock(ctx, lockedKey, store.LockRefresh)
	case "get":
		_, r.revision, err = r.store.Get(ctx, lockedKey)
	case "put":
		if r.job.Write > 0 {
			fmt.Println("writing")
		}
		r.revision, err = r.store.Put(ctx, lockedKey, []byte(object), r.revision)
	case "unlock":
		r.unlock()
	case "refresh":
		return r.refresh(ctx, object)
	default:
		err = errors.New("no such order")
	}
	return err
}

// refresh refreshes a user's token, whether it has expired or not.
func (r *puppetStrings) refresh(ctx context.Context, user string) error {
	c := r.clients[user]
	if c == nil {
		number, err := strconv.Atoi(user)
		if err != nil {
			return err
		}
		if c, err = testenv.ClientsOf(r.db)(number); err != nil {
			return err
		}
		c.LoginPolicy, c.InsecureAllowPrivateAddresses = handstamp.LoginNever, true
		r.clients[user] = c
	}
	_, err := c.Token(ctx, r.job.Server, handstamp.TokenOptions{Refresh: true})
	return err
}
