package handstamp

import (
	"fmt"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// credential is what all flows of one credential (a server and a profile) share in this process:
// the configuration, the MCP server, and the state. Every process may change the stored record;
// what is kept here is good enough for the next request.
type credential struct {
	serverURL string // as the user gave it
	tokens    *accessTokens
	config    *configuration
	server    *mcpServer
	records   *records
	history   *history
	secrets   *knownSecrets
	proofs    *proofs
	outcomes  *outcomes
	fetcher   *oauth.Fetcher
	errs      errorFactory
	events    *narrator // nil: no application listens
}

// notice reports to the application what the user should know and is no error.
func (c *credential) notice(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	c.events.deliver(Event{Step: StepNotice, Message: message})
	if c.config.Hooks.Notice != nil {
		c.events.guarded(func() { c.config.Hooks.Notice(c.serverURL, message) })
	}
}

// holding returns a copy of c, of whose results the application hears when report is called. It
// is for whoever holds a lock of all processes, which do not wait for an application that takes its time.
func holding(c *credential) (held *credential, report func()) {
	copied := *c
	copied.outcomes, report = c.outcomes.hold()
	return &copied, report
}

// noteRecord keeps what is known from a record that was read or is written.
func (c *credential) noteRecord(rec *record.Record) {
	if as := rec.AuthorizationServer; as != nil && as.PrivateNetwork {
		c.server.privateNetwork.Store(true)
	}
	c.proofs.use(rec.DPoP)
	c.secrets.note(rec)
}

// session is one credential with its flows. The public API and the transport call these; the
// flows call each other only in the order refresh, login, reauthorize.
type session struct {
	// Side by side in memory: a token that is at hand costs what reading these takes.
	access accessTokens
	credential

	imports      *importer
	refresher    *refresher
	logins       *logins
	reauthorizer *reauthorizer
}

// session returns the session of a server, the same for equal URLs.
func (c *Client) session(serverURL string) (*session, error) {
	if s := c.lastUsed.Load(); s != nil && s.serverURL == serverURL {
		return s, nil
	}
	c.init()
	c.mu.Lock()
	s := c.spelled[serverURL]
	c.mu.Unlock()
	if s != nil {
		c.lastUsed.Store(s)
		return s, nil
	}
	u, err := parseServerURL(serverURL, c.InsecureAllowHTTP)
	if err != nil {
		return nil, err
	}
	if err := c.check(serverURL); err != nil {
		return nil, err
	}
	target, _, _ := strings.Cut(serverURL, "#")
	key, err := store.NewKey(target, c.Profile)
	if err != nil {
		return nil, &Error{Kind: ErrInvalidConfig, Server: serverURL, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[key]; s != nil {
		return s, nil
	}
	config := (*configuration)(c)
	secrets := &knownSecrets{configured: []secret.String{c.InitialAccessToken}}
	if r := c.Registration; r != nil {
		secrets.configured = append(secrets.configured, r.ClientSecret)
	}
	secrets.note(new(record.Record)) // those of the configuration are sent before there is a record
	events := newNarrator(config, serverURL, key.Profile, secrets)
	server := &mcpServer{
		config: config, events: events, secrets: secrets, serverURL: serverURL, url: u, target: target,
	}
	s = newSession()
	s.serverURL, s.config, s.server, s.secrets, s.events = serverURL, config, server, secrets, events
	s.outcomes = &outcomes{config: config, server: serverURL, profile: key.Profile, events: events}
	s.errs = errorFactory{serverURL: serverURL, config: config, secrets: secrets}
	s.fetcher = &oauth.Fetcher{
		HTTP: server.authTransport, UserAgent: userAgent, Secrets: secrets.all,
	}
	if events != nil {
		s.fetcher.Observe = events.exchange
	}
	s.records = &records{
		store: c.Store, key: key, serverURL: serverURL, timeout: c.LockTimeout,
		notice: s.notice, seen: s.noteRecord, events: events,
		schedule: config.schedule,
	}
	s.access.records, s.access.proofs, s.access.events = s.records, s.proofs, events
	c.sessions[key], c.spelled[serverURL] = s, s
	return s, nil
}

// check finds options that cannot work, whatever the server.
func (c *Client) check(serverURL string) error {
	if err := c.Registration.check(); err != nil {
		return err
	}
	if c.Certificate != nil && len(c.Certificate.Certificate) == 0 {
		return &Error{Kind: ErrInvalidConfig, Server: serverURL, Message: "the client certificate is empty"}
	}
	if c.Resource != "" && c.OmitResource {
		return &Error{Kind: ErrInvalidConfig, Server: serverURL,
			Message: "Resource and OmitResource contradict each other"}
	}
	switch c.Grant.(type) {
	case nil, ClientCredentials, JWTBearer, TokenExchange, Enterprise, DeviceCode:
		return nil
	}
	return &Error{Kind: ErrInvalidConfig, Server: serverURL,
		Message: fmt.Sprintf("the client's Grant is a %T, and has to be the struct itself", c.Grant)}
}

// newSession returns a session whose flows share its credential, which the caller fills in.
func newSession() *session {
	s := &session{credential: credential{history: &history{}, proofs: &proofs{}}}
	s.tokens = &s.access
	shared := &s.credential
	discovery := &discovery{credential: shared}
	s.imports = &importer{shared, discovery}
	s.refresher = &refresher{credential: shared, discovery: discovery, imports: s.imports}
	s.logins = &logins{credential: shared, discovery: discovery, imports: s.imports}
	s.reauthorizer = &reauthorizer{credential: shared, refresher: s.refresher, logins: s.logins}
	return s
}
