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
		os.Exit(m.Run())
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

// browse opens a URL, fills in the forms that the authorization server shows,
// and goes on until it is sent elsewhere.
func (a account) browse(ctx context.Context, rawURL string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
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

// submit fills in the form of a page.
func (a account) submit(ctx context.Context, at *url.URL, page string) (*http.Request, error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	var action *url.URL
	values := make(url.Values)
	pressed := false // the first button, which says yes
	for n := range root.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "form":
			if action, err = at.Parse(attribute(n, "action")); err != nil {
				return nil, err
			}
		case n.Data == "input" && (attribute(n, "type") == "password" || attribute(n, "name") == "password"):
			values.Set(attribute(n, "name"), a.password)
		case n.Data == "input" && attribute(n, "type") == "hidden":
			values.Set(attribute(n, "name"), attribute(n, "value"))
		case n.Data == "button" && a.declines != "" && attribute(n, "name") == a.declines:
			values.Set(a.declines, attribute(n, "value"))
		case n.Data == "button" && !pressed:
			pressed = true
			if name := attribute(n, "name"); name != "" {
				values.Set(name, attribute(n, "value"))
			}
			if _, to, ok := strings.Cut(attribute(n, "onclick"), "location.href='"); ok && action == nil {
				if at, err = at.Parse(strings.TrimSuffix(to, "'")); err != nil {
					return nil, err
				}
				return http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
			}
		case n.Data == "input" && attribute(n, "name") == "user_code":
			values.Set("user_code", a.code)
		case n.Data == "input":
			values.Set(attribute(n, "name"), a.username)
		}
	}
	if action == nil {
		return nil, fmt.Errorf("%w: %s: %s", errNoForm, at.Path, page)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
