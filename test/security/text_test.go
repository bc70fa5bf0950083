package security_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// poison is text of a hostile server: it clears the screen, sets the window's
// title, turns the text around, hides some of it, and begins a line of its own.
const poison = "fine\x1b[2J\x1b]0;title\a\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\" +
	"\u202egnp.exe\u2066\u200b\u200f\u061c\ufeff\u00ad\u2028\u2029\u0085\u009b31m\x9b31m\x7f\x00\b\r\nhandstamp: all is well\n\U000e0041"

// TestWantPlain shows that the check above would find something.
func TestWantPlain(t *testing.T) {
	for _, text := range []string{"\x1b[2J", "a\nb", "\u202e", "\u0085", "\x9b", "\u200b", "\u2028", "a\tb"} {
		l := &testenv.Output{T: new(quiet)}
		l.Add(text)
		l.WantPlain()
		if !l.T.Failed() {
			t.Errorf("%+q was found plain", text)
		}
	}
}

// quiet is a testing.TB that only remembers that it failed.
type quiet struct {
	testing.TB
	failed bool
}

func (q *quiet) Helper() {}

func (q *quiet) Errorf(string, ...any) { q.failed = true }

func (q *quiet) Failed() bool { return q.failed }

// rejectedWith is an OAuth error with poison in every member.
func rejectedWith(code string) lab.Fault {
	text, _ := json.Marshal(map[string]string{"error": code, "error_description": poison, "error_uri": poison, "message": poison})
	return lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest, ContentType: "application/json", Body: string(text)}
}

// No text of a server reaches a terminal or a log unescaped.
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
	for name, set := range map[string]func(w *testenv.Env, line *testenv.Recorder){
		"challenge": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnResponse(func(_ *http.Request, resp *http.Response) {
				if resp.StatusCode == http.StatusUnauthorized {
					resp.Header.Set("WWW-Authenticate", `Bearer error="`+poison+`", scope="`+poison+`", error_description="`+poison+`", resource_metadata="http://`+poison+`"`)
				}
			})
		},
		"challenge's scope": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnResponse(func(_ *http.Request, resp *http.Response) {
				if resp.StatusCode == http.StatusUnauthorized {
					resp.Header.Set("WWW-Authenticate", `Bearer scope="`+poison+`"`)
				}
			})
		},
		"resource": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtResource, poisoned("resource", poison))
		},
		"authorization server": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtResource, poisoned("authorization_servers", []string{poison}))
		},
		"scopes": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtResource, poisoned("scopes_supported", []string{poison, "ok"}))
		},
		"resource's everything": func(_ *testenv.Env, line *testenv.Recorder) { line.OnJSON(testenv.AtResource, poisonAll) },
		"issuer": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtServer, poisoned("issuer", poison))
		},
		"issuer, almost": func(w *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtServer, poisoned("issuer", w.Lab.Issuer()+poison))
		},
		"server's everything": func(_ *testenv.Env, line *testenv.Recorder) { line.OnJSON(testenv.AtServer, poisonAll) },
		"registration rejected": func(w *testenv.Env, _ *testenv.Recorder) {
			w.Lab.SetFault("register", rejectedWith("invalid_client_metadata"))
		},
		"registration's code": func(w *testenv.Env, _ *testenv.Recorder) { w.Lab.SetFault("register", rejectedWith(poison)) },
		"registration":        func(_ *testenv.Env, line *testenv.Recorder) { line.OnJSON(testenv.AtRegister, poisonAll) },
		"client name": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtRegister, poisoned("client_name", poison))
		},
		"method": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtRegister, poisoned("token_endpoint_auth_method", "x\x1b[2J"))
		},
		"code rejected":   func(w *testenv.Env, _ *testenv.Recorder) { w.Lab.SetFault("token", rejectedWith("invalid_grant")) },
		"client rejected": func(w *testenv.Env, _ *testenv.Recorder) { w.Lab.SetFault("token", rejectedWith("invalid_client")) },
		"scope rejected":  func(w *testenv.Env, _ *testenv.Recorder) { w.Lab.SetFault("token", rejectedWith("invalid_scope")) },
		"error code":      func(w *testenv.Env, _ *testenv.Recorder) { w.Lab.SetFault("token", rejectedWith(poison)) },
		"token type": func(_ *testenv.Env, line *testenv.Recorder) {
			line.OnJSON(testenv.AtToken, poisoned("token_type", poison))
		},
		"token's scope": func(_ *testenv.Env, line *testenv.Recorder) { line.OnJSON(testenv.AtToken, poisoned("scope", poison)) },
		"location of a document": func(w *testenv.Env, _ *testenv.Recorder) {
			w.Lab.SetFault("*", lab.Fault{Kind: lab.FaultRedirect, Location: "/" + strings.ReplaceAll(poison, "\n", "")})
		},
		"content type and status": func(w *testenv.Env, _ *testenv.Recorder) {
			w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 999, ContentType: "x/\x9b31m", Body: poison})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := testenv.New(t, lab.NoneFirst())
			c, line := w.Recorded()
			l := &testenv.Output{T: t}
			l.Attach(c)
			set(w, line)
			l.AddError(w.Login(c))
			l.AddError(w.Call(c))
			l.AddStatus(c, w.Lab.MCPURL())
			l.WantPlain()
		})
	}
}

// The same for errors of a server about a login that it has granted before.
func TestPoisonedRejections(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_client", "server_error", poison} {
		for _, kind := range []string{"dynamic", "configured"} {
			t.Run(fmt.Sprintf("%.20q %s", code, kind), func(t *testing.T) {
				t.Parallel()
				testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
					c, _ := w.Recorded()
					if kind == "configured" {
						w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "secret", Method: lab.MethodPost})
						c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "secret", TokenEndpointAuthMethod: lab.MethodPost}
					}
					w.MustLogin(c)
					w.Lab.SetFault("token", rejectedWith(code))
					w.Lab.SetFault("revoke", rejectedWith(code))
					w.Expire()
					d, _ := w.Recorded()
					d.Registration = c.Registration
					d.LoginPolicy = handstamp.LoginNever
					l := &testenv.Output{T: t}
					l.Attach(d)
					l.AddError(w.Call(d))
					l.AddStatus(d, w.Lab.MCPURL())
					result, err := d.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
					l.AddError(err)
					if err == nil {
						l.AddError(result.RevokeError)
					}
					l.WantPlain()
				})
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
			w := testenv.New(t, lab.Habits{})
			c := w.Session()
			c.Prompt = responding(w, change)
			l := &testenv.Output{T: t}
			l.Attach(c)
			err := w.Login(c)
			if err == nil {
				t.Error("the login worked")
			}
			l.AddError(err)
			l.WantPlain()
		})
	}
}

// A server that does not even speak HTTP is quoted by the libraries below.
func TestPoisonedProtocol(t *testing.T) {
	for name, response := range map[string]string{
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
						io.WriteString(conn, response)
					}()
				}
			}()
			serverURL := "http://" + socket.Addr().String() + testenv.AtMCP
			c := &handstamp.Client{}
			l := &testenv.Output{T: t}
			l.Attach(c)
			_, err = c.Login(t.Context(), serverURL, handstamp.LoginOptions{})
			if err == nil {
				t.Error("the login worked")
			}
			l.AddError(err)

			// The same of an authorization server, while the MCP server is sane.
			w := testenv.New(t, lab.Habits{})
			d, _ := w.Recorded()
			l.Attach(d)
			w.MustLogin(d)
			rec := w.Record()
			rec.Grant.TokenEndpoint = "http://" + socket.Addr().String() + testenv.AtToken
			rec.Grant.RevocationEndpoint = "http://" + socket.Addr().String() + testenv.AtRevoke
			rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
			if err := record.Put(t.Context(), w.Store, rec); err != nil {
				t.Fatal(err)
			}
			d, _ = w.Recorded()
			d.AuthTransport = nil
			l.Attach(d)
			l.AddError(w.Call(d))
			l.AddStatus(d, w.Lab.MCPURL())
			result, err := d.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			l.AddError(result.RevokeError)
			l.WantPlain()
		})
	}
}
