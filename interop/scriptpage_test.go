package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// scriptAPI is what the page of the AT Protocol's provider, which is a program, calls.
const scriptAPI = "/@atproto/oauth-provider/~api"

// navigate marks a request as a browser's for a page.
func navigate(req *http.Request, site string) {
	req.Header.Set("Sec-Fetch-Site", site)
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
}

// script does what the program on a page does once the user has signed in and agreed.
func (a account) script(ctx context.Context, client *http.Client, page *http.Response) (*http.Request, error) {
	at := page.Request.URL
	var csrf string
	for _, cookie := range page.Cookies() {
		if cookie.Name == "csrf-token" {
			csrf = cookie.Value
		}
	}
	call := func(path string, input, into any) error {
		raw, err := json.Marshal(input)
		if err != nil {
			return err
		}
		to := url.URL{Scheme: at.Scheme, Host: at.Host, Path: scriptAPI + path}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(raw))
		if err != nil {
			return err
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "X-CSRF-Token": csrf,
			"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "same-origin", "Sec-Fetch-Dest": "empty",
			"Referer": at.String(), "Origin": at.Scheme + "://" + at.Host} {
			req.Header.Set(name, value)
		}
		// A jar keeps it to itself: it is a secure cookie, and browsers trust loopback.
		req.AddCookie(&http.Cookie{Name: "csrf-token", Value: csrf})
		return askWith(client, req, into)
	}
	var signedIn struct{ Account struct{ Did string } }
	err := call("/sign-in", map[string]any{"locale": "en", "username": a.username, "password": a.password,
		"remember": true}, &signedIn)
	if err != nil {
		return nil, err
	}
	var agreed struct{ URL string }
	if err := call("/consent", map[string]any{"did": signedIn.Account.Did}, &agreed); err != nil {
		return nil, err
	}
	if agreed.URL == "" {
		return nil, errors.New("the page leads nowhere")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, agreed.URL, nil)
	if err != nil {
		return nil, err
	}
	navigate(req, "same-origin")
	req.Header.Set("Referer", at.String())
	return req, nil
}

// scripted reports whether a page is a program.
func scripted(page string) bool { return strings.Contains(page, "/@atproto/oauth-provider/") }
