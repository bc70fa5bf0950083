package webpage

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/pagestyle"
)

// serversPrefix is below what each server has its buttons.
const serversPrefix = "/servers/"

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
	//go:embed icon.svg
	icon string

	templates = sync.OnceValue(func() *template.Template {
		return template.Must(template.New("").Parse(pageHTML))
	})
)

// asset is a file that the page loads.
type asset struct{ contentType, content string }

// assets are at names below access.assets.
var assets = map[string]asset{
	"page.css": {"text/css; charset=utf-8", pagestyle.Base + pageCSS},
	"page.js":  {"text/javascript; charset=utf-8", pageJS},
	"icon.svg": {"image/svg+xml", icon},
}

// view is what the templates show.
type view struct {
	Title   string
	Assets  string // where the page's files are
	Home    string // where the page is; empty for who may not know that
	Host    string
	Guard   string
	Servers []serverView
	Server  *serverView // of a page about one server
	Config  string      // for an MCP host
	Text    string      // of an error
}

// serverView is a server with what depends on the time.
type serverView struct {
	Server
	Address  string // the URL, unless the title is as good
	Endpoint string
	Lifetime int64 // seconds
	Left     int64
	Low      int64
}

func (p *Page) view(servers []Server) view {
	v := view{Title: "Handstamp", Home: p.access.home, Host: p.host, Guard: p.access.guard}
	for _, s := range servers {
		v.Servers = append(v.Servers, p.serverView(s))
	}
	return v
}

func (p *Page) serverView(s Server) serverView {
	v := serverView{Server: s, Endpoint: "http://" + p.host + mcpPrefix + s.Name}
	if !strings.HasSuffix(s.URL, "://"+s.Title) {
		v.Address = s.URL
	}
	if !s.Expires.IsZero() && s.Expires.After(s.Obtained) && !s.Obtained.IsZero() {
		v.Lifetime = int64(s.Expires.Sub(s.Obtained) / time.Second)
		v.Left = min(v.Lifetime, max(0, int64(time.Until(s.Expires)/time.Second)))
		v.Low = v.Lifetime / 10
	}
	return v
}

// show writes a page.
func (p *Page) show(w http.ResponseWriter, status int, name string, v view) {
	v.Assets = p.access.assets
	var body bytes.Buffer
	if err := templates().ExecuteTemplate(&body, name, v); err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a browser that has gone needs none
}

// fail responds with an error: a page for a browser, a line for a program.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Error(w, strings.TrimSpace(title+" "+text), status)
		return
	}
	v := view{Title: title, Text: text}
	if strings.HasPrefix(r.URL.EscapedPath(), p.access.home) {
		v.Home = p.access.home
	}
	p.show(w, status, "failed", v)
}

func (p *Page) showServers(w http.ResponseWriter, r *http.Request) {
	servers, err := p.backend.Servers(r.Context())
	if err != nil {
		p.fail(w, r, http.StatusInternalServerError, "The logins cannot be read.", err.Error())
		return
	}
	p.show(w, http.StatusOK, "page", p.view(servers))
}

// server returns a server by its name.
func (p *Page) server(r *http.Request, name string) *serverView {
	servers, err := p.backend.Servers(r.Context())
	if err != nil {
		return nil
	}
	for _, s := range servers {
		if s.Name == name {
			v := p.serverView(s)
			return &v
		}
	}
	return nil
}

func (p *Page) showDiagram(w http.ResponseWriter, r *http.Request, name string) {
	s := p.server(r, name)
	if s == nil {
		p.fail(w, r, http.StatusNotFound, "There is no such server.", "")
		return
	}
	html, contentPolicy := p.backend.Diagram(name)
	if html == nil {
		p.fail(w, r, http.StatusNotFound, "There is no diagram yet.",
			"It shows a login that this page has seen: sign in here first.")
		return
	}
	w.Header().Set("Content-Security-Policy", contentPolicy+"; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(html)
}

// hostEntry is a server in the configuration of most MCP hosts.
type hostEntry struct {
	Type    string            `json:"type"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
}

// showConfiguration shows what an MCP host has to be configured with. It is the only page with a
// bearer token, and needs a form's token to be seen.
func (p *Page) showConfiguration(w http.ResponseWriter, r *http.Request, s *serverView) {
	config, err := json.MarshalIndent(map[string]any{"mcpServers": map[string]any{
		s.Name: hostEntry{"http", s.Endpoint,
			map[string]string{"Authorization": "Bearer " + p.backend.Bearer(s.Name)}},
	}}, "", "  ")
	if err != nil {
		p.fail(w, r, http.StatusInternalServerError, "The configuration cannot be shown.", err.Error())
		return
	}
	p.show(w, http.StatusOK, "configuration", view{Title: "Use " + s.Title + " in an MCP host",
		Home: p.access.home, Server: s, Config: string(config)})
}
