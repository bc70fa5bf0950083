package security_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// A token is sent exactly as it was issued, or not at all: what could end a
// header and begin another one is rejected before any request.
func TestBytesInAccessToken(t *testing.T) {
	w := testenv.New(t, lab.Habits{Rotation: lab.RotateNone})
	c, _ := w.Recorded()
	w.MustLogin(c)
	before := w.Record()

	for b := range 256 {
		for name, value := range map[string]string{"inside": "A\\u%04xZ", "at the end": "A\\u%04x"} {
			token := fmt.Sprintf(value, b)
			good := b > ' ' && b < 0x7f
			w.Store = new(store.Memory)
			fresh := before.Clone()
			fresh.Revision = ""
			if err := record.Put(t.Context(), w.Store, fresh); err != nil {
				t.Fatal(err)
			}
			c, line := w.Recorded()
			line.OnResponse(func(req *http.Request, resp *http.Response) {
				if req.URL.Path == testenv.AtToken {
					testenv.SetBody(resp, []byte(`{"token_type":"Bearer","expires_in":3600,"access_token":"`+token+`"}`))
				}
			})
			got, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
			if good {
				if err != nil || got.Value.Reveal() != strings.Replace(token, fmt.Sprintf("\\u%04x", b), string(rune(b)), 1) {
					t.Errorf("%#02x %s: %v", b, name, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%#02x %s was accepted as a part of a token", b, name)
			}
			testenv.WantKind(t, err, handstamp.ErrUnreachable)
			if n := len(line.Requests(0)); n != 1 {
				t.Errorf("%#02x %s: asked %d times", b, name, n)
			}
			if rec := w.Record(); rec.Grant.RefreshToken != before.Grant.RefreshToken || rec.Grant.AccessToken != before.Grant.AccessToken {
				t.Errorf("%#02x %s: the credential was not kept", b, name)
			}
		}
	}
}

// injections are values that would do something other than stand in a header.
var injections = []string{
	"A2\r\nX-Evil: 1", "A2\nX-Evil: 1", "A2\rX-Evil", "A2 X", " A2", "A2\x00", "A2\x7f", "A2\u0085", "A2\u2028", "A2\ufeff", strings.Repeat("A", 40<<10),
}

// Whatever a login brings that is to be sent later, it is looked at first.
func TestInjectionThroughLogin(t *testing.T) {
	for at, members := range map[string][]string{
		testenv.AtToken:    {"access_token", "refresh_token", "token_type"},
		testenv.AtRegister: {"client_id", "client_secret", "token_endpoint_auth_method"},
	} {
		for _, member := range members {
			for _, value := range injections {
				if strings.Trim(value, "A2X ") == "" && len(value) < 100 && (member == "refresh_token" || member == "client_id") {
					continue // a space may be there (RFC 6749 appendix A), and does no harm in a form
				}
				t.Run(fmt.Sprintf("%s %.20q", member, value), func(t *testing.T) {
					t.Parallel()
					w := testenv.New(t, lab.NoneFirst())
					c, line := w.Recorded()
					line.OnJSON(at, func(document map[string]any) { document[member] = value })
					err := w.Login(c)
					if err == nil {
						t.Fatalf("the login worked with %s %.20q", member, value)
					}
					if !errors.Is(err, handstamp.ErrProtocol) && !errors.Is(err, handstamp.ErrRegistrationRequired) {
						t.Errorf("error %v, want ErrProtocol", err)
					}
					if strings.Contains(err.Error(), "X-Evil: 1") && strings.ContainsAny(err.Error(), "\r\n\x00") {
						t.Errorf("the error repeats the value: %q", err)
					}
					for _, r := range line.Requests(0) {
						if strings.Contains(r.Raw, "\nX-Evil") {
							t.Errorf("a header was injected:\n%s", r.Raw)
						}
					}
				})
			}
		}
	}
}

// What comes in a stored record is sent as it is or not at all, too: records are
// files, and may have been written by something else.
func TestInjectionThroughRecord(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c, _ := w.Recorded()
	w.MustLogin(c)
	for _, value := range injections {
		rec := w.Record()
		rec.Grant.AccessToken = secret.String(value)
		if err := record.Put(t.Context(), w.Store, rec); err != nil {
			t.Fatal(err)
		}
		line := testenv.NewRecorder(http.DefaultTransport)
		c := w.Session()
		c.BaseTransport, c.AuthTransport = line, line
		c.Prompt = handstamp.Prompt{Authorize: w.Consent}
		_ = w.Call(c) // however it ends
		for _, r := range line.Requests(0) {
			if strings.Contains(r.Raw, "\nX-Evil") {
				t.Errorf("a header was injected:\n%s", r.Raw)
			}
		}
	}
}
