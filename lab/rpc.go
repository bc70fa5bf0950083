package lab

import (
	"encoding/json"
	"net/http"
	"sync"
)

// mcpServer is the least that a client takes for an MCP server over Streamable
// HTTP: initialize, ping, tools/list, and tools/call with two tools. For
// anything more give Options.MCP a real one; package lab/mcpserver has it.
type mcpServer struct {
	mu       sync.Mutex      // guards sessions
	sessions map[string]bool // open or ended
}

const sessionHeader = "Mcp-Session-Id"

// rpcMessage is a JSON-RPC request, or a notification without id.
type rpcMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// rpcReply is a JSON-RPC response.
type rpcReply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (m *mcpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	session := r.Header.Get(sessionHeader)
	if session != "" && !m.isOpen(session) {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPost:
		m.post(w, r)
	case http.MethodGet:
		stream(w, r)
	case http.MethodDelete:
		m.set(session, false)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (m *mcpServer) isOpen(session string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[session]
}

func (m *mcpServer) set(session string, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[session] = open
}

// post responds to one JSON-RPC message.
func (m *mcpServer) post(w http.ResponseWriter, r *http.Request) {
	var message rpcMessage
	if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
		http.Error(w, "not a JSON-RPC message", http.StatusBadRequest)
		return
	}
	if message.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	reply := rpcReply{Version: "2.0", ID: message.ID}
	switch message.Method {
	case "initialize":
		session := newID("session-")
		m.set(session, true)
		w.Header().Set(sessionHeader, session)
		reply.Result = initialized(message.Params)
	case "ping":
		reply.Result = struct{}{}
	case "tools/list":
		reply.Result = map[string]any{"tools": builtinTools()}
	case "tools/call":
		reply.Result, reply.Error = callTool(r, message.Params)
	default:
		reply.Error = &rpcError{Code: -32601, Message: "method not found"}
	}
	w.Header().Set("Content-Type", "application/json")
	// The client may have disconnected.
	_ = json.NewEncoder(w).Encode(reply)
}

// initialized agrees to whatever version the client speaks.
func initialized(params json.RawMessage) any {
	var asked struct {
		ProtocolVersion string `json:"protocolVersion"`
	}
	if json.Unmarshal(params, &asked) != nil || asked.ProtocolVersion == "" {
		asked.ProtocolVersion = "2025-11-25"
	}
	return map[string]any{
		"protocolVersion": asked.ProtocolVersion,
		"capabilities":    map[string]any{"tools": struct{}{}},
		"serverInfo":      map[string]string{"name": "handstamp-lab", "version": "1"},
	}
}

func builtinTools() []any {
	text := map[string]any{"type": "string"}
	return []any{
		map[string]any{
			"name":        "echo",
			"description": "Returns its text.",
			"inputSchema": map[string]any{
				"type": "object", "properties": map[string]any{"text": text}, "required": []string{"text"},
			},
		},
		map[string]any{
			"name":        "whoami",
			"description": "Returns the ID of the client that calls.",
			"inputSchema": map[string]any{"type": "object"},
		},
	}
}

func callTool(r *http.Request, params json.RawMessage) (any, *rpcError) {
	var call struct {
		Name      string `json:"name"`
		Arguments struct {
			Text string `json:"text"`
		} `json:"arguments"`
	}
	if err := json.Unmarshal(params, &call); err != nil {
		return nil, &rpcError{Code: -32602, Message: "arguments cannot be read"}
	}
	text := call.Arguments.Text
	switch call.Name {
	case "echo":
	case "whoami":
		caller, _ := CallerFrom(r.Context())
		text = caller.ClientID
	default:
		return nil, &rpcError{Code: -32602, Message: "no such tool"}
	}
	return map[string]any{"content": []any{map[string]string{"type": "text", "text": text}}}, nil
}

// stream is the GET stream: it is open, and nothing ever comes.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() == nil {
		<-r.Context().Done()
	}
}
