package lab

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is a failure that requests meet.
type Fault struct {
	// Kind is one of the Fault constants.
	Kind string `json:"kind"`
	// Status of the response, where the kind has one. Zero means the kind's own.
	Status int `json:"status,omitempty"`
	// RetryAfter is the Retry-After header. Empty means none.
	RetryAfter string `json:"retry_after,omitempty"`
	// Delay is for FaultDelay, and between the bytes of FaultDrip; after it a
	// FaultHang is cut, if it is not zero. It passes in real time.
	Delay time.Duration `json:"delay,omitempty"`
	// Location is for FaultRedirect.
	Location string `json:"location,omitempty"`
	// ContentType and Body are for FaultStatus and FaultType. Empty means plain
	// text.
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body,omitempty"`
	// Times is how many requests it meets. Zero means all until it is cleared.
	Times int `json:"times,omitempty"`
}

// Values of [Fault.Kind]. "before": the server does not carry the request out. "after": it does,
// and the fault concerns only the response.
const (
	FaultStatus    = "status"           // before: responds with Status (500), ContentType and Body
	FaultHTML      = "html"             // before: an HTML page with Status (200)
	FaultRedirect  = "redirect"         // before: Status (307) to Location
	FaultHang      = "hang"             // before: never responds; ends with the client or the server
	FaultCutBefore = "cut-before"       // before: the connection ends without a response
	FaultCutAfter  = "cut-after-commit" // after: the connection ends without a response
	FaultCutBody   = "cut-in-body"      // after: the connection ends in the middle of the body
	FaultDelay     = "delay"            // waits Delay, then does as ever, even if the client has gone
	FaultType      = "type"             // after: the right body, with ContentType
	FaultDrip      = "drip"             // after: the right body, a byte each Delay
	FaultHuge      = "huge"             // before: 10 MiB of JSON
	FaultEndless   = "endless"          // before: JSON without an end
	FaultGzipBomb  = "gzip-bomb"        // before: little gzip that is 64 MiB of JSON
)

// faultKinds are all of them.
var faultKinds = [...]string{
	FaultStatus, FaultHTML, FaultRedirect, FaultHang, FaultCutBefore, FaultCutAfter, FaultCutBody, FaultDelay,
	FaultType, FaultDrip, FaultHuge, FaultEndless, FaultGzipBomb,
}

// faults are those that are set, by endpoint. They are guarded by Server.mu.
type faults map[string][]Fault

// SetFault makes requests to an endpoint (a name of Counts; "token" is every
// grant, "*" every endpoint) meet the faults one after the other, instead of
// those set before. No faults clear it. An unknown kind or endpoint is a panic:
// it is a mistake in a test.
func (s *Server) SetFault(endpoint string, sequence ...Fault) {
	if !isEndpoint(endpoint) {
		panic(fmt.Sprintf("lab: no endpoint is called %q", endpoint))
	}
	for _, fault := range sequence {
		if !fault.known() {
			panic(fmt.Sprintf("lab: no fault is called %q", fault.Kind))
		}
		if fault.Kind == FaultGzipBomb {
			gzipBomb()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules == nil {
		s.rules = make(faults)
	}
	s.rules[endpoint] = slices.Clone(sequence)
}

// isEndpoint reports whether faults can be set for it.
func isEndpoint(name string) bool { return name == "*" || slices.Contains(endpoints[:], name) }

// fault takes what a request meets.
func (s *Server) fault(x *exchange) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, _, _ := strings.Cut(x.endpoint, ":")
	names := []string{x.endpoint, kind, "*"}
	for _, name := range slices.Compact(names) {
		sequence := s.rules[name]
		if len(sequence) == 0 {
			continue
		}
		fault := sequence[0]
		if fault.Times == 1 {
			s.rules[name] = sequence[1:]
		} else if fault.Times > 1 {
			sequence[0].Times--
		}
		return fault
	}
	return Fault{}
}

// before plays the faults that keep a request from being carried out, and reports whether it did.
func (s *Server) before(w http.ResponseWriter, x *exchange, fault Fault) bool {
	respond := func(status int, contentType string) {
		if fault.Status != 0 {
			status = fault.Status
		}
		if fault.RetryAfter != "" {
			w.Header().Set("Retry-After", fault.RetryAfter)
		}
		w.Header().Set("Content-Type", contentType)
		s.recordStatus(x, status, "")
		w.WriteHeader(status)
	}
	switch fault.Kind {
	case FaultStatus:
		respond(http.StatusInternalServerError, fault.contentType())
		_, _ = io.WriteString(w, fault.Body)
	case FaultHTML:
		respond(http.StatusOK, "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>\n")
	case FaultRedirect:
		w.Header().Set("Location", fault.Location)
		respond(http.StatusTemporaryRedirect, "text/plain; charset=utf-8")
	case FaultHang:
		ctx := x.r.Context()
		if fault.Delay > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, fault.Delay)
			defer cancel()
		}
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	case FaultCutBefore:
		panic(http.ErrAbortHandler)
	case FaultDelay:
		if !s.pause(fault.Delay) {
			panic(http.ErrAbortHandler)
		}
		return false
	case FaultHuge:
		respond(http.StatusOK, "application/json")
		_ = padding(w, 10<<20)
		_, _ = io.WriteString(w, `"}`)
	case FaultEndless:
		respond(http.StatusOK, "application/json")
		s.endless(w, x)
	case FaultGzipBomb:
		w.Header().Set("Content-Encoding", "gzip")
		respond(http.StatusOK, "application/json")
		_, _ = w.Write(gzipBomb())
	default:
		return false
	}
	return true
}

// after plays the faults that come after the request is carried out, before its response.
func (s *Server) after(x *exchange, fault Fault, a response) response {
	switch fault.Kind {
	case FaultCutAfter:
		a.whole(x)
		panic(http.ErrAbortHandler)
	case FaultCutBody:
		a = a.whole(x)
		a.stream = cutBody(a)
	case FaultType:
		a = a.whole(x)
		a.header.Set("Content-Type", fault.contentType())
	case FaultDrip:
		a = a.whole(x)
		a.stream = s.drip(a, fault.Delay)
	}
	return a
}

func (f Fault) known() bool { return slices.Contains(faultKinds[:], f.Kind) }

func (f Fault) contentType() string {
	if f.ContentType == "" {
		return "text/plain; charset=utf-8"
	}
	return f.ContentType
}

// pause waits in real time and reports false if the server is closed meanwhile.
func (s *Server) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.life.Done():
		return false
	}
}

// gzipBomb returns little gzip that is 64 MiB of JSON. It is made once, when the fault is set: a
// test that measures what the response costs the client does not measure the making of it.
var gzipBomb = sync.OnceValue(func() []byte {
	var bomb bytes.Buffer
	// 82 KB instead of 65, in a sixth of the time.
	compressed, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	_ = padding(compressed, 64<<20)
	_, _ = io.WriteString(compressed, `"}`)
	_ = compressed.Close()
	return bomb.Bytes()
})

// padding writes the beginning of a JSON object that goes on for n bytes.
func padding(w io.Writer, n int) error {
	if _, err := io.WriteString(w, `{"padding":"`); err != nil {
		return err
	}
	chunk := []byte(strings.Repeat("0", 32<<10))
	for ; n > 0; n -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

// endless writes until the client has gone or the server is closed.
func (s *Server) endless(w http.ResponseWriter, x *exchange) {
	for {
		if padding(w, 1<<20) != nil {
			return
		}
		select {
		case <-x.r.Context().Done():
			return
		default:
		}
	}
}

// cutBody announces a whole body and sends half of it.
func cutBody(a response) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a.head(w)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// drip sends a body a byte at a time.
func (s *Server) drip(a response, each time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.head(w)
		for i := range a.body {
			if r.Context().Err() != nil || !s.pause(each) {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(a.body[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
	})
}

// head sends the status and headers of the response, with the length of its whole body.
func (a response) head(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
}

// whole returns the response with the body that its handler writes.
func (a response) whole(x *exchange) response {
	if a.stream == nil {
		if a.header == nil {
			a.header = make(http.Header)
		}
		return a
	}
	w := &recorder{response{status: http.StatusOK, header: make(http.Header)}}
	maps.Copy(w.header, a.header)
	a.stream.ServeHTTP(w, x.r)
	return w.response
}

// recorder is a ResponseWriter that keeps the response.
type recorder struct{ response }

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) { w.status = status }

func (w *recorder) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}
