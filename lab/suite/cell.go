package suite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// Counts are what sessions did and cost.
type Counts struct {
	Worked        int `json:"worked"`         // sessions whose tool call worked
	Tabs          int `json:"tabs"`           // browser tabs
	TokenRequests int `json:"token_requests"` // of every grant, rejected ones too
	Registrations int `json:"registrations"`  // likewise
	FailedCalls   int `json:"failed_calls"`   // POSTs to the MCP server with a status of 400 or more
}

// Cell is one cell of the matrix, and what came of it.
type Cell struct {
	Personality string        `json:"personality"`
	Condition   Condition     `json:"condition"`
	Processes   int           `json:"processes"`
	Expect      Expectation   `json:"expect"`
	First       Counts        `json:"first"` // the login
	Later       Counts        `json:"later"` // the processes
	Failures    []string      `json:"failures,omitempty"`
	Requests    []string      `json:"requests,omitempty"` // what the server saw, if it failed
	Duration    time.Duration `json:"duration_ns"`
}

// Name is the cell in a path.
func (c *Cell) Name() string {
	return fmt.Sprintf("%s/%s/%d", c.Personality, c.Condition, c.Processes)
}

// Passed reports whether nothing was wrong.
func (c *Cell) Passed() bool { return len(c.Failures) == 0 }

// scene is a cell at work.
type scene struct {
	*Cell
	o       *Options
	p       lab.Personality
	server  *lab.Server
	moved   *lab.Server // where it has moved to, or nil
	user    *user
	session Session
	aged    bool // the client can be made older

	arrangement *lab.Arrangement // nil if the client needs none

	signedIn time.Time // when the first session was over
}

// play carries a cell out. The error is one of the suite; what a client does
// wrong is in the cell.
func play(ctx context.Context, o *Options, p lab.Personality, c Condition,
	processes int) (*Cell, error) {
	s := &scene{Cell: &Cell{Personality: p.Name, Condition: c, Processes: processes, Expect: Expect(p, c, processes)}, o: o, p: p}
	if s.Expect.Void {
		return s.Cell, nil
	}
	begun := time.Now()
	defer func() { s.Duration = time.Since(begun) }()
	dir, err := os.MkdirTemp(o.Dir, "handstamp-lab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	options := lab.Options{TLS: p.Habits.MTLS != (lab.MTLS{})}
	if s.server, err = lab.StartWith(p.Habits, options); err != nil {
		return nil, err
	}
	defer s.server.Close()
	s.user = newUser(ctx, p.Forged, browser(s.server))
	defer s.user.close()
	s.session = Session{URL: s.server.MCPURL(), Home: dir, Open: s.user.open}
	err = s.arrange()
	defer s.arrangement.Close()
	if err != nil {
		return nil, err
	}
	if _, inside := o.Client.(*Func); !inside {
		if s.session.Env, err = s.user.home(dir, os.Environ()); err != nil {
			return nil, err
		}
		s.session.Env = append(s.session.Env, setupEnv(s.session.Setup)...)
	}
	_, s.aged = o.Client.(Ager)
	if err := s.first(ctx); err != nil {
		return s.Cell, err
	}
	if s.Passed() {
		if err := s.later(ctx); err != nil {
			return s.Cell, err
		}
	}
	if !s.Passed() {
		for _, server := range s.servers() {
			for _, r := range server.Requests() {
				s.Requests = append(s.Requests, printable(r.String()))
			}
		}
	}
	return s.Cell, ctx.Err()
}

func (s *scene) failf(format string, args ...any) {
	s.Failures = append(s.Failures, printable(fmt.Sprintf(format, args...)))
}

// shortLife is how long an access token lives that is to expire by a clock which
// cannot be moved.
const shortLife = time.Second

// shortSecret is likewise how long a client secret lives; the login needs it, on a busy machine too.
const shortSecret = 10 * time.Second

// first is the first session, which logs in.
func (s *scene) first(ctx context.Context) error {
	if s.Expect.FirstFails {
		s.trouble()
	}
	if s.Condition == Expired && !s.aged {
		s.server.SetAccessTokenLifetime(s.p.Habits.TokenDelay + shortLife)
	}
	if secretOver(s.p, s.Condition) && !s.aged {
		s.server.SetSecretLifetime(shortSecret)
	}
	errs := s.run(ctx, 1, !s.Expect.FirstFails || s.p.Login == lab.LoginResponseRejected)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.signedIn = time.Now()
	s.First = s.counts(Counts{}, errs)
	switch {
	case s.Expect.FirstFails && s.First.Worked > 0:
		s.failf("the first session got through, and must not")
	case !s.Expect.FirstFails && s.First.Worked == 0:
		s.failf("the first session did not get through: %v", errs[0])
	}
	s.atMost("tabs in the first session", s.First.Tabs, s.Expect.FirstTabs)
	if s.Condition != Expired || s.aged { // or its token may have to be refreshed already
		s.atMost("token requests in the first session", s.First.TokenRequests,
			s.Expect.FirstTokenRequests)
	}
	s.invariants()
	return nil
}

// later is what comes after the condition.
func (s *scene) later(ctx context.Context) error {
	s.server.SetAccessTokenLifetime(0)
	s.server.SetSecretLifetime(0)
	tabs, _ := s.user.tabsOpened()
	release, taken := s.hold()
	defer release()
	if taken {
		s.portLost()
	}
	s.server.Reset()
	if err := s.applyCondition(ctx); err != nil {
		return err
	}
	s.trouble()
	if s.p.Moves {
		if err := s.move(); err != nil {
			return err
		}
		defer s.moved.Close()
	}
	if !s.p.PortTaken {
		release()
	}
	errs := s.run(ctx, s.Processes, s.Expect.Tabs > 0 && !s.Expect.None)
	if s.Expect.Eventually {
		errs = s.eventually(ctx, errs)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.Later = s.counts(Counts{Tabs: tabs}, errs)
	if s.Later.Registrations > s.Expect.Registrations && !taken {
		again, lost := s.hold()
		again()
		if lost {
			s.portLost()
		}
	}
	e := s.Expect
	switch {
	case e.None && s.Later.Worked > 0:
		s.failf("%d of %d sessions got through, and none may", s.Later.Worked, s.Processes)
	case s.Later.Worked < e.Worked:
		s.failf("%d of %d sessions got through, not %d: %v", s.Later.Worked, s.Processes,
			e.Worked, first(errs))
	}
	s.atMost("tabs", s.Later.Tabs, e.Tabs)
	s.atMost("token requests", s.Later.TokenRequests, e.TokenRequests)
	s.atMost("registrations", s.Later.Registrations, e.Registrations)
	s.atMost("failed MCP calls", s.Later.FailedCalls, e.FailedCalls)
	s.invariants()
	if e.Afterwards {
		s.afterwards(ctx)
	}
	// A client whose clock does not move has a token now that it takes for good.
	if e.Again && s.Passed() && (s.aged || s.Condition != Expired) {
		return s.again(ctx)
	}
	return nil
}

// applyCondition applies the condition to the server and the client.
func (s *scene) applyCondition(ctx context.Context) error {
	// With another clock, the server would reject what the client signs.
	s.Condition.apply(s.server, s.aged && s.arrangement == nil)
	if err := s.reissue(); err != nil {
		return err
	}
	// Nothing but time makes it so for a client with a clock of its own.
	var short time.Duration
	switch {
	case s.aged:
	case s.Condition == Expired:
		short = shortLife
	case secretOver(s.p, s.Condition):
		short = shortSecret
	}
	if short > 0 {
		select {
		case <-time.After(time.Until(s.signedIn.Add(short + shortLife/10))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if ager, ok := s.o.Client.(Ager); ok && s.Condition.age() > 0 {
		if err := ager.Age(ctx, s.session, s.Condition.age()); err != nil {
			return fmt.Errorf("suite: %s cannot be made older: %w", s.o.Client, err)
		}
	}
	return nil
}

// again applies the condition a second time: what the processes have stored must be enough.
func (s *scene) again(ctx context.Context) error {
	tabs, _ := s.user.tabsOpened()
	if err := s.applyCondition(ctx); err != nil {
		return err
	}
	if err := s.run(ctx, 1, false)[0]; err != nil {
		s.failf("when the same had happened a second time, no session got through: %v", err)
	}
	now, _ := s.user.tabsOpened()
	s.atMost("tabs when the same had happened a second time", now-tabs, 0)
	s.invariants()
	return ctx.Err()
}

func first(errs []error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

func (s *scene) atMost(what string, got, bound int) {
	if bound >= 0 && got > bound {
		s.failf("%d %s, and at most %d are needed", got, what, bound)
	}
}

// trouble sets what requests meet from now on.
func (s *scene) trouble() {
	for endpoint, faults := range s.p.Trouble {
		s.server.SetFault(endpoint, faults...)
	}
}

// move moves the MCP server to another authorization server.
func (s *scene) move() (err error) {
	if s.moved, err = lab.Start(s.p.Habits); err != nil {
		return err
	}
	s.server.MoveTo(s.moved)
	return nil
}

// rejectionTimeout bounds a session that must reject the authorization response: a bridge is called
// again and again for so long.
const rejectionTimeout = 3 * time.Second

// run runs sessions, all at once.
func (s *scene) run(ctx context.Context, n int, patient bool) []error {
	timeout := s.o.Timeout
	if s.p.Login == lab.LoginResponseRejected {
		timeout = rejectionTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	session := s.session
	session.Retry = patient
	before := s.toolCalls()
	errs := make([]error, n)
	var sessions sync.WaitGroup
	for i := range n {
		sessions.Go(func() { errs[i] = s.o.Client.Session(ctx, session) })
	}
	sessions.Wait()
	// A session that reports success counts only if the server has carried out a tool call for it.
	calls := s.toolCalls() - before
	for i, err := range errs {
		switch {
		case err != nil:
		case calls > 0:
			calls--
		default:
			errs[i] = errNoCall
		}
	}
	return errs
}

// toolCalls returns how many tool calls the MCP server has carried out since the last Reset.
func (s *scene) toolCalls() (n int) {
	for _, r := range s.server.Requests() {
		if r.Endpoint == "mcp" && r.RPC == "tools/call" && r.Status == http.StatusOK {
			n++
		}
	}
	return n
}

// counts returns what sessions did since the last Reset, less what was before.
func (s *scene) counts(before Counts, errs []error) Counts {
	c := Counts{}
	for _, err := range errs {
		if err == nil {
			c.Worked++
		}
	}
	tabs, _ := s.user.tabsOpened()
	c.Tabs = tabs - before.Tabs
	for _, server := range s.servers() {
		for _, r := range server.Requests() {
			switch {
			case r.Error == "use_dpop_nonce": // the request is repeated with the nonce
			case tokenRequest(r):
				c.TokenRequests++
			case r.Endpoint == "register":
				c.Registrations++
			case r.Endpoint == "mcp" && r.Method == http.MethodPost &&
				r.Status >= http.StatusBadRequest:
				c.FailedCalls++
			}
		}
	}
	return c
}

func (s *scene) servers() []*lab.Server {
	if s.moved != nil {
		return []*lab.Server{s.server, s.moved}
	}
	return []*lab.Server{s.server}
}

// invariants are what no client may do to any server.
func (s *scene) invariants() {
	if _, wrong := s.user.tabsOpened(); len(wrong) > 0 {
		s.failf("a browser was to open %q", wrong[0])
	}
	if audit := s.server.Audit(); audit.Reuses > 0 && !s.Expect.Reuse {
		s.failf("a used refresh token was sent again, %d times", audit.Reuses)
	}
	for _, server := range s.servers() {
		if n := server.Audit().ProofReuses; n > 0 {
			s.failf("a DPoP proof was sent again, %d times", n)
		}
		if n := server.Audit().Downgrades; n > 0 {
			s.failf("a token that is bound to a key was sent as Bearer, %d times", n)
		}
		if n := server.Audit().EndedSecrets; n > 0 {
			s.failf("a client secret was used after its end, %d times", n)
		}
		for _, r := range server.Requests() {
			if r.AuthMethod == "both" {
				s.failf("two client authentication methods in one request: %s", r)
			}
		}
	}
	s.setupInvariants()
	if s.moved == nil {
		return
	}
	old := make(map[string]bool)
	for _, secret := range s.server.Secrets() {
		old[lab.Fingerprint(secret)] = true
	}
	for _, c := range s.server.Clients() {
		old[c.ID] = true
	}
	for _, r := range s.moved.Requests() {
		if old[r.Refresh] || old[r.ClientID] ||
			slices.ContainsFunc(r.Params["client_secret"], func(v string) bool { return old[v] }) {
			s.failf("something of the old authorization server was sent to the new one: %s", r)
		}
	}
}

// cooldown bounds the pause of a client after a failure.
const cooldown = 45 * time.Second

// eventually runs further sessions until one works, or for as long as a client may wait, and
// returns how all have ended.
func (s *scene) eventually(ctx context.Context, errs []error) []error {
	ctx, cancel := context.WithTimeout(ctx, min(cooldown, s.o.Timeout))
	defer cancel()
	for !slices.Contains(errs, nil) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(repeatPause):
			errs = append(errs, s.run(ctx, 1, true)...)
		}
	}
	return errs
}

// afterwards checks that a session works when the faults are over.
func (s *scene) afterwards(ctx context.Context) {
	tabs, _ := s.user.tabsOpened()
	for endpoint := range s.p.Trouble {
		s.server.SetFault(endpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, cooldown)
	defer cancel()
	for {
		err := s.run(ctx, 1, false)[0]
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			s.failf("the trouble is over, and no session gets through: %v", err)
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(repeatPause):
		}
	}
	now, _ := s.user.tabsOpened()
	s.atMost("tabs after the trouble", now-tabs, 0)
}

// errNoCall reports that a session claims a tool call that the MCP server has not seen.
var errNoCall = errors.New("it reports a tool call that the MCP server has not carried out")

// errNoClient reports that there is nothing to test.
var errNoClient = errors.New("suite: Options.Client is nil")
