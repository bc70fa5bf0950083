package webpage

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/handstamp/handstamp/internal/loopback"
)

// PathLink is where another process of the user gets a link to the page: by a POST with
// [Options.Control] as its bearer token. The response is a [Link] in JSON.
const PathLink = "/link"

// Link is the response to a request for a link.
type Link struct {
	URL   string `json:"url"`   // works once
	Proof string `json:"proof"` // [Options.Proof]
}

// keyParameter is the parameter of a link that lets a browser in.
const keyParameter = "key"

// access is who may see the page.
type access struct {
	cookie string // its name, which is different at each start: cookies are not bound to a port
	value  string // of the cookie
	home   string // the path of the page, and of the cookie: other ports cannot name it
	assets string // the path of script and style: no cache has it from a program that had the port
	guard  string // what each form of the page carries
	key    string // of the link that is printed

	mu   sync.Mutex
	once map[string]bool // keys of links that work once
}

func newAccess() access {
	return access{
		cookie: "handstamp-" + rand.Text()[:8], value: rand.Text(), home: "/" + rand.Text() + "/",
		assets: "/" + rand.Text() + "/", guard: rand.Text(), key: rand.Text(), once: make(map[string]bool),
	}
}

// maxLinks bounds how many links wait to be used.
const maxLinks = 16

// Link returns the address that lets a browser in, for as long as the page is served. It is a
// secret. A link that is passed to a browser as an argument, which other users of the machine can
// see, works once, and not for those who are known to be another user.
func (p *Page) Link(once bool) string {
	key := p.access.key
	if once {
		key = rand.Text()
		p.access.mu.Lock()
		if len(p.access.once) >= maxLinks {
			clear(p.access.once)
		}
		p.access.once[key] = true
		p.access.mu.Unlock()
	}
	return "http://" + p.host + "/?" + keyParameter + "=" + key
}

// admits reports whether a key lets a browser in. Another user's request does not use it up.
func (a *access) admits(key string, isOtherUser func() bool) bool {
	if same(key, a.key) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ok := a.once[key] && !isOtherUser()
	if ok {
		delete(a.once, key)
	}
	return ok
}

// has reports whether a request has the cookie.
func (a *access) has(r *http.Request) bool {
	c, err := r.Cookie(a.cookie)
	return err == nil && same(c.Value, a.value)
}

func same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// enter takes the key of a link for the cookie, and away from the address. A browser sends cookies
// to every port of this machine, where a program of another user may take them: this one goes to
// the path of the page only, which a page of another port cannot have the browser request.
func (p *Page) enter(w http.ResponseWriter, r *http.Request) {
	if isPrefetch(r) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	isOtherUser := func() bool { return loopback.IsOtherUser(r.RemoteAddr, p.host) }
	if !p.access.admits(r.URL.Query().Get(keyParameter), isOtherUser) {
		p.fail(w, r, http.StatusUnauthorized, "This link has been used, or is for another run or user.",
			"Run handstamp serve in a terminal for a new one.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: p.access.cookie, Value: p.access.value, Path: p.access.home,
		HttpOnly: true, SameSite: http.SameSiteStrictMode})
	// A program that had the port may have left pages, and workers that change what is loaded.
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	http.Redirect(w, r, p.access.home, http.StatusSeeOther)
}

// newLink responds with a link for another process of the user.
func (p *Page) newLink(w http.ResponseWriter, r *http.Request) {
	if !same(bearerOf(r), p.control) {
		http.Error(w, "not allowed", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Link{p.Link(true), p.proof})
}

// bearerOf returns the bearer token of a request (RFC 6750, section 2.1), "" if it has none, or
// more than one.
func bearerOf(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
