package handstamp

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/handstamp/handstamp/internal/oauth"
)

// An HTTP+SSE server (MCP 2024-11-05) names the URL to post to in the first event of its stream,
// and it need not be below the stream's: the Python SDK has /messages/ beside /sse. The server
// names it on a stream that was opened with the token, so on the server's own origin it gets the
// token as well.

const (
	maxNamedEndpoints = 32       // that are remembered for a session: a new stream names a new one
	maxNamingBytes    = 64 << 10 // of a stream that are searched for the event
)

// namedEndpoints are the paths that the server has named. It is safe for concurrent use.
type namedEndpoints struct {
	mu    sync.Mutex
	paths []string // guarded by mu; the latest is the last
}

// add remembers a path.
func (n *namedEndpoints) add(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths = append(slices.DeleteFunc(n.paths, func(p string) bool { return p == path }), path)
	if len(n.paths) > maxNamedEndpoints {
		n.paths = n.paths[1:]
	}
}

// has reports whether the server has named a path.
func (n *namedEndpoints) has(path string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.paths, path)
}

// watchForEndpoint looks for the endpoint that a stream names as the caller reads the stream.
func (m *mcpServer) watchForEndpoint(req *http.Request, resp *http.Response) {
	if req.Method != http.MethodGet || resp.StatusCode != http.StatusOK {
		return
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
		return
	}
	base := req.URL
	resp.Body = &endpointReader{ReadCloser: resp.Body, found: func(named string) {
		to, err := base.Parse(named)
		if err == nil && to.User == nil && oauth.SameOrigin(to, m.url) && oauth.PathWithin(to.EscapedPath(), "") {
			m.named.add(to.EscapedPath())
		}
	}}
}

// endpointReader is the body of an event stream. It calls found with the data of the first
// endpoint event. It changes nothing and reads nothing ahead.
type endpointReader struct {
	io.ReadCloser
	found func(named string)

	line  []byte // begun and not ended
	cr    bool   // the last line ended with CR
	event string // of the event that has begun
	data  []string
	seen  int
	done  bool
}

// Read implements io.Reader.
func (r *endpointReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if !r.done {
		r.scan(p[:n])
	}
	return n, err
}

// scan reads lines as the stream's format has them (WHATWG HTML, section 9.2.6): each ends with
// CR, LF or both together.
func (r *endpointReader) scan(b []byte) {
	if r.seen > maxNamingBytes {
		r.done = true
	}
	r.seen += len(b)
	for len(b) > 0 && !r.done {
		if r.cr && b[0] == '\n' {
			b = b[1:]
		}
		r.cr = false
		end := bytes.IndexAny(b, "\r\n")
		if end < 0 {
			r.line = append(r.line, b...)
			return
		}
		r.field(string(append(r.line, b[:end]...)))
		r.line, r.cr, b = r.line[:0], b[end] == '\r', b[end+1:]
	}
}

// field takes one line.
func (r *endpointReader) field(line string) {
	name, value, _ := strings.Cut(strings.TrimPrefix(line, "\ufeff"), ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "" && r.event == "endpoint" && len(r.data) > 0:
		r.done = true
		r.found(strings.Join(r.data, "\n"))
	case line == "": // the end of another event
		r.event, r.data = "", nil
	case name == "event":
		r.event = value
	case name == "data":
		r.data = append(r.data, value)
	}
}
