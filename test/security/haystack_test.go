package security_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
)

// haystack collects all that a program says while it lives.
type haystack struct {
	mu     sync.Mutex
	straws []straw // guarded by mu
}

// straw is a text and where it comes from.
type straw struct{ where, text string }

// add adds a text.
func (h *haystack) add(where, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.straws = append(h.straws, straw{where, text})
}

// addValue adds a value in each form in which a program may print it.
func (h *haystack) addValue(where string, value any) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		h.add(where+" as "+verb, fmt.Sprintf(verb, value))
	}
	if encoded, err := json.Marshal(value); err == nil {
		h.add(where+" as JSON", string(encoded))
	}
	for _, handler := range h.handlers(where) {
		slog.New(handler).Info("value", "value", value)
	}
}

// addError adds an error and its causes.
func (h *haystack) addError(where string, err error) {
	for ; err != nil; err = errors.Unwrap(err) {
		h.addValue(where+": error", err)
	}
}

// handlers returns loggers that write here, at the most talkative level.
func (h *haystack) handlers(where string) []slog.Handler {
	options := &slog.HandlerOptions{Level: slog.LevelDebug - 8, AddSource: true}
	w := testenv.LineWriter(func(line string) { h.add(where+": log", line) })
	return []slog.Handler{slog.NewTextHandler(w, options), slog.NewJSONHandler(w, options)}
}

// search returns where the secrets are.
func (h *haystack) search(secrets []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	searcher := proctest.NewSearcher(secrets)
	seen := make(map[string]bool)
	var found []string
	for _, s := range h.straws {
		if seen[s.text] {
			continue
		}
		seen[s.text] = true
		for secret := range searcher.Find(s.text) {
			found = append(found, fmt.Sprintf("%.12s… in %s: %s", secret, s.where, s.text))
		}
	}
	return found
}
