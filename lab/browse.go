package lab

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// Browse does what a user with a browser does at a URL: it follows redirects,
// to the client's loopback listener too, and presses the button of a consent
// page. It keeps no cookies. It returns the URL where it ended, which a callback
// makes one with a code in it; the error of a page with a status of 400 or more
// is a *PageError.
func Browse(ctx context.Context, rawurl string) (final string, err error) {
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	return BrowseWith(ctx, client, rawurl)
}

// PageError reports that a browser ended at an error page.
type PageError struct {
	Status int
	// Page is its address without the query.
	Page string
}

func (e *PageError) Error() string {
	return fmt.Sprintf("lab: the browser shows status %d at %s", e.Status, e.Page)
}

// button is the form of a consent page.
var button = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<form method="post" action="([^"]*)">`) })

// maxButtons bounds how often the user presses a button.
const maxButtons = 5

// BrowseWith is Browse with another HTTP client, such as one that uses
// Server.RoundTripper.
func BrowseWith(ctx context.Context, client *http.Client, rawurl string) (final string, err error) {
	method := http.MethodGet
	for range maxButtons {
		final, body, err := visit(ctx, client, method, rawurl)
		if err != nil {
			return final, err
		}
		match := button().FindStringSubmatch(body)
		if match == nil {
			return final, nil
		}
		base, err := url.Parse(final)
		if err != nil {
			return final, err
		}
		target, err := base.Parse(html.UnescapeString(match[1]))
		if err != nil {
			return final, err
		}
		method, rawurl = http.MethodPost, target.String()
	}
	return "", errors.New("lab: the browser is shown one button after the other")
}

func visit(ctx context.Context, client *http.Client,
	method, rawurl string) (final, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, rawurl, nil)
	if err != nil {
		return "", "", errors.New("lab: the browser cannot open that address")
	}
	request.Header.Set("Accept", "text/html")
	request.Header.Set("User-Agent", "Mozilla/5.0 (handstamp lab)")
	response, err := client.Do(request)
	if err != nil {
		// The text of a *url.Error has the address, and that may have a code.
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return "", "", fmt.Errorf("lab: the browser cannot show %s: %w", plain(request.URL), err)
	}
	defer response.Body.Close()
	final = response.Request.URL.String()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return final, "", fmt.Errorf("lab: the browser cannot load %s: %w",
			plain(response.Request.URL), err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return final, "", &PageError{Status: response.StatusCode, Page: plain(response.Request.URL)}
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		return final, "", nil
	}
	return final, string(raw), nil
}

// plain is an address without what may be secret.
func plain(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// Consent acts as the user of an application that shows the authorization URL
// itself: it opens the URL, to which this server responds with a redirect at once
// (Habits.Consent is ConsentAuto), and returns the parameters of that redirect as
// the application receives them at its redirect URI.
func Consent(ctx context.Context, rawurl string) (url.Values, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawurl, nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	location, err := resp.Location()
	if err != nil {
		return nil, &PageError{Status: resp.StatusCode, Page: plain(req.URL)}
	}
	return location.Query(), nil
}
