package handstamp_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The query of a server's URL may have a key: neither a log nor the text of an error contains it.
func TestLogHasNoQueryOfAServer(t *testing.T) {
	const key = "c4n4ry-of-a-query"
	w := testenv.New(t, lab.NoneFirst())
	server := w.Lab.MCPURL() + "?api_key=" + key
	var log bytes.Buffer
	session := func() *handstamp.Client {
		c := w.Session()
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.LoginPolicy = handstamp.LoginNever
		return c
	}
	token := func(want error) {
		t.Helper()
		_, err := session().Token(t.Context(), server, handstamp.TokenOptions{Refresh: true})
		switch {
		case want == nil && err != nil:
			t.Fatal(err)
		case want != nil:
			testenv.WantKind(t, err, want)
			log.WriteString(err.Error())
		}
	}
	token(handstamp.ErrLoginRequired)
	if _, err := session().Login(t.Context(), server, handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	token(nil)
	c := session()
	c.Hooks.Event = func(handstamp.Event) { panic("no") }
	if err := testenv.Call(t.Context(), c.HTTPClient(server), server); err != nil {
		t.Fatal(err)
	}
	w.Lab.RevokeFamilies()
	token(handstamp.ErrLoginRequired)
	if _, err := session().Logout(t.Context(), server, handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	for _, part := range []string{`"server":"` + w.Lab.MCPURL() + `"`, "not signed in to " + w.Lab.MCPURL(), "sign in to " + w.Lab.MCPURL(), "the hook panics"} {
		if !strings.Contains(text, part) {
			t.Errorf("the log does not have %s", part)
		}
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, key) {
			t.Errorf("a record has the query: %s", line)
		}
	}
}
