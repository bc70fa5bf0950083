package cli

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp"
)

// anewHintDelay is how long a login may wait for a callback before the user is told how
// to register the client anew.
const anewHintDelay = 20 * time.Second

// anewPaste reads what the user pastes, or the word that the page shows an error. Its
// methods may be called by different goroutines, paste by one at a time.
type anewPaste struct {
	app   *app
	lines *lineReader

	mu      sync.Mutex
	offered bool // the login can go on with another client
}

// show notes whether the login that begins can go on with another client.
func (p *anewPaste) show(r handstamp.AuthorizationRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offered = r.CanRegisterAnew
}

// paste is handstamp.Prompt.Paste.
func (p *anewPaste) paste(ctx context.Context) (string, error) {
	p.mu.Lock()
	offered := p.offered
	p.mu.Unlock()
	if offered && !p.app.global.json {
		hint := time.AfterFunc(anewHintDelay, func() {
			p.app.err.note("", "If the page shows an error, press r to register anew (and Enter)")
		})
		defer hint.Stop()
	}
	text, err := p.lines.next(ctx)
	if err == nil && offered && strings.EqualFold(text, "r") {
		return "", handstamp.ErrRegisterAnew
	}
	return text, err
}
