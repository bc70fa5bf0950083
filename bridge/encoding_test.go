package bridge_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// flusher is what all encoders are.
type flusher interface {
	io.WriteCloser
	Flush() error
}

var encoders = map[string]func(io.Writer) flusher{
	"gzip": func(w io.Writer) flusher { return gzip.NewWriter(w) },
	"zlib": func(w io.Writer) flusher { return zlib.NewWriter(w) },
	"raw": func(w io.Writer) flusher {
		f, err := flate.NewWriter(w, flate.BestSpeed)
		if err != nil {
			panic(err)
		}
		return f
	},
}

func encode(encoder, text string) []byte {
	var b bytes.Buffer
	e := encoders[encoder](&b)
	io.WriteString(e, text)
	e.Close()
	return b.Bytes()
}

func TestContentEncoding(t *testing.T) {
	long := `"` + strings.Repeat("long ", 100_000) + `"`
	for _, tt := range []struct {
		name     string
		header   []string
		encoders []string // in the order in which they are applied
		value    string
		named    string // by the error; empty: none
	}{
		{"deflate", []string{"deflate"}, []string{"zlib"}, `{}`, ""},
		{"deflate, long", []string{"deflate"}, []string{"zlib"}, long, ""},
		{"deflate without zlib's frame", []string{"deflate"}, []string{"raw"}, `{}`, ""},
		{"deflate without zlib's frame, long", []string{"Deflate"}, []string{"raw"}, long, ""},
		{"gzip that was not requested", []string{"gzip"}, []string{"gzip"}, `{}`, ""},
		{"x-gzip", []string{"x-gzip"}, []string{"gzip"}, `{}`, ""},
		{"two", []string{"deflate, gzip"}, []string{"zlib", "gzip"}, `{}`, ""},
		{"two on two lines", []string{"gzip", "deflate"}, []string{"gzip", "raw"}, `{}`, ""},
		{"identity", []string{"identity"}, nil, `{}`, ""},
		{"empty", []string{""}, nil, `{}`, ""},
		{"br", []string{"br"}, nil, `{}`, "br"},
		{"zstd", []string{"ZSTD"}, nil, `{}`, "zstd"},
		{"gzip and br", []string{"gzip, br"}, []string{"gzip"}, `{}`, "br"},
		{"one that there is not", []string{"\"a long\tname"}, nil, `{}`, "a long"},
		{"more than any server needs", []string{strings.Repeat("gzip,", 50)}, nil, `{}`, "gzip"},
		{"a name that is too long to show", []string{strings.Repeat("x", 5000)}, nil, `{}`, "xxx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var carried atomic.Int32
			s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
				carried.Add(1)
				w.Header().Set("Content-Type", "application/json")
				w.Header()["Content-Encoding"] = tt.header
				body := []byte(`{"jsonrpc":"2.0","id":` + got.id + `,"result":` + tt.value + `}`)
				for _, e := range tt.encoders {
					body = encode(e, string(body))
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				w.Write(body)
			}}
			// A client without gzip of its own gets what the server sends.
			for _, own := range []*http.Client{nil, {Transport: &http.Transport{DisableCompression: true}}} {
				h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t), HTTP: own})
				h.hello()
				carried.Store(0)
				got := h.calls()
				if tt.named == "" {
					if get(t, got, "result") != tt.value {
						t.Errorf("got %.200s", got)
					}
					continue
				}
				message := get(t, got, "error", "message")
				if get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) || !strings.Contains(message, tt.named) || len(message) > 400 {
					t.Errorf("got %.1000s, want an error that names %s", got, tt.named)
				}
				if carried.Load() != 1 {
					t.Errorf("carried out %d times", carried.Load())
				}
			}
		})
	}
}

// TestContentEncodingOfAStream checks that each event arrives when it is sent.
func TestContentEncodingOfAStream(t *testing.T) {
	for _, encoder := range []string{"zlib", "raw", "gzip"} {
		heard := make(chan struct{})
		s := &sessions{serve: func(w http.ResponseWriter, r *http.Request, got request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Content-Encoding", map[bool]string{true: "gzip", false: "deflate"}[encoder == "gzip"])
			_ = http.NewResponseController(w).Flush()
			e := encoders[encoder](w)
			io.WriteString(e, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
			_ = e.Flush()
			_ = http.NewResponseController(w).Flush()
			select {
			case <-heard:
			case <-r.Context().Done():
			}
			io.WriteString(e, "data: {\"jsonrpc\":\"2.0\",\"id\":"+got.id+",\"result\":{}}\n\n")
			e.Close()
		}}
		h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
		h.hello()
		h.send(toolCall(1))
		h.note("notifications/progress")
		close(heard)
		if got := h.response("1"); get(t, got, "result") != "{}" {
			t.Errorf("%s: %s", encoder, got)
		}
	}
}

// What a status means it means in any encoding: a session that is over is replaced, and an error
// keeps its code.
func TestContentEncodingOfARejection(t *testing.T) {
	s := &sessions{}
	h := start(t, bridge.Options{Logger: logger(t), URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		s.ServeHTTP(&unencoded{w}, r)
	})})
	h.hello()
	h.calls()
	s.forget()
	if got := h.calls(); get(t, got, "result") != "{}" || s.begun != 2 {
		t.Errorf("got %s after %d sessions", got, s.begun)
	}
}

// unencoded takes the encoding from responses that are no rejection.
type unencoded struct{ http.ResponseWriter }

func (u *unencoded) WriteHeader(status int) {
	if status/100 == 2 {
		u.Header().Del("Content-Encoding")
	}
	u.ResponseWriter.WriteHeader(status)
	if status/100 == 4 {
		io.WriteString(u.ResponseWriter, "\x1b\x03 not text")
	}
}

func (u *unencoded) Write(b []byte) (int, error) {
	u.Header().Del("Content-Encoding")
	return u.ResponseWriter.Write(b)
}

// A body that is not what its encoding names never reaches the host, however it breaks.
func TestContentEncodingThatIsNotTrue(t *testing.T) {
	good := encode("zlib", `{"jsonrpc":"2.0","id":1,"result":{}}`)
	for name, body := range map[string][]byte{
		"plain": []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`), "cut off": good[:len(good)-6], "one byte": {0x78}, "changed": append([]byte{0x78, 0x9c}, good[4:]...),
		"checksum": append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1),
	} {
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "deflate")
			w.Write(body)
		}}
		h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), Logger: logger(t)})
		h.hello()
		h.send(toolCall(1))
		if got := h.response("1"); get(t, got, "error", "code") != "-31003" || get(t, got, "error", "data", "reason") != `"encoding"` {
			t.Errorf("%s: %s", name, got)
		}
		if n := len(h.all()); n != 2 {
			t.Errorf("%s: the host got %d lines", name, n)
		}
	}
}

func TestUserAgent(t *testing.T) {
	for _, tt := range []struct {
		o    bridge.Options
		want []string
	}{
		{bridge.Options{Name: "handstamp", Version: "v1.2.3"}, []string{"handstamp/v1.2.3"}},
		{bridge.Options{Name: "handstamp", Version: "(devel)"}, []string{"handstamp/devel"}},
		{bridge.Options{Name: "my bridge", Version: "v0.0.0-2026+dirty"}, []string{"mybridge/v0.0.0-2026+dirty"}},
		{bridge.Options{Name: "x"}, []string{"x"}},
		{bridge.Options{}, []string{"handstamp"}},
		{bridge.Options{Name: "handstamp", Version: "1", Header: http.Header{"User-Agent": {"mine"}}}, []string{"mine"}},
		{bridge.Options{Name: "handstamp", Version: "1", Header: http.Header{"User-Agent": {""}}}, nil},
	} {
		inMemory(t, func(t *testing.T) {
			s := &sessions{stream: make(chan string)}
			methods := make(chan http.Header, 16)
			o := bubbleServer(t, func(w http.ResponseWriter, r *http.Request) {
				methods <- r.Header
				s.ServeHTTP(w, r)
			})
			o.Name, o.Version, o.Header = tt.o.Name, tt.o.Version, tt.o.Header
			h := start(t, o)
			h.hello()
			h.calls()
			_ = h.end()
			close(methods)
			n := 0
			for got := range methods { // initialize, initialized, GET, tools/call, DELETE
				n++
				if len(got["User-Agent"]) != len(tt.want) || len(tt.want) == 1 && got.Get("User-Agent") != tt.want[0] {
					t.Errorf("User-Agent is %q, want %q", got["User-Agent"], tt.want)
				}
			}
			if n != 5 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
