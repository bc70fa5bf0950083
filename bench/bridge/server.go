package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/handstamp/handstamp/lab"
)

// serve is the server process: an MCP server whose work is next to nothing, so
// that it is not what is measured, behind the bearer check of a lab. It prints
// its URL as a line, and ends when the standard input does.
func serve(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := &gate{}
	target := "http://" + listener.Addr().String() + "/mcp"
	habits := lab.NoneFirst()
	habits.ResourceName = target
	habits.ResourceForm = lab.ResourcePath // a challenge would name the lab's own origin
	if g.lab, err = lab.StartWith(habits, lab.Options{MCP: http.HandlerFunc(g.admit)}); err != nil {
		return err
	}
	defer g.lab.Close()
	u, err := url.Parse(g.lab.MCPURL())
	if err != nil {
		return err
	}
	g.host = u.Host
	server := &http.Server{Handler: g}
	defer server.Close()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintln(out, target)
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, in)
		ended <- err
	}()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

// A gate is in front of the MCP server. It asks the lab about each bearer token
// once and believes the response from then on, as resource servers do that ask for
// an introspection: the lab reads and records every request, which is more than
// the requests measured here cost.
type gate struct {
	lab   *lab.Server
	host  string   // of the lab's MCP server
	known sync.Map // Authorization headers that the lab let through
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok := g.known.Load(r.Header.Get("Authorization")); ok {
		serveMCP(w, r)
		return
	}
	r.Host = g.host
	g.lab.Handler().ServeHTTP(w, r)
}

// admit responds to a request that has passed the lab's check.
func (g *gate) admit(w http.ResponseWriter, r *http.Request) {
	g.known.Store(r.Header.Get("Authorization"), true)
	serveMCP(w, r)
}

const (
	contentHead = `{"content":[{"type":"text","text":`
	contentTail = `}]}`
	discovered  = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private",` +
		`"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench","version":"1"}}}`
	toolList = `{"tools":[{"name":"echo","description":"Returns its text.",` +
		`"inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}]}`
)

// buffers hold request bodies.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// serveMCP is an MCP server without sessions and without a stream of its own.
func serveMCP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	body, err := readBody(r, *buffer)
	*buffer = body
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	var id, method, params []byte
	for name, value := range members(body) {
		switch name {
		case "id":
			id = value
		case "method":
			method = value
		case "params":
			params = value
		}
	}
	switch {
	case id == nil:
		w.WriteHeader(http.StatusAccepted)
	case string(method) == `"initialize"`:
		version := member(params, "protocolVersion")
		reply(w, id, "result", `{"protocolVersion":`, version, `,"capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}`)
	case string(method) == `"server/discover"`:
		reply(w, id, "result", discovered, nil, ``)
	case string(method) == `"ping"`:
		reply(w, id, "result", `{}`, nil, ``)
	case string(method) == `"tools/list"`:
		reply(w, id, "result", toolList, nil, ``)
	case string(method) == `"tools/call"`:
		reply(w, id, "result", contentHead, member(member(params, "arguments"), "text"), contentTail)
	default:
		reply(w, id, "error", `{"code":-32601,"message":"method not found"}`, nil, ``)
	}
}

// readBody reads a request's body into a buffer, which grows if it has to.
func readBody(r *http.Request, buffer []byte) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(r.Body)
	}
	if int64(cap(buffer)) < r.ContentLength {
		buffer = make([]byte, r.ContentLength)
	}
	buffer = buffer[:r.ContentLength]
	_, err := io.ReadFull(r.Body, buffer)
	return buffer, err
}

// reply writes a JSON-RPC response whose result is head, middle and tail.
func reply(w http.ResponseWriter, id []byte, outcome, head string, middle []byte, tail string) {
	start := `{"jsonrpc":"2.0","id":` + string(id) + `,"` + outcome + `":` + head
	tail += "}"
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(start) + len(middle) + len(tail))}
	// A client that has gone needs no response.
	_, _ = io.WriteString(w, start)
	_, _ = w.Write(middle)
	_, _ = io.WriteString(w, tail)
}

// consent is the user at the browser, as a command: its argument is the URL.
func consent(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("consent takes one URL")
	}
	_, err := lab.Browse(ctx, args[0])
	return err
}
