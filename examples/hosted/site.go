package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
)

// site is the application's pages.
type site struct {
	app      *hosted.App
	servers  []string // that users may connect: not any URL that one of them enters
	sessions sessions
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.sessions.of(r); ok {
			http.Redirect(w, r, "/servers", http.StatusSeeOther)
			return
		}
		show(w, http.StatusOK, "start", nil)
	})
	mux.HandleFunc("POST /session", func(w http.ResponseWriter, r *http.Request) {
		name := r.FormValue("name")
		if name == "" || hosted.CheckOwner(ownerOf(name)) != nil {
			show(w, http.StatusBadRequest, "start", "Enter another name.")
			return
		}
		s.sessions.start(w, name)
		http.Redirect(w, r, "/servers", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /servers", s.signedIn(s.list))
	mux.HandleFunc("POST /connect", s.signedIn(s.known(s.connect)))
	mux.HandleFunc("POST /disconnect", s.signedIn(s.known(s.disconnect)))
	mux.HandleFunc("POST /call", s.signedIn(s.known(s.call)))
	mux.Handle("GET /oauth/callback/", s.app.Callback(s.sessions.id, s.cameBack))
	// Another site's page can post no form here.
	return http.NewCrossOriginProtection().Handler(mux)
}

// page is a handler for a user.
type page func(http.ResponseWriter, *http.Request, session)

func (s *site) signedIn(p page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, ok := s.sessions.of(r)
		if !ok {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		p(w, r, user)
	}
}

// known rejects servers that are not offered.
func (s *site) known(p page) page {
	return func(w http.ResponseWriter, r *http.Request, user session) {
		if !slices.Contains(s.servers, r.FormValue("server")) {
			http.Error(w, "no such server", http.StatusBadRequest)
			return
		}
		p(w, r, user)
	}
}

// row is a server in the list.
type row struct {
	Server, State, Problem string
	Connected              bool
}

func (s *site) list(w http.ResponseWriter, r *http.Request, user session) {
	connections, err := s.app.Connections(r.Context(), user.owner)
	if err != nil {
		s.fail(w, err)
		return
	}
	data := struct {
		User string
		Rows []row
	}{User: user.owner.User}
	for _, server := range s.servers {
		one := row{Server: server, State: "not connected"}
		for _, c := range connections {
			if c.Server == server && c.State != handstamp.StateNone {
				one.Connected, one.State, one.Problem = c.Usable(), "connected", c.Problem
				if !c.Usable() {
					one.State = "has to be connected again"
				}
			}
		}
		data.Rows = append(data.Rows, one)
	}
	show(w, http.StatusOK, "servers", data)
}

// connect sends the user's browser to the authorization server of an MCP server.
func (s *site) connect(w http.ResponseWriter, r *http.Request, user session) {
	login, err := s.app.Begin(r.Context(), user.owner, r.FormValue("server"), hosted.BeginOptions{
		Session:  user.id,
		ReturnTo: "/servers",
	})
	if err != nil {
		s.fail(w, err)
		return
	}
	http.Redirect(w, r, login.URL, http.StatusSeeOther)
}

// cameBack is where the user goes on when the authorization server has sent the browser back, to
// whichever replica.
func (s *site) cameBack(w http.ResponseWriter, r *http.Request, o hosted.Outcome) {
	err := o.Err
	if err == nil {
		err = o.Result.Rejected
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	http.Redirect(w, r, o.ReturnTo, http.StatusSeeOther)
}

func (s *site) disconnect(w http.ResponseWriter, r *http.Request, user session) {
	if _, err := s.app.Disconnect(r.Context(), user.owner, r.FormValue("server")); err != nil {
		s.fail(w, err)
		return
	}
	http.Redirect(w, r, "/servers", http.StatusSeeOther)
}

// call calls a tool as the user.
func (s *site) call(w http.ResponseWriter, r *http.Request, user session) {
	client, err := s.app.Client(user.owner)
	if err != nil {
		s.fail(w, err)
		return
	}
	server := r.FormValue("server")
	tools, err := mcp.NewClient(&mcp.Implementation{Name: "hosted", Version: "1"}, nil).Connect(r.Context(),
		&mcp.StreamableClientTransport{Endpoint: server, HTTPClient: client.HTTPClient(server)}, nil)
	if err != nil {
		s.fail(w, err)
		return
	}
	defer tools.Close()
	result, err := tools.CallTool(r.Context(), &mcp.CallToolParams{
		Name: r.FormValue("tool"), Arguments: json.RawMessage(cmp.Or(r.FormValue("arguments"), "{}")),
	})
	if err != nil {
		s.fail(w, err)
		return
	}
	var text []string
	for _, content := range result.Content {
		if c, ok := content.(*mcp.TextContent); ok {
			text = append(text, c.Text)
		}
	}
	if result.IsError {
		s.fail(w, fmt.Errorf("the tool reports an error: %s", strings.Join(text, "\n")))
		return
	}
	show(w, http.StatusOK, "result", strings.Join(text, "\n"))
}

// fail shows an error. Those of Handstamp have no secrets, and name the next step; those of the
// database name its machines, and are for the log.
func (s *site) fail(w http.ResponseWriter, err error) {
	status, reason := http.StatusBadGateway, err.Error()
	switch {
	case errors.Is(err, hosted.ErrNoPendingLogin), errors.Is(err, hosted.ErrOtherSession):
		status = http.StatusBadRequest
	case errors.Is(err, handstamp.ErrStore), errors.Is(err, store.ErrUnusable):
		log.Print(err)
		status, reason = http.StatusServiceUnavailable, "the database cannot be used now; try again later"
	}
	show(w, status, "failed", reason)
}
