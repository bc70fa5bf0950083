package handstamp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// State is the state of a credential, in one word.
type State string

const (
	StateNone        State = "none"        // never signed in, or signed out here
	StateValid       State = "valid"       // the access token can be used
	StateRefreshable State = "refreshable" // the access token has expired, and is refreshed at its next use
	StateExpired     State = "expired"     // the access token has expired, and cannot be refreshed
	StateRevoked     State = "revoked"     // the server ended the grant
	StateCorrupt     State = "corrupt"     // the stored record is damaged, and is not used
	StateNoExpiry    State = "no_expiry"   // valid as far as is known: the server gave no expiry

	StateUnusable State = "unusable" // the stored record is kept, but cannot be used as it is: see Problem
)

// Status is what is stored of one credential, without secrets.
type Status struct {
	Server      string `json:"server"` // as the user gave it
	Profile     string `json:"profile"`
	State       State  `json:"state"`
	Refreshable bool   `json:"refreshable"` // the next access token needs no user

	// Account is the name of the user's account, where the server provides it.
	Account string `json:"account,omitempty"`

	// GrantType is how the tokens are obtained (RFC 6749, section 1.3): "authorization_code", or
	// that of [Client.Grant]. DPoP reports whether the access token is bound to a key (RFC 9449).
	GrantType string `json:"grant_type,omitempty"`
	DPoP      bool   `json:"dpop,omitempty"`

	// PAR reports whether authorization requests are pushed to the authorization server first (RFC
	// 9126).
	PAR bool `json:"pushed_authorization_requests,omitempty"`

	Issuer       string      `json:"issuer,omitempty"`
	Enterprise   string      `json:"enterprise,omitempty"` // the issuer of the company's identity provider
	ClientID     string      `json:"client_id,omitempty"`
	ClientSource string      `json:"client_source,omitempty"` // "dynamic", "configured" or "client_id_metadata_document"
	Method       string      `json:"token_endpoint_auth_method,omitempty"`
	MethodReason string      `json:"token_endpoint_auth_method_reason,omitempty"` // a clause for users
	Resource     string      `json:"resource,omitempty"`
	Scope        string      `json:"scope,omitempty"` // granted
	ObtainedAt   time.Time   `json:"obtained_at,omitzero"`
	ExpiresAt    time.Time   `json:"expires_at,omitzero"` // zero: unknown
	RetryAt      time.Time   `json:"retry_at,omitzero"`   // the authorization server is left alone until then
	RetryReason  string      `json:"retry_reason,omitempty"`
	GrantError   *GrantError `json:"grant_error,omitempty"`

	// ManualRegistration is what the last login came to that needed a client which
	// the user has to register by hand.
	ManualRegistration *ManualRegistration `json:"manual_registration,omitempty"`

	// AccessTokenRejected reports that, before the expiry, a server rejected the
	// access token or a caller set [TokenOptions].Refresh.
	AccessTokenRejected bool `json:"access_token_rejected,omitempty"`

	// RefreshRejected is the OAuth error code of the last refresh, if it was
	// rejected while the access token is good. It is tried again at RetryAt.
	RefreshRejected string `json:"refresh_rejected,omitempty"`

	// Problem describes what is wrong with the stored record, with StateCorrupt and
	// StateUnusable: one sentence without a period.
	Problem string `json:"problem,omitempty"`
}

// ManualRegistration describes the client that the user has to register by hand,
// where the authorization server offers no dynamic registration.
type ManualRegistration struct {
	Issuer      string `json:"issuer"`
	RedirectURI string `json:"redirect_uri"` // the next login listens there
}

// GrantError is the error that ended a grant.
type GrantError struct {
	At          time.Time `json:"at"`
	Code        string    `json:"code"`
	Description string    `json:"description,omitempty"`

	// Interrupted reports that a refresh was cut off before its result could be
	// stored, which is the likely reason for the rejection.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Usable reports whether a request could be made without the user.
func (s *Status) Usable() bool {
	return s.State == StateValid || s.State == StateRefreshable || s.State == StateNoExpiry
}

// Status returns what is stored for a server, without any network. A server
// that is not known has StateNone and no error.
func (c *Client) Status(ctx context.Context, serverURL string) (*Status, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	rec, err := s.records.load(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if s.tokens.current.Load() == nil && decide(rec, tokenNeed{}, s.config, now).action == useStored {
		s.tokens.use(rec) // the next request need not read the store again
	}
	return statusOf(rec, now), nil
}

// List returns the Status of every credential in the Store, of all
// profiles, ordered by server. One whose record cannot be read is listed with
// StateCorrupt or StateUnusable, also where the wait for it takes longer than
// LockTimeout.
func (c *Client) List(ctx context.Context) ([]*Status, error) {
	c.init()
	var mu sync.Mutex // guards listed
	var listed []listedStatus
	add := func(key store.Key, rec *record.Record, err error) {
		l := listedStatus{key: key}
		if err != nil {
			l.status = unreadable(key, err)
		} else {
			l.status = statusOf(rec, time.Now())
		}
		mu.Lock()
		defer mu.Unlock()
		listed = append(listed, l)
	}
	// To decode a value takes longer than to read it.
	type found struct {
		key      store.Key
		value    []byte
		revision store.Revision
	}
	values := make(chan found, 64)
	var decoders sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		decoders.Go(func() {
			for f := range values {
				rec, err := record.Of(f.key, f.value, f.revision)
				add(f.key, rec, err)
			}
		})
	}
	var rest []store.Key
	err := callStore(ctx, c.LockTimeout, func(ctx context.Context) (err error) {
		rest, err = store.Scan(ctx, c.Store, "", func(key store.Key, value []byte, revision store.Revision) {
			awake.Restart(ctx, cmp.Or(c.LockTimeout, storeTimeout)) // many values take long, and none is a wait
			values <- found{key, value, revision}
		})
		return err
	})
	close(values)
	decoders.Wait()
	if err != nil {
		return nil, storeError(ctx, "", err)
	}
	for _, key := range rest {
		rec, err := getRecord(ctx, c.Store, key, c.LockTimeout)
		switch {
		case errors.Is(err, store.ErrNotFound): // signed out since
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		default:
			add(key, rec, err)
		}
	}
	slices.SortFunc(listed, func(a, b listedStatus) int { return a.key.Compare(b.key) })
	list := make([]*Status, len(listed))
	for i, l := range listed {
		list[i] = l.status
	}
	return list, nil
}

// listedStatus is a Status under the key that it is listed by.
type listedStatus struct {
	key    store.Key
	status *Status
}

// unreadable returns the Status of a credential whose record cannot be read.
func unreadable(key store.Key, err error) *Status {
	st := &Status{Server: key.Server, Profile: key.Profile, State: StateUnusable}
	st.Problem = strings.TrimPrefix(err.Error(), store.ErrUnusable.Error()+": ")
	if errors.Is(err, store.ErrCorrupt) {
		st.State = StateCorrupt
		st.Problem = strings.TrimPrefix(st.Problem, store.ErrCorrupt.Error()+": ")
	}
	st.Problem = strings.TrimPrefix(st.Problem, "store: ")
	return st
}

func statusOf(rec *record.Record, now time.Time) *Status {
	st := &Status{Server: cmp.Or(rec.ServerURL, rec.Key.Server), Profile: rec.Key.Profile, State: StateNone, Account: rec.Account}
	if f := rec.GrantError; f != nil {
		st.GrantError = &GrantError{At: f.At, Code: f.Code, Description: f.Description, Interrupted: f.Interrupted}
	}
	st.setRetry(rec, now)
	if rec.Grant != nil {
		st.setGrant(rec, now)
		return st
	}
	if st.GrantError != nil {
		st.State = StateRevoked
	}
	for _, l := range rec.Learned {
		if l.NamedRedirectURI != "" {
			st.ManualRegistration = &ManualRegistration{Issuer: l.Issuer, RedirectURI: l.NamedRedirectURI}
		}
	}
	return st
}

// setRetry sets what concerns the next request to the authorization server.
func (s *Status) setRetry(rec *record.Record, now time.Time) {
	r := rec.Retry
	if !retryPending(r, now) || rec.Grant != nil && earlyRejectionOver(rec, tokenNeed{}, now) {
		return
	}
	s.RetryAt, s.RetryReason = r.NotBefore, r.Reason
	if rejectedEarly(rec) && rec.Grant.Usable("", now) {
		s.RefreshRejected = r.Reason
	}
}

// setGrant sets what concerns the grant, and the State.
func (s *Status) setGrant(rec *record.Record, now time.Time) {
	g := rec.Grant
	s.Issuer, s.Scope, s.Enterprise = g.Issuer, g.ScopeGranted, g.Enterprise
	s.GrantType, s.DPoP = cmp.Or(g.Type, "authorization_code"), authScheme(g.TokenType) == "DPoP"
	s.PAR = g.Type == "" && pushesRequests(rec.AuthorizationServer, g.Issuer)
	if !g.Resource.Omit {
		s.Resource = g.Resource.Value
	}
	s.ObtainedAt, s.ExpiresAt, s.AccessTokenRejected = g.ObtainedAt, g.ExpiresAt, g.Rejected
	if cl := rec.GrantClient(); cl != nil {
		obtainable := g.RefreshToken != "" || g.Type == grantClientCredentials || g.Enterprise != ""
		authenticates := !cl.Rejected && (manageable(cl) || !secretExpired(cl, g, now))
		s.Refreshable = obtainable && rec.GrantError == nil && authenticates
		s.ClientID, s.ClientSource, s.Method = cl.ID, cl.Source, cl.Method
		s.MethodReason = authMethodReason(cl.MethodSource)
	}
	switch usable := g.Usable("", now); {
	case usable && g.ExpiresAt.IsZero():
		s.State = StateNoExpiry
	case usable:
		s.State = StateValid
	case s.Refreshable:
		s.State = StateRefreshable
	case s.GrantError != nil:
		s.State = StateRevoked
	default:
		s.State = StateExpired
	}
}

// pushesRequests reports whether the metadata of an issuer has an endpoint to push authorization
// requests to, which is used wherever there is one.
func pushesRequests(as *record.AuthorizationServer, issuer string) bool {
	var metadata struct {
		Endpoint string `json:"pushed_authorization_request_endpoint"`
	}
	if as == nil || !bytes.Contains(as.Metadata, []byte("pushed_authorization_request_endpoint")) {
		return false // which is found out in a tenth of the time
	}
	return as.Issuer == issuer && json.Unmarshal(as.Metadata, &metadata) == nil &&
		metadata.Endpoint != ""
}
