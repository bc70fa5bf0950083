package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// twistedDevice is a session at a server with another response at its device authorization endpoint.
func twistedDevice(w *testenv.Env, change func(map[string]any), act func(handstamp.DeviceAuthorization)) *handstamp.Client {
	c := deviceSession(w, act)
	line := testenv.NewRecorder(w.Transport())
	line.OnJSON("/device", change)
	c.BaseTransport, c.AuthTransport = line, line
	return c
}

// The interval and the life of a code may be any number: the server is polled neither without a
// pause nor too late for the user who entered the code in time.
func TestDeviceIntervals(t *testing.T) {
	for name, members := range map[string]map[string]any{
		"none":                      {"interval": 0},
		"negative":                  {"interval": -5},
		"a fraction":                {"interval": 0.001},
		"a string":                  {"interval": "0.001"},
		"a word":                    {"interval": "soon"},
		"huge":                      {"interval": 1e300},
		"longer than the code":      {"interval": 600, "expires_in": 60},
		"as long as the code":       {"interval": 60, "expires_in": 60},
		"in milliseconds":           {"interval": 5000, "expires_in": 120},
		"no life":                   {"expires_in": nil},
		"a life in another century": {"expires_in": 1e12},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, deviceHabits(lab.Device{}), func(t *testing.T, w *testenv.Env) {
				w.MustLogin(twistedDevice(w, func(response map[string]any) {
					for name, value := range members {
						response[name] = value
					}
				}, func(d handstamp.DeviceAuthorization) {
					time.AfterFunc(30*time.Second, func() { approve(t, w)(d) })
				}))
				if n := w.Lab.Counts()["token:device"]; n > 31 {
					t.Errorf("%d polls in half a minute", n)
				}
			})
		})
	}
}

// A failed poll does not make the next one come sooner than the server wants it.
func TestDeviceIntervalAfterTrouble(t *testing.T) {
	testenv.InBubble(t, deviceHabits(lab.Device{Interval: 120, EnforceInterval: true, Lifetime: 3000}), func(t *testing.T, w *testenv.Env) {
		w.Lab.SetFault("token:device", lab.Fault{Kind: lab.FaultStatus, Status: 503, Times: 1})
		w.MustLogin(deviceSession(w, func(d handstamp.DeviceAuthorization) {
			began := time.Now()
			time.AfterFunc(200*time.Second, func() { approve(t, w)(d) })
			t.Cleanup(func() {
				if took := time.Since(began); took < 240*time.Second {
					t.Errorf("polled again after %v", took-120*time.Second)
				}
			})
		}))
	})
}

// A verification URI that no browser should open is not shown, nor stored for other sessions.
func TestHostileVerificationURI(t *testing.T) {
	hostile := []string{
		"javascript:alert(1)", "file:///etc/passwd", "http://as.lab.test/device", "https://user:pw@as.lab.test/device",
		"https://as.lab.test/\x1b[2J", "https://as.lab.test/\u202egpj", "//as.lab.test/device", "/device", "",
		"http://127.0.0.1:8080/reset", "https://192.168.1.1/", "http://localhost/", "https://169.254.169.254/latest", "https://router.local/",
		"https://[::1]/", "https://2130706433/", "https://as.lab.test/$(reboot)`id`",
	}
	for _, uri := range hostile {
		testenv.InBubble(t, deviceHabits(lab.Device{}), func(t *testing.T, w *testenv.Env) {
			err := w.Login(twistedDevice(w, func(response map[string]any) {
				response["verification_uri"] = uri
			}, func(d handstamp.DeviceAuthorization) { t.Errorf("the user is shown %q", d.VerificationURI) }))
			if !errors.Is(err, handstamp.ErrProtocol) {
				t.Errorf("%q: %v, want ErrProtocol", uri, err)
			}
		})
		testenv.InBubble(t, deviceHabits(lab.Device{}), func(t *testing.T, w *testenv.Env) {
			w.MustLogin(twistedDevice(w, func(response map[string]any) {
				response["verification_uri_complete"] = uri
			}, func(d handstamp.DeviceAuthorization) {
				if d.VerificationURIComplete != "" || d.VerificationURI == "" {
					t.Errorf("the user is shown %+v", d)
				}
				approve(t, w)(d)
			}))
		})
	}
}

// The user is shown no time that the login does not have.
func TestDeviceCodeOutlivesTheLogin(t *testing.T) {
	testenv.InBubble(t, deviceHabits(lab.Device{Lifetime: 1800}), func(t *testing.T, w *testenv.Env) {
		c := deviceSession(w, func(d handstamp.DeviceAuthorization) {
			if left := time.Until(d.ExpiresAt); left > 2*time.Minute {
				t.Errorf("the code is shown to be good for %v", left)
			}
		})
		c.LoginTimeout = 2 * time.Minute
		if err := w.Login(c); !errors.Is(err, handstamp.ErrTimeout) {
			t.Errorf("%v, want ErrTimeout", err)
		}
	})
}

// Where no client can be registered for it, the message names no redirect URI, which such a client
// does not have.
func TestDeviceLoginNeedsARegisteredClient(t *testing.T) {
	h := deviceHabits(lab.Device{})
	h.NoRegistration = true
	testenv.InBubble(t, h, func(t *testing.T, w *testenv.Env) {
		err := w.Login(deviceSession(w, func(handstamp.DeviceAuthorization) {}))
		if !errors.Is(err, handstamp.ErrRegistrationRequired) || strings.Contains(err.Error(), "redirect URI") {
			t.Errorf("%v", err)
		}
	})
}

// What a gateway or a broken server responds instead of a device authorization is no code.
func TestDeviceAuthorizationThatIsNone(t *testing.T) {
	utf16 := "\xff\xfe{\x00\"\x00d\x00\"\x00:\x001\x00}\x00"
	for name, fault := range map[string]lab.Fault{
		"a page":   {Kind: lab.FaultHTML},
		"nothing":  {Kind: lab.FaultStatus, Status: 204},
		"UTF-16":   {Kind: lab.FaultStatus, Status: 200, ContentType: "application/json; charset=utf-16", Body: utf16},
		"no URI":   {Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: `{"device_code":"a","user_code":"b"}`},
		"no code":  {Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: `{"device_code":"a","verification_uri":"https://as.lab.test/"}`},
		"escapes":  {Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: "{\"device_code\":\"a\",\"user_code\":\"\\u001b[2J\\u202e\",\"verification_uri\":\"https://as.lab.test/\"}"},
		"cut":      {Kind: lab.FaultCutBody},
		"endless":  {Kind: lab.FaultEndless},
		"rejected": {Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"unauthorized_client"}`},
		"redirect": {Kind: lab.FaultRedirect, Location: "https://evil.test/device"},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, deviceHabits(lab.Device{}), func(t *testing.T, w *testenv.Env) {
				w.Lab.SetFault("device_authorization", fault)
				c := deviceSession(w, func(d handstamp.DeviceAuthorization) { t.Errorf("the user is shown %+v", d) })
				err := w.Login(c)
				if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("%q", err)
				}
				t.Log(err)
			})
		})
	}
}

// A byte order mark before the response changes nothing.
func TestDeviceAuthorizationWithAByteOrderMark(t *testing.T) {
	testenv.InBubble(t, deviceHabits(lab.Device{}), func(t *testing.T, w *testenv.Env) {
		c := deviceSession(w, approve(t, w))
		line := testenv.NewRecorder(w.Transport())
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if strings.Contains(req.URL.Path, "/device") || strings.Contains(req.URL.Path, "/token") {
				testenv.SetBody(resp, []byte("\ufeff"+testenv.Body(t, resp)))
			}
		})
		c.BaseTransport, c.AuthTransport = line, line
		w.MustLogin(c)
	})
}

// A login that is canceled, or that ends while the server is not there, ends at once and leaves
// nothing for other sessions to wait for.
func TestDeviceLoginIsCanceled(t *testing.T) {
	testenv.InBubble(t, deviceHabits(lab.Device{}), func(t *testing.T, w *testenv.Env) {
		w.Lab.SetFault("token:device", lab.Fault{Kind: lab.FaultStatus, Status: 503})
		ctx, cancel := context.WithCancel(t.Context())
		c := deviceSession(w, func(handstamp.DeviceAuthorization) { time.AfterFunc(31*time.Second, cancel) })
		began := time.Now()
		_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{})
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 35*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		w.Lab.SetFault("token:device")
		w.MustLogin(deviceSession(w, approve(t, w)))
	})
}
