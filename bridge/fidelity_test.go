package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// parrot is a server that sends what it is given, and keeps what it has received.
type parrot struct {
	heard    chan string
	response string      // the response to the next request
	events   bool        // as an event
	stream   chan string // what goes out on the session's stream
}

func (p *parrot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		openStream(w)
		for {
			select {
			case message := <-p.stream:
				io.WriteString(w, event(message))
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
	body, _ := io.ReadAll(r.Body)
	got := string(body)
	switch {
	case strings.Contains(got, `"initialize"`):
		result(w, `"hello"`, initialized)
	case strings.Contains(got, `"notifications/initialized"`):
		w.WriteHeader(http.StatusAccepted)
	default:
		response, events := p.response, p.events // the test goes on once it has received
		p.heard <- got
		switch {
		case response == "":
			w.WriteHeader(http.StatusAccepted)
		case events:
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, event(response))
		default:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, response)
		}
	}
}

// event writes a message as an event: a field for each of its lines.
func event(message string) string {
	message = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(message)
	return "data: " + strings.ReplaceAll(message, "\n", "\ndata: ") + "\n\n"
}

// unicode replaces what is not UTF-8, byte by byte: the fuzz leaves longer sequences
// that break off to TestMalformedUTF8.
func unicode(s string) string { return string([]rune(s)) }

// FuzzFidelity puts any JSON value into every place that a message has for one,
// and the message through a whole bridge: from the host to the server, back as a
// body and as an event, and from the server on its own. What comes out is what
// went in, byte for byte; only line ends between tokens have to become spaces, what is
// not UTF-8 in a message of the server's becomes U+FFFD, and its null members are dropped
// where they belong to JSON-RPC.
func FuzzFidelity(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `""`, `-0`, `0.10`, `1e400`, `1E+2`, `123456789012345678901234567890`, `{"b":1,"a":2,"b":3}`,
		`{"é":"\u00e9\ud800","\/":"\/","` + "\x7f" + `":"` + "\u2028" + `"}`, "{\n  \"a\": [\n    1,\r\n    2\n  ]\n}", `"\\\""`, "\"\xff\"",
		`[[[[{"x":[{}]}]]]]`, `{"id":7,"method":"x","result":{},"error":null,"jsonrpc":"1.0"}`, "\t[ 1 ,2 ]\t", `"` + strings.Repeat("long", 20000) + `"`,
	} {
		f.Add([]byte(seed))
	}
	p := &parrot{heard: make(chan string, 1), stream: make(chan string)}
	server := httptest.NewServer(p)
	inR, in := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- bridge.Run(ctx, bridge.Options{URL: server.URL, Stdin: inR, Stdout: outW}) }()
	f.Cleanup(func() {
		cancel()
		in.Close()
		<-done
		server.CloseClientConnections()
		server.Close()
	})
	out := bufio.NewReader(outR)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				return
			}
			lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	take := func(from <-chan string) string {
		select {
		case got := <-from:
			return got
		case <-time.After(timeout):
			return "nothing"
		}
	}
	read := func() string { return take(lines) }
	io.WriteString(in, `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25"}}`+"\n")
	read()
	io.WriteString(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n")

	serial := 0
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) || bytes.Contains(value, []byte("modelcontextprotocol")) {
			return // the second speaks of an era that this server is not of
		}
		if mended := bytes.ToValidUTF8(value, []byte{'?'}); len(mended) != len(value) {
			return
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) == nil && string(object["_meta"]) == "null" {
			return // that is mended where a server sends it
		}
		toServer := strings.NewReplacer("\n", " ", "\r", " ").Replace(string(value))
		check := func(what, got, want string) {
			if got != want {
				t.Fatalf("%s became\n%.2000q, want\n%.2000q", what, got, want)
			}
		}
		serial++
		ids := []string{fmt.Sprint(serial)}
		if first := bytes.TrimSpace(value); first[0] == '"' || first[0] == '-' || first[0] >= '0' && first[0] <= '9' {
			ids = append(ids, string(first))
		}
		for _, id := range ids {
			for _, events := range []bool{false, true} {
				request := `{"x": ` + toServer + `,"jsonrpc":"2.0","id":` + id + `,"method":"x/echo","params":` + toServer + `,"y":{"id":` + toServer + `}}`
				for _, member := range []string{"result", "error"} {
					outcome := string(value)
					if member == "error" {
						outcome = `{"data":` + outcome + `,"code" : -1, "message":"own" }`
					}
					p.events, p.response = events, `{"y":[`+string(value)+`], "`+member+`":`+outcome+`,"jsonrpc":"2.0","id":`+id+` , "x":`+string(value)+"}"
					io.WriteString(in, request+"\n")
					check("a request", take(p.heard), request)
					want := p.response
					if events {
						want = strings.ReplaceAll(want, "\r\n", "\n")
					}
					check("a response", read(), unicode(strings.NewReplacer("\n", " ", "\r", " ").Replace(want)))
				}
			}
		}
		p.response = ""
		note := `{"params":` + toServer + `,"jsonrpc":"2.0","method":"x/note","x":` + toServer + `}`
		io.WriteString(in, note+"\n")
		check("a notification", take(p.heard), note)
		reply := `{"jsonrpc":"2.0","id":"of the server's","result":` + toServer + `,"x":` + toServer + `}`
		io.WriteString(in, reply+"\n")
		check("a host's response", take(p.heard), reply)
		for _, id := range append(ids, "null") {
			const begin = `{"jsonrpc":"2.0","method":"x/ask",`
			idMember, params, rest := `"id":`+id+`,`, `"params":`+string(value)+`, `, `"x" : `+string(value)+`}`
			p.stream <- begin + idMember + params + rest
			if id == "null" {
				idMember = "" // it is a notification
			}
			if string(bytes.TrimSpace(value)) == "null" {
				params = ""
			}
			check("what the server sends on its own", read(),
				unicode(strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(begin+idMember+params+rest)))
		}
	})
}
