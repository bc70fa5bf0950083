package suite

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/lab"
)

// setupNames are the names of what a client may get from an administrator, as
// [lab.Arrangement.Write] has them, in the order of documentation.
var setupNames = []string{
	"way", "issuer", "client_id", "method", "client_secret_file", "key_file",
	"certificate_file", "certificate_key_file", "ca_file", "token_file",
	"company_issuer", "company_client_id", "company_client_secret_file",
}

// setupVariable is the environment variable for a name.
func setupVariable(name string) string { return "HANDSTAMP_LAB_" + strings.ToUpper(name) }

// caVariables are where Go, Node.js, Python and curl look for certificate authorities.
var caVariables = []string{
	"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
}

// setupEnv is what a client in a process of its own finds in its environment.
func setupEnv(given map[string]string) []string {
	var env []string
	for _, name := range setupNames {
		if value := given[name]; value != "" {
			env = append(env, setupVariable(name)+"="+value)
		}
	}
	if ca := given["ca_file"]; ca != "" {
		for _, variable := range caVariables {
			env = append(env, variable+"="+ca)
		}
	}
	return env
}

// placeholders replaces "{url}" and, by its name in braces, what the administrator has given in an
// argument. What a cell does not have is empty.
func (s Session) placeholders(arg string) string {
	pairs := []string{"{url}", s.URL}
	for _, name := range setupNames {
		pairs = append(pairs, "{"+name+"}", s.Setup[name])
	}
	return strings.NewReplacer(pairs...).Replace(arg)
}

// arrange does what an administrator does before the first session.
func (s *scene) arrange() (err error) {
	if s.p.Setup == nil {
		return nil
	}
	if s.arrangement, err = s.server.Arrange(*s.p.Setup); err != nil {
		return err
	}
	if s.p.Setup.Way == lab.WayDevice {
		s.user.watch(s.server)
	}
	return s.give()
}

// give writes the files of the administrator.
func (s *scene) give() (err error) {
	dir := filepath.Join(s.session.Home, "setup")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.session.Setup, err = s.arrangement.Write(dir)
	return err
}

// reissue has the platform replace its token, as it does from time to time.
func (s *scene) reissue() error {
	if s.arrangement == nil || s.Condition == Warm {
		return nil
	}
	if err := s.arrangement.Reissue(); err != nil {
		return err
	}
	return s.give()
}

// setupInvariants are what no client that was set up may do.
func (s *scene) setupInvariants() {
	audit := s.server.Audit()
	if n := audit.AssertionReuses; n > 0 {
		s.failf("an assertion was sent again, %d times", n)
	}
	if n := audit.EarlyPolls; n > 0 {
		s.failf("the device polled before its interval was over, %d times", n)
	}
	var tokens []string
	for _, token := range s.arrangement.Tokens() {
		tokens = append(tokens, lab.Fingerprint(token))
	}
	for _, r := range s.server.Requests() {
		if r.Endpoint == "mcp" && slices.Contains(tokens, r.Bearer) {
			s.failf("the MCP server was sent a token that is not for it: %s", r)
		}
	}
}

// expectSetup returns what is expected of a client that an administrator has set up.
func expectSetup(p lab.Personality, c Condition, processes int) Expectation {
	e := Expectation{FirstTokenRequests: 1, Worked: processes, FailedCalls: -1}
	way, user := p.Setup.Way, p.Setup.User()
	if user || way == lab.WayEnterprise {
		e.FirstTabs = 1
	}
	switch {
	case c == TwoDays, // what the client signs would be of another day than the server's
		c == GrantRevoked && !user,
		c == ClientForgotten && (processes > 1 || way == lab.WayWorkload && p.Setup.Method == ""):
		return Expectation{Void: true}
	case c == Warm:
		e.FailedCalls = 0
	case c == ClientForgotten:
		// No client can register itself here: a rejection is the end, for this process too.
		e.Worked, e.None, e.TokenRequests = 0, true, 1
	case c == GrantRevoked:
		e.Tabs, e.TokenRequests = 1, 2
	default:
		e.TokenRequests, e.Again = 1, true
	}
	return e
}

// tokenRequest reports whether a request is for a token. A poll is one when the user has decided.
func tokenRequest(r lab.Request) bool {
	if r.Endpoint != "token" && !strings.HasPrefix(r.Endpoint, "token:") {
		return false
	}
	return r.Error != "authorization_pending" && r.Error != "slow_down"
}

// browser is the user's HTTP client; nil for the usual one.
func browser(server *lab.Server) *http.Client {
	pool := server.CertPool()
	if pool == nil {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DisableKeepAlives = nil, true
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}
}
