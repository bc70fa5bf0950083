package testenv

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
)

// RoundTripFunc is an http.RoundTripper.
type RoundTripFunc func(*http.Request) (*http.Response, error)

func (f RoundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Body reads a response to its end.
func Body(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(page)
}

// Redirects are the statuses by which a server sends a client elsewhere: with
// the same method and body (307, 308) or as a GET.
var Redirects = []int{
	http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
}

// Recorder carries a Client's requests, keeps what was sent, and lets a test twist
// the responses. To the Client, a changed response is the server's.
type Recorder struct {
	base http.RoundTripper

	mu     sync.Mutex
	sent   []Sent                                // guarded by mu
	twists []func(*http.Request, *http.Response) // guarded by mu
}

// Sent is a request as it left.
type Sent struct {
	Host, Path string
	Raw        string // with its body
	Form       url.Values
}

// NewRecorder returns a Recorder whose requests base carries.
func NewRecorder(base http.RoundTripper) *Recorder { return &Recorder{base: base} }

// RoundTrip implements http.RoundTripper.
func (w *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	out := req.Clone(req.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	raw, err := httputil.DumpRequest(out, false)
	if err != nil {
		return nil, err
	}
	form, _ := url.ParseQuery(string(body)) // JSON is no form, and has none
	w.mu.Lock()
	w.sent = append(w.sent, Sent{Host: req.URL.Host, Path: req.URL.Path, Raw: string(raw) + string(body), Form: form})
	twists := w.twists
	w.mu.Unlock()
	resp, err := w.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	for _, twist := range twists {
		twist(req, resp)
	}
	return resp, nil
}

// Requests returns what was sent, beginning with number from.
func (w *Recorder) Requests(from int) []Sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Sent(nil), w.sent[from:]...)
}

// OnResponse adds a twist of responses.
func (w *Recorder) OnResponse(twist func(*http.Request, *http.Response)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.twists = append(w.twists[:len(w.twists):len(w.twists)], twist)
}

// OnJSON adds a twist of the JSON objects responded at paths that contain part.
func (w *Recorder) OnJSON(part string, change func(document map[string]any)) {
	w.OnResponse(func(req *http.Request, resp *http.Response) {
		if !strings.Contains(req.URL.Path, part) {
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		document := make(map[string]any)
		if err == nil && json.Unmarshal(body, &document) == nil {
			change(document)
			body, _ = json.Marshal(document)
		}
		SetBody(resp, body)
	})
}

// SetBody replaces the body of a response.
func SetBody(resp *http.Response, body []byte) {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// Paths that tell the documents apart.
const (
	AtMCP      = "/mcp"
	AtResource = "/.well-known/oauth-protected-resource"
	AtServer   = "/.well-known/oauth-authorization-server"
	AtRegister = "/register"
	AtToken    = "/token"
	AtRevoke   = "/revoke"
)

// Recorded returns a session whose requests go over a wire. Its user consents to
// everything at once.
func (w *Env) Recorded() (*handstamp.Client, *Recorder) {
	line := NewRecorder(w.Transport())
	c := w.Session()
	c.BaseTransport, c.AuthTransport = line, line
	c.Prompt = handstamp.Prompt{Authorize: w.Consent}
	return c, line
}
