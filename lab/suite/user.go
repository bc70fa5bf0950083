package suite

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// user acts as the user at the cell's machine, who consents to every page in the browser.
type user struct {
	forged bool         // an attacker's page is in the browser, too
	client *http.Client // of the browser; nil: the usual one
	device bool         // the user enters codes by hand, whatever a program opens

	ctx  context.Context // ends with close
	end  context.CancelFunc
	work sync.WaitGroup

	mu   sync.Mutex // guards tabs
	tabs []string   // every URL that was opened
}

// tabTimeout bounds the time of a tab.
const tabTimeout = 20 * time.Second

func newUser(ctx context.Context, forged bool, client *http.Client) *user {
	p := &user{forged: forged, client: client}
	p.ctx, p.end = context.WithCancel(ctx)
	return p
}

// close closes every tab.
func (p *user) close() {
	p.end()
	p.work.Wait()
}

// open opens a tab.
func (p *user) open(rawurl string) {
	p.mu.Lock()
	if !p.device {
		p.tabs = append(p.tabs, rawurl)
	}
	p.mu.Unlock()
	if p.device {
		return
	}
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, tabTimeout)
		defer cancel()
		if p.forged {
			forge(ctx, rawurl)
		}
		// Only the user sees the page; the counts show the rest.
		if p.client != nil {
			_, _ = lab.BrowseWith(ctx, p.client, rawurl)
			return
		}
		_, _ = lab.Browse(ctx, rawurl)
	})
}

// codePause is how often the user looks whether a device shows a code.
const codePause = 20 * time.Millisecond

// watch makes the user enter the code of each device by hand, which counts as a tab. The device has
// polled once before the user is done.
func (p *user) watch(server *lab.Server) {
	p.device = true
	polls := func() int { return server.Counts()["token:device"] }
	p.work.Go(func() {
		before := make(map[string]int) // polls when the user saw the code, by code
		for p.ctx.Err() == nil {
			for _, code := range server.DeviceCodes() {
				if _, seen := before[code]; !seen {
					before[code] = polls()
				}
				if polls() == before[code] {
					continue
				}
				p.mu.Lock()
				p.tabs = append(p.tabs, server.URL()+"/device")
				p.mu.Unlock()
				_ = server.ApproveDevice(code) // one that has just run out is the client's matter
			}
			select {
			case <-p.ctx.Done():
			case <-time.After(codePause):
			}
		}
	})
}

// tabsOpened returns how many tabs were opened, and those that no browser may open.
func (p *user) tabsOpened() (n int, wrong []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, tab := range p.tabs {
		if !strings.HasPrefix(tab, "http://") && !strings.HasPrefix(tab, "https://") {
			wrong = append(wrong, tab)
		}
	}
	return len(p.tabs), wrong
}

// forge calls the redirect URI of an authorization request with an attacker's code and state.
func forge(ctx context.Context, rawurl string) {
	u, err := url.Parse(rawurl)
	if err != nil {
		return
	}
	target, err := url.Parse(u.Query().Get("redirect_uri"))
	if err != nil || target.Host == "" {
		return
	}
	target.RawQuery = url.Values{"code": {"forged-code"}, "state": {"forged-state"},
		"iss": {u.Scheme + "://" + u.Host}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return
	}
	// The user continues whatever the response is.
	if response, err := http.DefaultClient.Do(r); err == nil {
		response.Body.Close()
	}
}

// browsers are the programs that open a browser, here or there.
var browsers = [...]string{
	"xdg-open", "open", "x-www-browser", "www-browser", "sensible-browser", "wslview", "gio", "firefox", "google-chrome",
	"chromium", "chromium-browser",
}

// home makes a user's home in dir, with programs in it that open tabs with p,
// and returns the environment of the user's processes.
func (p *user) home(dir string, environ []string) ([]string, error) {
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return nil, err
	}
	script, err := p.listen(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range browsers {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			return nil, err
		}
	}
	env := slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		return strings.HasPrefix(name, "HANDSTAMP_") || strings.HasPrefix(name, "XDG_") ||
			strings.HasPrefix(name, "MCP_REMOTE_") ||
			name == "WAYLAND_DISPLAY" || name == "DBUS_SESSION_BUS_ADDRESS" || name == "CI" || name == "SSH_CONNECTION" || name == "SSH_TTY"
	})
	cache := os.Getenv("npm_config_cache")
	if cache == "" {
		if user, err := os.UserHomeDir(); err == nil {
			cache = filepath.Join(user, ".npm")
		}
	}
	return append(env,
		"HOME="+dir,
		"HANDSTAMP_STORE=file", // the keyring is of whoever runs the suite
		"USERPROFILE="+dir,
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"BROWSER="+filepath.Join(bin, "xdg-open"),
		"DISPLAY=:0", // or there would be nothing to open a browser on
		"npm_config_cache="+cache,
	), nil
}
