package handstamp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/secret"
)

// AssertionSource returns a token that another issuer has made out, such as the identity token of a
// workload, for one token request. It is called once for each, and returns soon after ctx ends.
//
// [AssertionFromFile], [AssertionFromEnv], [AssertionFromCommand], [AssertionFromGoogle],
// [AssertionFromAzure] and [AssertionFromGitHub] return sources.
type AssertionSource func(ctx context.Context, t GrantTarget) (secret.String, error)

const (
	maxAssertion     = 64 << 10 // bytes
	commandTimeout   = 30 * time.Second
	metadataTimeout  = 10 * time.Second // of one request
	metadataAttempts = 3
)

// AssertionFromFile reads the token from a file, for each request, since platforms replace it
// before it expires: a projected token of Kubernetes, AWS_WEB_IDENTITY_TOKEN_FILE,
// AZURE_FEDERATED_TOKEN_FILE.
func AssertionFromFile(path string) AssertionSource {
	return func(_ context.Context, t GrantTarget) (secret.String, error) {
		t.events.report(StepIdentity, "the token is read from the file %s", path)
		data, err := readRegular(path)
		if outer, ok := errtype.As[*os.PathError](err); ok {
			err = outer.Err // the outer one repeats the path
		}
		if err != nil {
			return "", assertionError(err, "the token file "+path+" cannot be read",
				"check the path, and that this user may read the file")
		}
		return readAssertion(data, "the token file "+path)
	}
}

// readRegular reads the beginning of a file that is neither a device nor a pipe.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxAssertion+1))
}

// AssertionFromEnv reads the token from an environment variable.
func AssertionFromEnv(name string) AssertionSource {
	return func(_ context.Context, t GrantTarget) (secret.String, error) {
		t.events.report(StepIdentity, "the token is read from the environment variable %s", name)
		return readAssertion([]byte(os.Getenv(name)), "the environment variable "+name)
	}
}

// AssertionFromCommand runs a program, without a shell, whose standard output is the token. The
// program finds in HANDSTAMP_ISSUER and HANDSTAMP_RESOURCE what the token is for, and has 30
// seconds.
func AssertionFromCommand(program string, args ...string) AssertionSource {
	return func(ctx context.Context, t GrantTarget) (secret.String, error) {
		t.events.report(StepIdentity, "the token is the output of the command %s", program)
		ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, errSlowCommand)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), "HANDSTAMP_ISSUER="+t.Issuer, "HANDSTAMP_RESOURCE="+t.Resource)
		cmd.WaitDelay = time.Second // a child of the program may hold the output open
		stdout, stderr := &boundedBuffer{limit: maxAssertion + 1}, &boundedBuffer{limit: 4 << 10}
		cmd.Stdout, cmd.Stderr = stdout, stderr
		ownGroup(cmd)
		err := cmd.Run()
		switch {
		case err != nil && ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, exec.ErrWaitDelay): // the program itself has succeeded
			err = nil
		}
		if err != nil {
			return "", assertionError(err, "the command "+program+" brought no token",
				firstSentence(stderr, stdout))
		}
		return readAssertion(stdout.kept.Bytes(), "the output of the command "+program)
	}
}

var errSlowCommand = fmt.Errorf("it took more than %v", commandTimeout)

// boundedBuffer keeps the first bytes that are written to it. A program that writes more is not
// stopped. The buffer is not embedded, or io.Copy would call its ReadFrom, which has no bound.
type boundedBuffer struct {
	kept  bytes.Buffer
	limit int
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.kept.Write(p[:min(len(p), b.limit-b.kept.Len())])
	return len(p), nil
}

// firstSentence returns the first line of what a program has reported, unless that has a piece of
// its token, or a word that may be another secret.
func firstSentence(stderr, stdout *boundedBuffer) string {
	line, _, _ := strings.Cut(strings.TrimSpace(stderr.kept.String()), "\n")
	line = oauth.Sanitize(line)
	token := strings.TrimSpace(stdout.kept.String())
	separated := func(r rune) bool { return strings.ContainsRune(" \"'=:,;()[]{}<>", r) }
	if line == "" || slices.ContainsFunc(strings.FieldsFunc(line, separated), mayBeSecret) ||
		token != "" && oauth.ContainsSecret(line, []oauth.Secret{oauth.Secret(token)}) {
		return "run it by hand to see why"
	}
	return "it reports: " + line
}

// mayBeSecret reports whether a word looks like a token or a password: long, with letters and
// digits, and no path.
func mayBeSecret(word string) bool {
	return len(word) >= 12 && !strings.Contains(word, "/") && strings.ContainsAny(word, "0123456789") &&
		strings.ContainsFunc(word, unicode.IsLetter)
}

// AssertionFromGoogle requests an identity token from the metadata server of Google Cloud. An empty
// audience is the authorization server's issuer. GCE_METADATA_HOST is another address of that
// server.
func AssertionFromGoogle(audience string) AssertionSource {
	return func(ctx context.Context, t GrantTarget) (secret.String, error) {
		host := cmp.Or(os.Getenv("GCE_METADATA_HOST"), "metadata.google.internal")
		return metadataRequest{
			platform: "Google Cloud", url: "http://" + host + googleIdentity,
			query:  url.Values{"audience": {cmp.Or(audience, t.Issuer)}},
			header: "Metadata-Flavor", value: "Google", echoes: true, events: t.events,
		}.send(ctx)
	}
}

const googleIdentity = "/computeMetadata/v1/instance/service-accounts/default/identity"

// AssertionFromAzure requests a token of the managed identity: from the endpoint that
// IDENTITY_ENDPOINT names, as in App Service and Container Apps, or else from the metadata service
// of virtual machines. The audience is an application of Entra ID; empty is the authorization
// server's issuer. AZURE_CLIENT_ID selects one of several identities.
func AssertionFromAzure(audience string) AssertionSource {
	return func(ctx context.Context, t GrantTarget) (secret.String, error) {
		host := cmp.Or(os.Getenv("AZURE_POD_IDENTITY_AUTHORITY_HOST"), "http://169.254.169.254")
		r := metadataRequest{
			platform: "Azure", url: strings.TrimSuffix(host, "/") + "/metadata/identity/oauth2/token",
			query:  url.Values{"api-version": {"2018-02-01"}, "resource": {cmp.Or(audience, t.Issuer)}},
			header: "Metadata", value: "true", member: "access_token", events: t.events,
		}
		endpoint, secret := os.Getenv("IDENTITY_ENDPOINT"), os.Getenv("IDENTITY_HEADER")
		if endpoint != "" && secret != "" {
			r.url, r.header, r.value = endpoint, "X-Identity-Header", secret
			r.query.Set("api-version", "2019-08-01")
		}
		if id := os.Getenv("AZURE_CLIENT_ID"); id != "" {
			r.query.Set("client_id", id)
		}
		return r.send(ctx)
	}
}

// AssertionFromGitHub requests an identity token from GitHub Actions, or from Forgejo Actions. The
// job needs the permission "id-token: write". An empty audience is the authorization server's
// issuer.
func AssertionFromGitHub(audience string) AssertionSource {
	return func(ctx context.Context, t GrantTarget) (secret.String, error) {
		endpoint := os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL")
		token := os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
		if endpoint == "" || token == "" {
			return "", assertionError(nil, "there is no ACTIONS_ID_TOKEN_REQUEST_URL in the environment",
				`give the job the permission "id-token: write"`)
		}
		if err := oauth.CheckEndpoint(endpoint); err != nil {
			return "", assertionError(err, "ACTIONS_ID_TOKEN_REQUEST_URL cannot be used", "")
		}
		return metadataRequest{
			platform: "GitHub Actions", url: endpoint,
			query:  url.Values{"audience": {cmp.Or(audience, t.Issuer)}},
			header: "Authorization", value: "Bearer " + token, member: "value", proxy: true, events: t.events,
		}.send(ctx)
	}
}

// metadataRequest is a request to the service of a platform that makes out identity tokens.
type metadataRequest struct {
	platform      string
	url           string
	query         url.Values
	header, value string
	member        string // of the response's JSON; "": the response is the token
	echoes        bool   // the response has the header too
	proxy         bool   // it is reached as other servers are
	events        *narrator
}

// send sends the request, again if the service fails for a moment.
func (r metadataRequest) send(ctx context.Context) (secret.String, error) {
	u, err := url.Parse(r.url)
	if err != nil {
		return "", r.malformed()
	}
	query := u.Query()
	for name, values := range r.query {
		query[name] = values
	}
	u.RawQuery = query.Encode()
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	defer transport.CloseIdleConnections()
	if r.proxy {
		transport.Proxy = http.ProxyFromEnvironment
	}
	for try := 1; ; try++ {
		body, again, err := r.sendOnce(ctx, transport, u.String())
		if err == nil {
			return r.token(body)
		}
		if !again || try == metadataAttempts || sleep(ctx, backoff(try)) != nil {
			return "", err
		}
	}
}

// sendOnce sends the request, and reports of a failure whether it may pass.
func (r metadataRequest) sendOnce(
	ctx context.Context, transport http.RoundTripper, target string,
) (body []byte, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, false, r.malformed()
	}
	req.Header.Set(r.header, r.value)
	req.Header.Set("Accept", "application/json, text/plain")
	req.Header.Set("User-Agent", userAgent)
	watched := r.events.identity(r.platform, req)
	resp, err := transport.RoundTrip(req) // which follows no redirect
	watched(resp, err)
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxAssertion+1))
	}
	if err != nil {
		return nil, true, &Error{Kind: ErrUnreachable, Err: err, Hint: "check that this program runs there",
			Message: "the identity service of " + r.platform + " cannot be reached"}
	}
	if resp.StatusCode != http.StatusOK || r.echoes && resp.Header.Get(r.header) != r.value {
		e := assertionError(nil, fmt.Sprintf("the identity service of %s issues no token (%s)",
			r.platform, statusText(resp.StatusCode)),
			"check the identity of this workload, and the audience "+r.audience())
		again = resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode/100 == 5
		if again {
			e.Kind = ErrUnreachable
		}
		return nil, again, e
	}
	return body, false, nil
}

func (r metadataRequest) malformed() error {
	return assertionError(nil, "the address of the identity service of "+r.platform+" is malformed", "")
}

func (r metadataRequest) audience() string {
	return oauth.Sanitize(cmp.Or(r.query.Get("audience"), r.query.Get("resource")))
}

// token returns the token of a response.
func (r metadataRequest) token(body []byte) (secret.String, error) {
	where := "the response of the identity service of " + r.platform
	if r.member == "" {
		return readAssertion(body, where)
	}
	var members map[string]json.RawMessage
	var token string
	if json.Unmarshal(body, &members) != nil || json.Unmarshal(members[r.member], &token) != nil {
		return "", assertionError(nil, where+" has no "+r.member, "")
	}
	return readAssertion([]byte(token), where)
}

// readAssertion returns the token in what a source has brought.
func readAssertion(data []byte, where string) (secret.String, error) {
	token := string(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	switch {
	case token == "":
		return "", assertionError(nil, where+" is empty", "have the platform put a token there")
	case len(data) > maxAssertion:
		return "", assertionError(nil, where+" is larger than 64 KiB, which no token is", "")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", assertionError(nil, where+" holds something else beside a token",
			"put nothing but the token there")
	case secret.String(token).IsPlaceholder():
		return "", assertionError(nil, where+` is "[redacted]", which stands for a token and is none`, "")
	}
	return secret.String(token), nil
}

// assertionError is the error of a source that has no token.
func assertionError(cause error, message, hint string) *Error {
	return &Error{Kind: ErrInvalidConfig, Message: message, Hint: hint, Err: cause}
}
