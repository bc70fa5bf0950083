package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/webpage"
	"github.com/handstamp/handstamp/store"
)

// serveState is what the page keeps between its runs, in a file that only the user can read: MCP
// hosts are configured once with the address and a bearer token.
type serveState struct {
	Port    int         `json:"port,omitempty"`
	Control string      `json:"control,omitempty"` // what another process of the user shows the page
	Proof   string      `json:"proof,omitempty"`   // and what the page shows that process
	Servers []serveName `json:"servers"`

	mu   sync.Mutex
	path string // empty: it is not kept
}

// serveName is a server's part of the address, and its bearer token.
type serveName struct {
	Name   string    `json:"name"`
	Key    store.Key `json:"key"`
	Bearer string    `json:"bearer"`
}

// loadServeState reads the state. One that other users could read is not used.
func (a *app) loadServeState() *serveState {
	s := new(serveState)
	if a.dirs == nil {
		return s
	}
	s.path = filepath.Join(a.dirs.Credentials, "serve", "state.json")
	info, err := os.Lstat(s.path)
	if err != nil {
		return s
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		a.warn("other users could read " + s.path +
			": the bearer tokens in it are replaced, and MCP hosts need the new ones")
		return s
	}
	text, err := readRegular(s.path, maxConfig)
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		a.warn(s.path + " cannot be read, so MCP hosts need new bearer tokens: " + err.Error())
		return &serveState{path: s.path}
	}
	return s
}

// save writes the state, if it is kept. s.mu is held.
func (s *serveState) save() error {
	if s.path == "" {
		return nil
	}
	return writePrivate(s.path, s)
}

// begin notes where this run of the page is. Its secrets for other processes are new: a program
// that listened on the port meanwhile may know the old ones.
func (s *serveState) begin(port int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Port, s.Control, s.Proof = port, rand.Text(), rand.Text()
	return s.save()
}

// name returns the name of a login, which stays the same once it is given.
func (s *serveState) name(key store.Key, alias string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.Servers {
		if n.Key == key {
			return n.Name
		}
	}
	name := alias
	if name == "" {
		u, _ := url.Parse(key.Server)
		name = u.Host + strings.TrimSuffix(u.Path, "/mcp")
	}
	name = cmp.Or(slug(name), "server")
	taken := func(name string) bool {
		return slices.ContainsFunc(s.Servers, func(n serveName) bool { return n.Name == name })
	}
	if taken(name) {
		name += "-" + cmp.Or(slug(key.Profile), "2")
	}
	for i, base := 2, name; taken(name); i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	s.Servers = append(s.Servers, serveName{name, key, rand.Text() + rand.Text()})
	_ = s.save() // begin reports what prevents it
	return name
}

// slug returns what of a text can be a part of an address.
func slug(text string) string {
	text = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
	return strings.Trim(text, "-._")
}

// bearer returns the bearer token of a name, or "".
func (s *serveState) bearer(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.Servers {
		if n.Name == name {
			return n.Bearer
		}
	}
	return ""
}

// runningPage returns what has a link to the page that another process of the user serves at the
// port, if that process proves to be one.
func (s *serveState) runningPage(ctx context.Context, port int) (linker, bool) {
	if s.Control == "" || port != s.Port {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	base := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+webpage.PathLink, nil)
	if err != nil {
		return nil, false
	}
	req.Header.Set("Authorization", "Bearer "+s.Control)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	var link webpage.Link
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 4<<10)).Decode(&link)
	if err != nil || resp.StatusCode != http.StatusOK || link.Proof != s.Proof ||
		!strings.HasPrefix(link.URL, base+"/?") {
		return nil, false
	}
	return fixedLink(link.URL), true
}

// fixedLink is the link to a page of another process.
type fixedLink string

func (l fixedLink) Link(bool) string { return string(l) }
