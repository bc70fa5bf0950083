package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/handstamp/handstamp/store/filestore"
)

// serveState is what the page keeps between its runs, in a file that only the user can read: MCP
// hosts are configured once with the address and a bearer token. Several processes may have it at
// once: the file has the names that any of them has given, and where the page is that was started
// last.
type serveState struct {
	servePlace             // of the page that was started last
	Servers    []serveName `json:"servers"`

	mu     sync.Mutex
	path   string // empty: it is not kept
	unkept error  // why not, where it should be
	lock   func() (unlock func(), err error)
}

// servePlace is where a page is served.
type servePlace struct {
	Port    int    `json:"port,omitempty"`
	Control string `json:"control,omitempty"` // what another process of the user shows the page
	Proof   string `json:"proof,omitempty"`   // and what the page shows that process
}

func (p servePlace) host() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)) }

// serveName is a server's part of the address, and its bearer token.
type serveName struct {
	Name   string    `json:"name"`
	Key    store.Key `json:"key"`
	Bearer string    `json:"bearer"`
}

// loadServeState reads the state. What of it cannot be used is warned of, and replaced.
func (a *app) loadServeState() *serveState {
	s := new(serveState)
	if a.dirs == nil {
		return s
	}
	s.path = filepath.Join(a.dirs.Credentials, "serve", "state.json")
	s.lock = a.serveLock
	if err := s.read(); err != nil {
		a.warn(err.Error() + ": MCP hosts need new bearer tokens")
	}
	return s
}

// serveLockTimeout bounds the wait for a process that writes the state.
const serveLockTimeout = 5 * time.Second

// serveLock takes the lock under which the state is read and written.
func (a *app) serveLock() (unlock func(), err error) {
	locks, err := a.dirs.Open(filestore.Options{Warn: func(string) {}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), serveLockTimeout)
	defer cancel()
	return locks.Lock(ctx, store.Key{Server: "serve"}, "state")
}

// read reads the file. One that other users could read is not used. s.mu is held, unless no other
// goroutine has s.
func (s *serveState) read() error {
	info, err := os.Lstat(s.path)
	if err != nil {
		return nil // it is written when there is something to keep
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return errors.New("other users could read " + s.path)
	}
	var kept serveState
	text, err := readRegular(s.path, maxConfig)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", s.path, err)
	}
	if kept.Port > 0 && kept.Port <= 65535 {
		s.servePlace = kept.servePlace
	}
	s.merge(kept.Servers)
	return nil
}

// merge takes over the names that are kept, as far as they can be used. They win over those of
// this process, which remain where nothing contradicts them.
func (s *serveState) merge(kept []serveName) {
	var names []serveName
	for _, n := range slices.Concat(kept, s.Servers) {
		taken := func(o serveName) bool { return o.Name == n.Name || o.Key == n.Key }
		if slug(n.Name) == n.Name && n.Name != "" && n.Key.Server != "" && len(n.Bearer) >= minBearer &&
			!slices.ContainsFunc(names, taken) {
			names = append(names, n)
		}
	}
	s.Servers = names
}

// minBearer is how long a bearer token is at least.
const minBearer = 26

// update changes the state and the file. Meanwhile no other process does, so that none gives a
// name or a token that this one does not know. s.mu is held.
func (s *serveState) update(change func()) error {
	if s.path == "" {
		change()
		return s.unkept
	}
	unlock, err := s.lock()
	if err != nil { // which is not waited for twice
		s.path, s.unkept = "", err
		change()
		return err
	}
	defer unlock()
	_ = s.read() // what cannot be used was warned of, and is replaced
	change()
	return writePrivate(s.path, s)
}

// begin listens with listen, at the port of the last page or any, and notes that this run of the
// page is there. Its secrets for other processes are new: a program that listened on the port
// meanwhile may know the old ones. Of processes that begin at once, the others find the first. It
// returns the place of the last page and err if listen fails; unkept is why nothing is noted.
func (s *serveState) begin(
	listen func(port int) (net.Listener, error),
) (l net.Listener, place servePlace, err, unkept error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unkept = s.update(func() {
		if l, err = listen(s.Port); err == nil {
			s.servePlace = servePlace{l.Addr().(*net.TCPAddr).Port, rand.Text(), rand.Text()}
		}
		place = s.servePlace
	})
	return l, place, err, unkept
}

// name returns the name of a login, which stays the same once it is given.
func (s *serveState) name(key store.Key, alias string) (name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given := func() bool {
		i := slices.IndexFunc(s.Servers, func(n serveName) bool { return n.Key == key })
		if i >= 0 {
			name = s.Servers[i].Name
		}
		return i >= 0
	}
	if given() {
		return name
	}
	_ = s.update(func() { // begin reports what prevents it
		if !given() { // nor by another process
			name = s.give(key, alias)
		}
	})
	return name
}

// give gives a login a name that no other has. s.mu is held.
func (s *serveState) give(key store.Key, alias string) string {
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

// bearer returns the bearer token of a name, or "". Another process may have given the name.
func (s *serveState) bearer(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	named := func(n serveName) bool { return n.Name == name }
	if s.path != "" && !slices.ContainsFunc(s.Servers, named) {
		_ = s.read() // without it, there is no such name
	}
	if i := slices.IndexFunc(s.Servers, named); i >= 0 {
		return s.Servers[i].Bearer
	}
	return ""
}

// runningPage returns what has a link to the page that another process of the user serves at the
// port, if that process proves to be one.
func (p servePlace) runningPage(ctx context.Context, port int) (linker, bool) {
	if p.Control == "" || port != p.Port {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	base := "http://" + p.host()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+webpage.PathLink, nil)
	if err != nil {
		return nil, false
	}
	req.Header.Set("Authorization", "Bearer "+p.Control)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	var link webpage.Link
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 4<<10)).Decode(&link)
	if err != nil || resp.StatusCode != http.StatusOK || link.Proof != p.Proof ||
		!strings.HasPrefix(link.URL, base+"/?") {
		return nil, false
	}
	return fixedLink(link.URL), true
}

// fixedLink is the link to a page of another process.
type fixedLink string

func (l fixedLink) Link(bool) string { return string(l) }
