package testenv

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/handstamp/handstamp"
)

// Output collects everything that a user or a log may be shown.
type Output struct {
	T testing.TB

	mu    sync.Mutex
	Texts []string // guarded by mu
}

// Add adds a text.
func (l *Output) Add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Texts = append(l.Texts, text)
}

// Attach collects everything that a Client logs or reports to its hooks.
func (l *Output) Attach(c *handstamp.Client) {
	c.Logger = slog.New(slog.NewTextHandler(LineWriter(l.Add), &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			l.Add(a.Value.String()) // as it is before the handler quotes it
			return a
		},
	}))
	c.Hooks = handstamp.Hooks{
		Refreshed: func(e handstamp.RefreshEvent) { l.Add(e.Server + e.Issuer + fmt.Sprint(e.Err)) },
		LoggedIn:  func(e handstamp.LoginEvent) { l.Add(e.Server + e.Issuer + e.Scope + fmt.Sprint(e.Err)) },
		Notice:    func(server, message string) { l.Add(server + message) },
		Event:     func(e handstamp.Event) { l.Add(e.String()) },
	}
}

// LineWriter is an io.Writer that hands over each line.
type LineWriter func(string)

func (w LineWriter) Write(p []byte) (int, error) {
	w(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// AddError adds all texts of an error.
func (l *Output) AddError(err error) {
	if err == nil {
		return
	}
	l.Add(err.Error())
	var e *handstamp.Error
	if errors.As(err, &e) {
		l.Add(e.Message)
		l.Add(e.Hint)
		l.Add(e.Code)
	}
}

// AddStatus adds what is stored for a server.
func (l *Output) AddStatus(c *handstamp.Client, serverURL string) {
	l.T.Helper()
	status, err := c.Status(l.T.Context(), serverURL)
	if err != nil {
		l.T.Fatal(err)
	}
	for _, text := range []string{
		status.Server, status.Profile, string(status.State), status.Issuer, status.ClientID, status.ClientSource, status.Method,
		status.MethodReason, status.Resource, status.Scope, status.RetryReason,
	} {
		l.Add(text)
	}
	if status.GrantError != nil {
		l.Add(status.GrantError.Code)
		l.Add(status.GrantError.Description)
	}
}

// WantPlain checks that every text is one line of visible characters.
func (l *Output) WantPlain() {
	l.T.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.Texts) == 0 {
		l.T.Error("no output")
	}
	for _, text := range l.Texts {
		for _, r := range text {
			if r != ' ' && !unicode.IsGraphic(r) || r > 0x7f && unicode.IsSpace(r) {
				l.T.Errorf("%+q has the character %U", text, r)
				break
			}
		}
		if !utf8.ValidString(text) {
			l.T.Errorf("%+q is no text", text)
		}
	}
}
