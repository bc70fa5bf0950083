package handstamp_test

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
)

// TestPortIsKeptWhileNobodyWasAsked checks that a login which registers its client
// anew does not give its port back in between: another process could take it,
// and the login would end. A connection to the port tells.
func TestPortIsKeptWhileNobodyWasAsked(t *testing.T) {
	w := newWorld(t, personality(t, "forgot-client-page"))
	w.mustCall(w.session())
	w.lab.RevokeFamilies()
	w.lab.ForgetClients()
	c, line := w.wired()
	c.Prompt = handstamp.Prompt{OpenURL: w.openURL}
	var visitor net.Conn
	line.onAnswer(func(r *http.Request, _ *http.Response) {
		switch r.URL.Path {
		case "/authorize": // the look before the browser opens
			u, err := url.Parse(r.URL.Query().Get("redirect_uri"))
			if err != nil {
				t.Error(err)
				return
			}
			if visitor, err = net.Dial("tcp", u.Host); err != nil {
				t.Error(err)
			}
		case "/register":
			visitor.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := visitor.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the port was given back: %v", err)
			}
			visitor.Close()
		}
	})
	w.mustCall(c)
	w.wantTabs(2)
	if visitor == nil {
		t.Error("nobody has looked before the browser opened")
	}
}
