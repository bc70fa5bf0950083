package service

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
)

// newRequest reads a request of a caller. Parameters that are not known, or there twice, are
// rejected: a misspelled one must not lead to another user's token.
func newRequest(r *http.Request, c *Caller, parameters []string) (*request, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query cannot be read")
	}
	for name, values := range query {
		switch {
		case name != "tenant" && name != "user" && !slices.Contains(parameters, name):
			return nil, badRequest("there is no such parameter; those of this path are: " + listed(parameters))
		case len(values) != 1:
			return nil, badRequest("a parameter is given twice")
		}
	}
	owner, err := c.owner(query)
	if err != nil {
		return nil, err
	}
	if slices.Contains(parameters, "server") {
		if _, err := store.NewKey(query.Get("server"), ""); err != nil {
			return nil, badRequest("the parameter server is missing, or not the URL of an MCP server")
		}
	}
	return &request{owner, query}, nil
}

func listed(parameters []string) string {
	text := "tenant, user"
	for _, name := range parameters {
		text += ", " + name
	}
	return text
}

// owner returns the user whose logins a request of the caller is about.
func (c *Caller) owner(query url.Values) (store.Owner, error) {
	o := store.Owner{Tenant: c.Tenant, User: query.Get("user")}
	switch {
	case query.Has("tenant") && query.Get("tenant") != c.Tenant:
		return o, rejection(http.StatusForbidden, codeForbidden, "the caller belongs to another tenant")
	case c.User != nil && query.Has("user") && o.User != *c.User:
		return o, rejection(http.StatusForbidden, codeForbidden, "the caller is confined to another user")
	case c.User != nil:
		o.User = *c.User
	case !query.Has("user"):
		return o, badRequest("the parameter user is missing")
	}
	if hosted.CheckOwner(o) != nil {
		return o, badRequest("user is a name of at most 255 bytes, none that begins with handstamp:")
	}
	return o, nil
}

// errNoLogin: the user has no login at the server.
var errNoLogin = errors.New("the user has no login at this server")
