package handstamp

import (
	"fmt"
	"net/http"
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
	config    *configuration
	serverURL string // as the user gave it
	server    *mcpServer
	records   *records
	tokens    *accessTokens
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
	*credential
	imports      *importer
	refresher    *refresher
	logins       *logins
	reauthorizer *reauthorizer
}

// closeIdle closes connections to authorization servers that are not in use. Those of a transport
// that the application has given are the application's.
func (s *session) closeIdle() {
	if t, ok := s.fetcher.HTTP.(*http.Transport); ok && s.config.AuthTransport == nil {
		t.CloseIdleConnections()
	}
}

// session returns the session of a server, the same for equal URLs.
func (c *Client) session(serverURL string) (*session, error) {
	c.init()
	c.mu.Lock()
	s := c.spelled[serverURL]
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	u, err := parseServerURL(serverURL, c.InsecureAllowHTTP)
	if err != nil {
		return nil, err
	}
	if err := c.Registration.check(); err != nil {
		return nil, err
	}
	if c.Certificate != nil && len(c.Certificate.Certificate) == 0 {
		return nil, &Error{Kind: ErrInvalidConfig, Server: serverURL, Message: "the client certificate is empty"}
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
	shared := &credential{
		config:    config,
		serverURL: serverURL,
		history:   &history{},
		secrets:   &knownSecrets{},
		proofs:    &proofs{},
	}
	shared.errs = errorFactory{serverURL: serverURL, config: config, secrets: shared.secrets}
	shared.secrets.configured = []secret.String{c.InitialAccessToken}
	if r := c.Registration; r != nil {
		shared.secrets.configured = append(shared.secrets.configured, r.ClientSecret)
	}
	shared.events = newNarrator(config, serverURL, key.Profile, shared.secrets)
	shared.server = &mcpServer{config: config, events: shared.events, secrets: shared.secrets, serverURL: serverURL, url: u, target: target}
	shared.fetcher = &oauth.Fetcher{
		HTTP: config.authTransport(shared.server.reach), UserAgent: userAgent, Secrets: shared.secrets.all,
	}
	if shared.events != nil {
		shared.fetcher.Observe = shared.events.exchange
	}
	shared.records = &records{
		store: c.Store, key: key, serverURL: serverURL, timeout: c.LockTimeout,
		notice: shared.notice, seen: shared.noteRecord, events: shared.events,
		schedule: config.schedule,
	}
	shared.outcomes = &outcomes{config: config, server: serverURL, profile: key.Profile, events: shared.events}
	shared.tokens = &accessTokens{records: shared.records, proofs: shared.proofs, events: shared.events}
	s = newSession(shared)
	c.sessions[key], c.spelled[serverURL] = s, s
	return s, nil
}

// newSession gives a credential its flows.
func newSession(shared *credential) *session {
	discovery := &discovery{credential: shared}
	imports := &importer{shared, discovery}
	refresher := &refresher{credential: shared, discovery: discovery, imports: imports}
	logins := &logins{credential: shared, discovery: discovery, imports: imports}
	reauthorizer := &reauthorizer{credential: shared, refresher: refresher, logins: logins}
	return &session{credential: shared, imports: imports, refresher: refresher, logins: logins, reauthorizer: reauthorizer}
}
