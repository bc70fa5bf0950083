package handstamp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// world is a server with habits, the store of one user, and that user's browser.
// Each Client is a session of its own, as another process would be.
type world struct {
	t     testing.TB
	lab   *lab.Server
	store store.Store
	tabs  atomic.Int32
}

func newWorld(t testing.TB, h lab.Habits) *world {
	t.Helper()
	server, err := lab.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	processes.Watch(t, server)
	return &world{t: t, lab: server, store: new(store.Memory)}
}

// session returns a Client with the user's store and browser.
func (w *world) session() *handstamp.Client {
	c := &handstamp.Client{Store: w.store, Prompt: handstamp.Prompt{OpenURL: w.openURL}, LoginTimeout: 20 * time.Second}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

// openURL opens a tab and consents.
func (w *world) openURL(ctx context.Context, rawURL string) error {
	w.tabs.Add(1)
	go lab.Browse(context.WithoutCancel(ctx), rawURL)
	return nil
}

// call makes one tool call and returns what went wrong.
func (w *world) call(c *handstamp.Client) error {
	return call(context.Background(), c.HTTPClient(w.lab.MCPURL()), w.lab.MCPURL())
}

func call(ctx context.Context, client *http.Client, serverURL string) error {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var message struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if err := json.Unmarshal(answer, &message); err != nil || message.Result == nil {
		return fmt.Errorf("no result in %q", answer)
	}
	return nil
}

// mustCall fails the test unless the call works.
func (w *world) mustCall(c *handstamp.Client) {
	w.t.Helper()
	if err := w.call(c); err != nil {
		w.t.Fatalf("call: %v\n%s", err, w.diary())
	}
}

// diary is what the lab saw, for failures.
func (w *world) diary() string {
	var b strings.Builder
	for _, r := range w.lab.Requests() {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// wantCounts compares the requests since the last Reset with want, where "as"
// stands for all that went to the authorization server, its browser pages aside.
func (w *world) wantCounts(want map[string]int) {
	w.t.Helper()
	got := w.lab.Counts()
	for endpoint, n := range want {
		if got[endpoint] != n {
			w.t.Errorf("%d requests to %s, want %d\n%s", got[endpoint], endpoint, n, w.diary())
		}
	}
}

// wantTabs checks how often a browser was opened so far.
func (w *world) wantTabs(want int32) {
	w.t.Helper()
	if got := w.tabs.Load(); got != want {
		w.t.Errorf("browser opened %d times, want %d\n%s", got, want, w.diary())
	}
}
