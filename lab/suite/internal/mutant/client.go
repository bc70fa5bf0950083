package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Client is one process of the client.
type Client struct {
	Defect Defect
	URL    string       // of the MCP server
	Home   string       // where it keeps what it knows
	Open   func(string) // opens a browser
	// Setup is what the administrator has given, by the names of the suite; nil is nothing.
	Setup map[string]string
	http  *http.Client
}

// maxBody bounds what is read of a response.
const maxBody = 1 << 20

// maxRounds bounds how often a call is tried: every other process may have
// refreshed the token meanwhile.
const maxRounds = 64

// challenge is the challenge of a rejected request.
type challenge struct {
	metadata string // URL of the resource's metadata
	scope    string
	acr      string // acr_values
	stepUp   bool
	dpop     bool // the scheme DPoP is offered
}

// Run makes one tool call.
func (c *Client) Run(ctx context.Context) error {
	transport, err := c.transport()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	c.http = &http.Client{Transport: slashes{transport, c.Defect}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	st, err := c.load()
	if err != nil {
		return err
	}
	if c.Defect == CallerForwarded && st.Access == "" {
		if st.Access, err = c.given("token_file"); err != nil {
			return err
		}
	}
	refreshed, waits := false, 0
	for range maxRounds {
		result, rejected, err := c.call(ctx, st)
		if err != nil {
			return err
		}
		if rejected == nil {
			if !strings.Contains(result, `"hello"`) {
				return errors.New("the tool returned another result")
			}
			return c.worked(ctx, st)
		}
		if st.fresh() && waits < maxFreshWaits && !rejected.stepUp && c.Defect != FreshNotRepeated {
			waits++
			if err := wait(ctx, freshPause); err != nil {
				return err
			}
			continue
		}
		if rejected.stepUp && containsAll(st.Requested, rejected.scope) &&
			!containsAll(st.Granted, rejected.scope) {
			return errors.New("the scope is not granted")
		}
		if st, err = c.acquire(ctx, st, rejected, &refreshed); err != nil {
			return err
		}
	}
	return errors.New("the server rejects every token")
}

// A token that was issued just now and has never worked may need a moment.
const (
	freshFor   = 2 * time.Second
	freshPause = 200 * time.Millisecond

	// maxFreshWaits bounds the pauses of one call, whoever issued the tokens.
	maxFreshWaits = int(freshFor / freshPause)
)

// lateness is how long a process of a client without a lock may begin after another.
const startDelay = 300 * time.Millisecond

func (st *state) fresh() bool {
	return st.Access != "" && !st.Worked && time.Since(st.Issued) < freshFor
}

// worked notes that a token has worked.
func (c *Client) worked(ctx context.Context, st *state) error {
	if st.Worked || st.Access == "" {
		return nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	current, err := c.load()
	if err != nil || current.Access != st.Access {
		return err
	}
	current.Worked = true
	return c.save(current)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call calls the tool echo.
func (c *Client) call(ctx context.Context, st *state) (string, *challenge, error) {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	var response *http.Response
	switch token := st.Access; {
	case token == "":
		response, err = c.http.Do(r)
	case st.Key != "" && c.Defect != SentAsBearer:
		r.Header.Set("Authorization", "DPoP "+token)
		response, err = c.send(r, st, token)
	default:
		r.Header.Set("Authorization", "Bearer "+token)
		response, err = c.http.Do(r)
	}
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	raw, err := read(response)
	if err != nil {
		return "", nil, err
	}
	header := strings.Join(response.Header.Values("WWW-Authenticate"), ", ")
	rejected := &challenge{
		metadata: param(header, "resource_metadata"), scope: param(header, "scope"), acr: param(header, "acr_values"),
		dpop: strings.Contains(header, "DPoP "),
	}
	rejected.stepUp = rejected.acr != ""
	switch {
	case response.StatusCode == http.StatusOK:
		return string(raw), nil, nil
	case response.StatusCode == http.StatusUnauthorized:
		return "", rejected, nil
	case response.StatusCode == http.StatusForbidden &&
		param(header, "error") == "insufficient_scope":
		rejected.stepUp = true
		return "", rejected, nil
	}
	return "", nil, fmt.Errorf("the MCP server returned %d", response.StatusCode)
}

// read reads a bounded body.
func read(response *http.Response) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if len(raw) > maxBody {
		return nil, errors.New("the response is too long")
	}
	return raw, err
}

// param finds a parameter of a challenge.
func param(header, name string) string {
	_, rest, found := strings.Cut(header, name+`="`)
	if !found {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// acquire returns a state with another token than the rejected one.
func (c *Client) acquire(ctx context.Context, seen *state, rejected *challenge,
	refreshed *bool) (*state, error) {
	st := seen
	if c.Defect == RefreshUnlocked {
		// On a busy machine the other processes start late: the defect must show there too.
		if err := wait(ctx, startDelay); err != nil {
			return nil, err
		}
	}
	if c.Defect != RefreshUnlocked || seen.Refresh == "" {
		unlock, err := c.lock(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
		current, newer, err := c.reload(seen)
		if err != nil || newer {
			return current, err
		}
		st = current
	}
	if st.Client.over() && c.Defect != EndedSecretUsed {
		st.forgetClient()
		st.Refresh = ""
	}
	if st.Refresh != "" && !rejected.stepUp && !*refreshed {
		*refreshed = true
		next, err := c.refresh(ctx, st)
		if err != nil || next != nil {
			return next, err
		}
	}
	return c.login(ctx, st, rejected)
}

// reload returns the stored state, and whether another process has stored another token than the
// one in seen. The caller holds the lock.
func (c *Client) reload(seen *state) (st *state, newer bool, err error) {
	current, err := c.load()
	switch {
	case err != nil:
		return nil, false, err
	case c.Defect == DeletesUncompared && seen.Refresh != "" || c.Defect == LoginUnlocked:
		return seen, false, nil
	}
	return current, current.Access != seen.Access && current.Access != "", nil
}

// refresh refreshes the access token. It returns nil if a login is needed.
func (c *Client) refresh(ctx context.Context, st *state) (*state, error) {
	form := map[string]string{"grant_type": "refresh_token", "refresh_token": st.Refresh}
	if !st.OmitResource && c.Defect != NoResourceRefresh {
		form["resource"] = st.Resource
	}
	if st.RefreshScope || c.Defect == ScopeAlways {
		form["scope"] = st.Requested
	}
	next := *st
	token, err := c.exchangeRefresh(ctx, &next, form)
	rejected, definitive := errtype.As[*rejectedError](err)
	switch {
	case err == nil:
		next.take(token, c.Defect)
		return &next, c.save(&next)
	case definitive && rejected.client:
		next.forgetClient()
	case definitive:
	case c.Defect == TroubleMeansLogin:
		return nil, nil
	default:
		return nil, err
	}
	next.Refresh = ""
	*st = next
	return nil, c.save(st)
}

// silentPause is how long a client waits before it repeats a refresh that was
// rejected without a word.
const silentPause = 2 * time.Second

// exchangeRefresh sends a refresh token, and again where that may help.
func (c *Client) exchangeRefresh(ctx context.Context, st *state,
	form map[string]string) (token tokenResponse, err error) {
	for range 3 {
		token, err = c.token(ctx, st, st.methodNow(c.Defect), form)
		rejected, definitive := errtype.As[*rejectedError](err)
		transient, failed := errtype.As[*transientError](err)
		switch {
		case failed && transient.lost:
		case definitive && rejected.scope && form["scope"] == "" && st.Requested != "" &&
			c.Defect != ScopeNever:
			form["scope"], st.RefreshScope = st.Requested, true
		case definitive && rejected.silent && c.Defect != EmptyMeansClient:
			if err := wait(ctx, silentPause); err != nil {
				return token, err
			}
			token, err = c.token(ctx, st, st.methodNow(c.Defect), form)
			if rejected, ok := errtype.As[*rejectedError](err); ok && rejected.silent {
				rejected.client = false
			}
			return token, err
		default:
			return token, err
		}
	}
	return token, err
}

func containsAll(have, want string) bool {
	all := strings.Fields(have)
	return !slices.ContainsFunc(strings.Fields(want),
		func(s string) bool { return !slices.Contains(all, s) })
}

func union(a, b string) string {
	all := strings.Fields(a)
	for _, s := range strings.Fields(b) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

// get reads a JSON document; ok is false where there is none.
func (c *Client) get(ctx context.Context, url string, into any) (ok bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	response, err := c.http.Do(r)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return false, fmt.Errorf("metadata: status %d", response.StatusCode)
	}
	if response.StatusCode != http.StatusOK {
		return false, nil
	}
	raw, err := read(response)
	if err != nil {
		return false, err
	}
	return json.NewDecoder(bytes.NewReader(raw)).Decode(into) == nil, nil
}

// pollPause is how soon a lock is tried again.
const pollPause = 2 * time.Millisecond
