package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An authority is an authorization server, together with an MCP server that wants its
// tokens. A token names what it was issued for.
type authority struct {
	mcp            *server
	issuer         string
	noRegistration bool

	mu     sync.Mutex // guards what follows
	counts map[string]int
	codes  map[string]string // what a code was issued for
}

// authorize starts an authorization server and the server that it protects.
func (p *play) authorize() *authority {
	a := &authority{counts: make(map[string]int), codes: make(map[string]string)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	a.issuer = "http://" + listener.Addr().String()
	server := &http.Server{Handler: a}
	go func() { _ = server.Serve(listener) }()
	p.cleanup(func() { _ = server.Close() })
	a.mcp = p.serve(a.protect)
	return a
}

// protect rejects what has no token, and keeps the tokens of calls.
func (a *authority) protect(x *exchange) bool {
	if x.r.Method == http.MethodGet && strings.HasPrefix(x.r.URL.Path, "/.well-known/oauth-protected-resource") {
		x.status(200, "application/json", fmt.Sprintf(`{"resource":"http://%s/mcp","authorization_servers":[%q]}`, x.r.Host, a.issuer))
		return true
	}
	if x.r.URL.Path != "/mcp" {
		x.status(404, "text/plain", "not found")
		return true
	}
	token, found := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer token.")
	if !found {
		x.w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer resource_metadata="http://%s/.well-known/oauth-protected-resource/mcp"`, x.r.Host))
		x.status(401, "text/plain", "unauthorized")
		return true
	}
	if x.method == "tools/call" {
		what, _, _ := strings.Cut(token, ".")
		x.result(`{"content":[{"type":"text","text":` + strconv.Quote(what) + `}]}`)
		return true
	}
	return false
}

func (a *authority) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[path]
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	a.mu.Lock()
	a.counts[r.URL.Path]++
	serial := strconv.Itoa(a.counts[r.URL.Path])
	a.mu.Unlock()
	answer := func(status int, v map[string]any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/.well-known/"):
		answer(200, map[string]any{
			"issuer": a.issuer, "authorization_endpoint": a.issuer + "/authorize", "token_endpoint": a.issuer + "/token",
			"registration_endpoint": a.issuer + "/register", "response_types_supported": []string{"code"},
			"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
			"grant_types_supported": []string{"authorization_code", "refresh_token"},
		})
	case r.URL.Path == "/register" && a.noRegistration:
		answer(400, map[string]any{"error": "invalid_client_metadata", "error_description": "registration is closed"})
	case r.URL.Path == "/register":
		var document map[string]any
		_ = json.NewDecoder(r.Body).Decode(&document)
		if document == nil {
			document = make(map[string]any)
		}
		document["client_id"], document["token_endpoint_auth_method"] = "client-"+serial, "none"
		answer(201, document)
	case r.URL.Path == "/authorize":
		code := "code-" + serial
		what := r.Form.Get("tenant")
		if what == "" {
			what = path.Base(r.Form.Get("resource"))
		}
		a.mu.Lock()
		a.codes[code] = what
		a.mu.Unlock()
		http.Redirect(w, r, r.Form.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {r.Form.Get("state")}}.Encode(), http.StatusFound)
	case r.URL.Path == "/token":
		what := strings.TrimPrefix(r.Form.Get("refresh_token"), "refresh.")
		if r.Form.Get("grant_type") == "authorization_code" {
			a.mu.Lock()
			what = a.codes[r.Form.Get("code")]
			a.mu.Unlock()
		}
		answer(200, map[string]any{"access_token": "token." + what + "." + serial, "refresh_token": "refresh." + what, "token_type": "Bearer", "expires_in": 3600})
	default:
		answer(404, map[string]any{})
	}
}

// authorizationURL is what a bridge writes for the user to open.
var authorizationURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+/authorize\?\S+`)

// consent opens the URL that a bridge writes, once, as soon as it does.
func (h *host) consent() {
	go func() {
		for h.p.ctx.Err() == nil {
			next := h.change()
			h.mu.Lock()
			text := h.stderr.String()
			h.mu.Unlock()
			// The rest of a line may still come.
			text = text[:strings.LastIndexByte(text, '\n')+1]
			if found := authorizationURL.FindString(text); found != "" {
				if resp, err := http.Get(found); err == nil {
					_ = resp.Body.Close()
				}
				return
			}
			select {
			case <-next:
			case <-h.p.ctx.Done():
			}
		}
	}()
}

// as starts a bridge, signs in where it is wanted, and returns what the token of a call was
// issued for.
func (a *authority) as(p *play, flags ...string) string {
	h := p.bridge(a.mcp.url, flags...)
	h.consent()
	h.response(h.request("initialize", greeting), 4*beginning)
	h.initialized()
	var text string
	if !p.until(4*beginning, tick, func() bool {
		got := h.response(h.call("who"), 4*beginning).message
		var content []message
		_ = json.Unmarshal([]byte(got.at("result", "content")), &content)
		if len(content) == 1 {
			text = content[0].text("text")
		}
		return text != "" && !strings.Contains(text, " ")
	}) {
		p.wrong("no call works: %s", h.lastWords())
	}
	_ = h.in.Close()
	h.ends(time.Second)
	return text
}

// apart plays two logins at one server that differ by flags.
func apart(one, other []string, first, second string) func(p *play) {
	return func(p *play) {
		a := p.authorize()
		for _, turn := range []struct {
			flags  []string
			want   string
			logins int
		}{{one, first, 1}, {other, second, 2}, {one, first, 2}, {other, second, 2}} {
			if got := a.as(p, turn.flags...); turn.want != "" && got != turn.want {
				p.wrong("the login of the one is used for the other")
			}
			if n := a.count("/authorize"); n != turn.logins {
				p.wrong("%d logins in place of %d", n, turn.logins)
			}
		}
	}
}

var logins = []behaviour{
	{
		name:   "two-resources",
		kind:   "two logins at one server that differ by `--resource`",
		met:    "tenants of one server",
		now:    "each has its own, without a flag more",
		before: "the bridge ends: X The stored login at http://HOST/mcp is for the resource http://127.0.0.1/mcp/one, not ht…",
		play: func(p *play) {
			apart([]string{"--resource", "http://127.0.0.1/mcp/one"}, []string{"--resource", "http://127.0.0.1/mcp/two"}, "one", "two")(p)
		},
	},
	{
		name:   "two-headers",
		kind:   "two logins at one server that differ by `--header`",
		met:    "the same",
		now:    "the same",
		before: "1 logins in place of 2",
		play:   apart([]string{"--header", "X-Tenant:one"}, []string{"--header", "X-Tenant:two"}, "", ""),
	},
	{
		name:   "two-authorize-parameters",
		kind:   "two logins at one server that differ by `--authorize-param`",
		met:    "the same",
		now:    "the same",
		before: "the login of the one is used for the other",
		play:   apart([]string{"--authorize-param", "tenant=one"}, []string{"--authorize-param", "tenant=two"}, "one", "two"),
	},
}
