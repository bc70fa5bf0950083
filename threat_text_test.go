package handstamp_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
)

// poison is what a hostile server says: it clears the screen, sets the window's
// title, turns the text around, hides some of it, and begins a line of its own.
const poison = "fine\x1b[2J\x1b]0;title\a\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\" +
	"\u202egnp.exe\u2066\u200b\u200f\u061c\ufeff\u00ad\u2028\u2029\u0085\u009b31m\x9b31m\x7f\x00\b\r\nhandstamp: all is well\n\U000e0041"

// listener collects everything that a person or a log may be shown.
type listener struct {
	t testing.TB

	mu    sync.Mutex
	texts []string // guarded by mu
}

// hear adds a text.
func (l *listener) hear(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts = append(l.texts, text)
}

// listenTo makes a Client tell everything.
func (l *listener) listenTo(c *handstamp.Client) {
	c.Logger = slog.New(slog.NewTextHandler(lineWriter(l.hear), &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			l.hear(a.Value.String()) // as it is before the handler quotes it
			return a
		},
	}))
	c.Hooks = handstamp.Hooks{
		Refreshed: func(e handstamp.RefreshEvent) { l.hear(e.Server + e.Issuer + fmt.Sprint(e.Err)) },
		LoggedIn:  func(e handstamp.LoginEvent) { l.hear(e.Server + e.Issuer + e.Scope + fmt.Sprint(e.Err)) },
		Notice:    func(server, message string) { l.hear(server + message) },
	}
}

// lineWriter is an io.Writer that hands over each line.
type lineWriter func(string)

func (w lineWriter) Write(p []byte) (int, error) {
	w(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// hearError adds all that an error says.
func (l *listener) hearError(err error) {
	if err == nil {
		return
	}
	l.hear(err.Error())
	var e *handstamp.Error
	if errors.As(err, &e) {
		l.hear(e.Message)
		l.hear(e.Hint)
		l.hear(e.Code)
	}
}

// hearStatus adds what is stored for a server.
func (l *listener) hearStatus(c *handstamp.Client, serverURL string) {
	l.t.Helper()
	status, err := c.Status(l.t.Context(), serverURL)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, text := range []string{
		status.Server, status.Profile, string(status.State), status.Issuer, status.ClientID, status.ClientSource, status.Method,
		status.MethodReason, status.Resource, status.Scope, status.RetryReason,
	} {
		l.hear(text)
	}
	if status.GrantError != nil {
		l.hear(status.GrantError.Code)
		l.hear(status.GrantError.Description)
	}
}

// wantPlain checks that every text is one line of visible characters.
func (l *listener) wantPlain() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.texts) == 0 {
		l.t.Error("nothing was said")
	}
	for _, text := range l.texts {
		for _, r := range text {
			if r != ' ' && !unicode.IsGraphic(r) || r > 0x7f && unicode.IsSpace(r) {
				l.t.Errorf("%+q has the character %U", text, r)
				break
			}
		}
		if !utf8.ValidString(text) {
			l.t.Errorf("%+q is no text", text)
		}
	}
}

// TestWantPlain shows that the check above would find something.
func TestWantPlain(t *testing.T) {
	for _, text := range []string{"\x1b[2J", "a\nb", "\u202e", "\u0085", "\x9b", "\u200b", "\u2028", "a\tb"} {
		l := &listener{t: new(quiet)}
		l.hear(text)
		l.wantPlain()
		if !l.t.Failed() {
			t.Errorf("%+q was found plain", text)
		}
	}
}

// quiet is a testing.TB that only remembers that it failed.
type quiet struct {
	testing.TB
	failed bool
}

func (q *quiet) Helper()               {}
func (q *quiet) Errorf(string, ...any) { q.failed = true }
func (q *quiet) Failed() bool          { return q.failed }

// refusedWith is an OAuth error with poison in every member.
func refusedWith(code string) lab.Fault {
	text, _ := json.Marshal(map[string]string{"error": code, "error_description": poison, "error_uri": poison, "message": poison})
	return lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest, ContentType: "application/json", Body: string(text)}
}

// Nothing that a server says reaches a terminal or a log as it was said.
func TestPoisonedTexts(t *testing.T) {
	poisonAll := func(document map[string]any) {
		for name, value := range document {
			if _, isText := value.(string); isText {
				document[name] = poison
			}
		}
	}
	poisoned := func(member string, value any) func(map[string]any) {
		return func(document map[string]any) { document[member] = value }
	}
	for name, set := range map[string]func(w *world, line *wire){
		"challenge": func(_ *world, line *wire) {
			line.onAnswer(func(_ *http.Request, resp *http.Response) {
				if resp.StatusCode == http.StatusUnauthorized {
					resp.Header.Set("WWW-Authenticate", `Bearer error="`+poison+`", scope="`+poison+`", error_description="`+poison+`", resource_metadata="http://`+poison+`"`)
				}
			})
		},
		"challenge's scope": func(_ *world, line *wire) {
			line.onAnswer(func(_ *http.Request, resp *http.Response) {
				if resp.StatusCode == http.StatusUnauthorized {
					resp.Header.Set("WWW-Authenticate", `Bearer scope="`+poison+`"`)
				}
			})
		},
		"resource": func(_ *world, line *wire) { line.onJSON(atResource, poisoned("resource", poison)) },
		"authorization server": func(_ *world, line *wire) {
			line.onJSON(atResource, poisoned("authorization_servers", []string{poison}))
		},
		"scopes": func(_ *world, line *wire) {
			line.onJSON(atResource, poisoned("scopes_supported", []string{poison, "ok"}))
		},
		"resource's everything": func(_ *world, line *wire) { line.onJSON(atResource, poisonAll) },
		"issuer":                func(_ *world, line *wire) { line.onJSON(atServer, poisoned("issuer", poison)) },
		"issuer, almost":        func(w *world, line *wire) { line.onJSON(atServer, poisoned("issuer", w.lab.Issuer()+poison)) },
		"server's everything":   func(_ *world, line *wire) { line.onJSON(atServer, poisonAll) },
		"registration refused":  func(w *world, _ *wire) { w.lab.SetFault("register", refusedWith("invalid_client_metadata")) },
		"registration's code":   func(w *world, _ *wire) { w.lab.SetFault("register", refusedWith(poison)) },
		"registration":          func(_ *world, line *wire) { line.onJSON(atRegister, poisonAll) },
		"client name":           func(_ *world, line *wire) { line.onJSON(atRegister, poisoned("client_name", poison)) },
		"method": func(_ *world, line *wire) {
			line.onJSON(atRegister, poisoned("token_endpoint_auth_method", "x\x1b[2J"))
		},
		"code refused":   func(w *world, _ *wire) { w.lab.SetFault("token", refusedWith("invalid_grant")) },
		"client refused": func(w *world, _ *wire) { w.lab.SetFault("token", refusedWith("invalid_client")) },
		"scope refused":  func(w *world, _ *wire) { w.lab.SetFault("token", refusedWith("invalid_scope")) },
		"error code":     func(w *world, _ *wire) { w.lab.SetFault("token", refusedWith(poison)) },
		"token type":     func(_ *world, line *wire) { line.onJSON(atToken, poisoned("token_type", poison)) },
		"token's scope":  func(_ *world, line *wire) { line.onJSON(atToken, poisoned("scope", poison)) },
		"location of a document": func(w *world, _ *wire) {
			w.lab.SetFault("*", lab.Fault{Kind: lab.FaultRedirect, Location: "/" + strings.ReplaceAll(poison, "\n", "")})
		},
		"content type and status": func(w *world, _ *wire) {
			w.lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 999, ContentType: "x/\x9b31m", Body: poison})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.NoneFirst())
			c, line := w.wired()
			l := &listener{t: t}
			l.listenTo(c)
			set(w, line)
			l.hearError(w.login(c))
			l.hearError(w.call(c))
			l.hearStatus(c, w.lab.MCPURL())
			l.wantPlain()
		})
	}
}

// The same for what a server says of a login that it has granted before.
func TestPoisonedRefusals(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_client", "server_error", poison} {
		for _, kind := range []string{"dynamic", "configured"} {
			t.Run(fmt.Sprintf("%.20q %s", code, kind), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, lab.Habits{})
				c, _ := w.wired()
				if kind == "configured" {
					w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "secret", Method: lab.MethodPost})
					c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "secret", TokenEndpointAuthMethod: lab.MethodPost}
				}
				w.mustLogin(c)
				w.lab.SetFault("token", refusedWith(code))
				w.lab.SetFault("revoke", refusedWith(code))
				w.expire()
				d, _ := w.wired()
				d.Registration = c.Registration
				d.LoginPolicy = handstamp.LoginNever
				l := &listener{t: t}
				l.listenTo(d)
				l.hearError(w.call(d))
				l.hearStatus(d, w.lab.MCPURL())
				result, err := d.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{})
				l.hearError(err)
				if err == nil {
					l.hearError(result.RevokeError)
				}
				l.wantPlain()
			})
		}
	}
}

// And for what comes back through the browser.
func TestPoisonedCallback(t *testing.T) {
	for name, change := range map[string]func(params url.Values){
		"description": func(p url.Values) {
			p["error"], p["error_description"], p["error_uri"] = []string{"access_denied"}, []string{poison}, []string{poison}
		},
		"error":  func(p url.Values) { p["error"] = []string{poison} },
		"issuer": func(p url.Values) { p["iss"] = []string{poison} },
		"state":  func(p url.Values) { p["state"] = []string{poison} },
		"code":   func(p url.Values) { p["code"] = []string{poison} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, lab.Habits{})
			c := w.session()
			c.Prompt = w.answering(change)
			l := &listener{t: t}
			l.listenTo(c)
			err := w.login(c)
			if err == nil {
				t.Error("the login worked")
			}
			l.hearError(err)
			l.wantPlain()
		})
	}
}

// A server that does not even speak HTTP is quoted by the libraries below.
func TestPoisonedProtocol(t *testing.T) {
	for name, answer := range map[string]string{
		"status line": poison,
		"header":      "HTTP/1.1 200 OK\r\n\x1b[2J\u202ehack\r\n\r\n",
		"encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x1b[2J\r\n\r\n",
		"chunk":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\r\n",
		"location":    "HTTP/1.1 302 Found\r\nLocation: http://\x1b[2J\u202e/\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { socket.Close() })
			go func() {
				for {
					conn, err := socket.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						conn.SetDeadline(time.Now().Add(10 * time.Second))
						// The head is all there is to wait for.
						for r := bufio.NewReader(conn); ; {
							if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) == "" {
								break
							}
						}
						io.WriteString(conn, answer)
					}()
				}
			}()
			serverURL := "http://" + socket.Addr().String() + atMCP
			c := &handstamp.Client{}
			l := &listener{t: t}
			l.listenTo(c)
			_, err = c.Login(t.Context(), serverURL, handstamp.LoginOptions{})
			if err == nil {
				t.Error("the login worked")
			}
			l.hearError(err)

			// The same of an authorization server, while the MCP server is sane.
			w := newWorld(t, lab.Habits{})
			d, _ := w.wired()
			l.listenTo(d)
			w.mustLogin(d)
			rec := w.record()
			rec.Grant.TokenEndpoint = "http://" + socket.Addr().String() + atToken
			rec.Grant.RevocationEndpoint = "http://" + socket.Addr().String() + atRevoke
			rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
			if err := record.Put(t.Context(), w.store, rec); err != nil {
				t.Fatal(err)
			}
			d, _ = w.wired()
			d.AuthTransport = nil
			l.listenTo(d)
			l.hearError(w.call(d))
			l.hearStatus(d, w.lab.MCPURL())
			result, err := d.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			l.hearError(result.RevokeError)
			l.wantPlain()
		})
	}
}
