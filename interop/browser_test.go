package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// userVariable makes this test binary the browser of the command, with a
// user before it: the user's name, the password, and the origins whose forms are
// to be filled in, one a line. It has none of the names that the command keeps
// from browsers.
const userVariable = "INTEROP_USER"

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(userVariable)
	if !ok {
		code := m.Run()
		if err := endForks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	lines := strings.Split(text, "\n")
	a := account{username: lines[0], password: lines[1], pages: lines[2:]}
	if err := a.browse(context.Background(), os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		os.Exit(1)
	}
}

// An account signs in at an authorization server with a browser that keeps cookies.
type account struct {
	username, password string
	pages              []string // the origins of its pages

	// landed keeps the URL to which the user is sent in the end, which is not opened;
	// nil: it is.
	landed *url.URL
	// code is the user code of a device (RFC 8628), whose last page has no form.
	code string
	// declines is the name of the button that says no; empty: the first one is pressed.
	declines string
	// roots are the certificate authorities of the pages; nil: the system's.
	roots *x509.CertPool
}

// account returns the one that the tests have at the server.
func (s *authServer) account() account {
	return account{username: s.username, password: s.password, roots: s.roots,
		pages: append([]string{strings.TrimSuffix(s.issuer, "/")}, s.pages...)}
}

// maxPages bounds how many forms a user fills in.
const maxPages = 8

// browser returns one that keeps cookies, and does not open where the account has landed.
func (a account) browser() (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{
		Proxy: nil, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: a.roots}}}
	if a.landed != nil {
		client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
			if a.shows(req.URL) {
				return nil
			}
			*a.landed = *req.URL
			return http.ErrUseLastResponse
		}
	}
	return client, nil
}

// browse opens a URL, fills in the forms that the authorization server shows,
// and goes on until it is sent elsewhere.
func (a account) browse(ctx context.Context, rawURL string) error {
	client, err := a.browser()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return err
	}
	navigate(req, "none")
	declined := false
	for range maxPages {
		req.Header.Set("Accept", "text/html")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		at := resp.Request.URL
		if resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s shows %s: %s", at.Path, resp.Status, body)
		}
		if !a.shows(at) || a.landed != nil && a.landed.Host != "" || declined {
			return nil // the client's own page
		}
		declined = a.declines != "" && strings.Contains(string(body), `name="`+a.declines+`"`)
		if scripted(string(body)) {
			req, err = a.script(ctx, client, resp)
		} else {
			req, err = a.submit(ctx, at, string(body))
		}
		if err != nil {
			if a.code != "" && errors.Is(err, errNoForm) {
				return nil
			}
			return err
		}
	}
	return errors.New("there is one form after the other")
}

// shows reports whether a URL is one of the account's pages.
func (a account) shows(u *url.URL) bool {
	return slices.Contains(a.pages, u.Scheme+"://"+u.Host)
}

var errNoForm = errors.New("the page has no form")

// submit fills in the form of a page. A page without one may have a button that leads on.
func (a account) submit(ctx context.Context, at *url.URL, page string) (*http.Request, error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	var action *url.URL
	values := make(url.Values)
	var pressed *html.Node // the first button, which says yes
	for n := range root.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "form":
			if action, err = at.Parse(attribute(n, "action")); err != nil {
				return nil, err
			}
		case n.Data == "input":
			values.Set(attribute(n, "name"), a.input(n))
		case n.Data == "button" && (pressed == nil || a.declines != "" && attribute(n, "name") == a.declines):
			pressed = n
		}
	}
	if action == nil {
		return follow(ctx, at, pressed)
	}
	if pressed != nil && attribute(pressed, "name") != "" {
		values.Set(attribute(pressed, "name"), attribute(pressed, "value"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

// follow opens the page to which a button leads.
func follow(ctx context.Context, at *url.URL, button *html.Node) (*http.Request, error) {
	if button == nil {
		return nil, fmt.Errorf("%w: %s", errNoForm, at.Path)
	}
	_, to, ok := strings.Cut(attribute(button, "onclick"), "location.href='")
	if !ok {
		return nil, fmt.Errorf("%w: %s", errNoForm, at.Path)
	}
	next, err := at.Parse(strings.TrimSuffix(to, "'"))
	if err != nil {
		return nil, err
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, next.String(), nil)
}

// input returns what the user types in a field.
func (a account) input(n *html.Node) string {
	switch name := attribute(n, "name"); {
	case attribute(n, "type") == "hidden":
		return attribute(n, "value")
	case attribute(n, "type") == "password" || name == "password":
		return a.password
	case name == "user_code":
		return a.code
	}
	return a.username
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
