//go:build unix

package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// The keys whose values and locks the clients use, and the profiles of the login that they refresh.
var (
	registers = []store.Key{
		{Server: "https://a.example/mcp", Profile: store.DefaultProfile},
		{Server: "https://a.example/mcp", Profile: "other"},
		{Server: "https://b.example/mcp", Profile: store.DefaultProfile},
	}
	profiles = []string{"first", "second"}
)

// job is what a process of clients does.
type job struct {
	Place   place
	Process int
	Clients []int
	Seed    uint64
	Server  string        // of the logins
	Skew    time.Duration // how far its clock is ahead
}

// client does one thing after the other, at random.
type client struct {
	job
	id    int
	store store.Store
	rand  *rand.Rand
	write func(Event)

	held   map[store.Key]store.Revision // as it was read last
	puts   int
	logins map[string]*handstamp.Client
}

func newClient(j job, id int, s store.Store, write func(Event)) *client {
	c := &client{job: j, id: id, store: s, rand: rand.New(rand.NewPCG(j.Seed, uint64(id))), write: write,
		held: make(map[store.Key]store.Revision), logins: make(map[string]*handstamp.Client)}
	if j.Skew != 0 {
		s = &skewedStore{s, j.Skew}
	}
	for _, profile := range profiles {
		c.logins[profile] = newLogin(s, profile, &sentTokens{c, profile})
	}
	return c
}

// newLogin returns a Client that signs in only by Login.
func newLogin(s store.Store, profile string, transport http.RoundTripper) *handstamp.Client {
	return &handstamp.Client{
		Store: s, Profile: profile, LoginPolicy: handstamp.LoginNever,
		LoginTimeout: time.Minute, LockTimeout: 5 * time.Second, AuthTransport: transport,
		Prompt: handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			go lab.Browse(context.WithoutCancel(ctx), rawURL)
			return nil
		}},
	}
}

// run does operations until stop is closed, and waits for what it has begun.
func (c *client) run(stop <-chan struct{}) {
	operations := []struct {
		weight int
		do     func(context.Context)
	}{{35, c.get}, {30, c.put}, {5, c.delete}, {18, c.lock}, {12, c.refresh}}
	for {
		select {
		case <-stop:
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			for _, login := range c.logins {
				login.Close(ctx)
			}
			return
		case <-time.After(rand.N(10 * time.Millisecond)): // what a client does beside
		}
		n := c.rand.IntN(100)
		for _, o := range operations {
			if n -= o.weight; n < 0 {
				o.do(context.Background())
				break
			}
		}
	}
}

// do writes down an operation around its work.
func (c *client) do(e Event, work func(*Event) error) {
	e.Process, e.Client, e.At = c.Process, c.id, now()
	c.write(e)
	err := work(&e)
	e.At = now()
	if e.Result == "" {
		e.Result = result(err)
	}
	if err != nil {
		e.Text = err.Error()
		e.Text = e.Text[:min(len(e.Text), 400)]
	}
	c.write(e)
	if e.Result == Failed {
		time.Sleep(rand.N(50 * time.Millisecond)) // as a client does before the next try
	}
}

func result(err error) Result {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, store.ErrNotFound):
		return Absent
	case errors.Is(err, store.ErrConflict):
		return Conflict
	case errors.Is(err, store.ErrCorrupt):
		return Torn
	}
	return Failed
}

func (c *client) key() store.Key { return registers[c.rand.IntN(len(registers))] }

func (c *client) get(ctx context.Context) { c.read(ctx, c.key()) }

func (c *client) read(ctx context.Context, key store.Key) {
	c.do(Event{Kind: Get, Key: key.Name()}, func(e *Event) error {
		value, revision, err := c.store.Get(ctx, key)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			c.held[key] = revision
		}
		if err != nil {
			return err
		}
		e.Revision = string(revision)
		e.Value, err = parse(value)
		return err
	})
}

// fill returns a value of a name, in which each byte is determined.
func fill(name string, size int) []byte {
	head := name + " " + strconv.Itoa(size) + "\n"
	return append([]byte(head), bytes.Repeat([]byte(name+"."), size)...)
}

// parse returns the name of a value that is whole.
func parse(value []byte) (name string, err error) {
	head, _, _ := strings.Cut(string(value), "\n")
	name, text, _ := strings.Cut(head, " ")
	size, err := strconv.Atoi(text)
	if err != nil || size > len(value) || !bytes.Equal(fill(name, size), value) {
		return "", fmt.Errorf("%w: %d bytes that begin with %.40q", store.ErrCorrupt, len(value), value)
	}
	return name, nil
}

// put replaces what was read last, or puts what it believes to be the first value.
func (c *client) put(ctx context.Context) {
	key := c.key()
	if c.rand.IntN(3) > 0 {
		c.read(ctx, key)
	}
	c.puts++
	name := fmt.Sprintf("p%dc%dv%d", c.Process, c.id, c.puts)
	value := fill(name, 1<<c.rand.IntN(11))
	e := Event{Kind: Put, Key: key.Name(), Value: name, Expected: string(c.held[key])}
	c.do(e, func(e *Event) error {
		revision, err := c.store.Put(ctx, key, value, c.held[key])
		if err == nil {
			c.held[key] = revision
			e.Revision = string(revision)
		}
		return err
	})
}

func (c *client) delete(ctx context.Context) {
	key := c.key()
	e := Event{Kind: Delete, Key: key.Name(), Expected: string(c.held[key])}
	c.do(e, func(*Event) error {
		err := c.store.Delete(ctx, key, c.held[key])
		if err == nil {
			c.held[key] = ""
		}
		return err
	})
}

// lock takes a lock, and holds it for a while, mostly a short one.
func (c *client) lock(ctx context.Context) {
	key, name := c.key(), store.LockRefresh
	if c.rand.IntN(3) == 0 {
		name = store.LockLogin
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var unlock func()
	e := Event{Kind: Lock, Key: key.Name(), Name: string(name)}
	c.do(e, func(*Event) (err error) {
		unlock, err = c.store.Lock(ctx, key, name)
		return err
	})
	if unlock == nil {
		return
	}
	hold := 10 * time.Millisecond
	if c.rand.IntN(10) == 0 {
		hold = time.Second
	}
	time.Sleep(rand.N(hold)) // with the lock
	c.do(Event{Kind: Unlock, Key: e.Key, Name: e.Name}, func(*Event) error {
		unlock()
		return nil
	})
}

// refresh has the token of a login refreshed, and signs in where the login has ended.
func (c *client) refresh(ctx context.Context) {
	profile := profiles[c.rand.IntN(len(profiles))]
	login, lost := c.logins[profile], false
	c.do(Event{Kind: Refresh, Key: profile}, func(e *Event) error {
		_, err := login.Token(ctx, c.Server, handstamp.TokenOptions{Refresh: true})
		if !errors.Is(err, handstamp.ErrLoginRequired) {
			return err
		}
		lost = true
		status, failed := login.Status(ctx, c.Server)
		switch {
		case failed != nil || status.GrantError == nil:
			e.Result = Failed // and another client signs in, or it has done so
		case status.GrantError.Interrupted:
			e.Result, e.Value = Named, status.GrantError.At.Format(time.RFC3339Nano)
		default:
			e.Result, e.Value = Unnamed, status.GrantError.At.Format(time.RFC3339Nano)
		}
		return err
	})
	if lost {
		c.do(Event{Kind: Login, Key: profile}, func(*Event) error {
			_, err := login.Login(ctx, c.Server, handstamp.LoginOptions{})
			return err
		})
	}
}

// sentTokens writes down which refresh tokens are sent.
type sentTokens struct {
	client  *client
	profile string
}

// RoundTrip implements http.RoundTripper.
func (s *sentTokens) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		return http.DefaultTransport.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("grant_type") != "refresh_token" {
		return http.DefaultTransport.RoundTrip(req)
	}
	c := s.client
	e := Event{At: now(), Process: c.Process, Client: c.id, Kind: Send, Key: s.profile,
		Value: lab.Fingerprint(form.Get("refresh_token"))}
	c.write(e)
	resp, err := http.DefaultTransport.RoundTrip(req)
	e.At, e.Result = now(), result(err)
	if err == nil && resp.StatusCode != http.StatusOK {
		e.Result = Rejected
	}
	c.write(e)
	return resp, err
}
