package suite_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
)

// TestBench shows a request on the page when it has come, and lets only the page
// itself press its buttons.
func TestBench(t *testing.T) {
	p, _ := lab.FindPersonality("flaky")
	bench, err := suite.Serve(p, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bench.Close()
	page := httptest.NewServer(bench)
	defer page.Close()

	raw, header := get(t, page.URL)
	policy := header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'nonce-", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("no %s in %q", part, policy)
		}
	}
	if regexp.MustCompile(`(?i)(src|href)=`).MatchString(raw) || !strings.Contains(raw, bench.Server.MCPURL()) {
		t.Errorf("the page loads something, or does not say where the server is:\n%s", raw)
	}
	buttons := regexp.MustCompile(`<button name="what" value="[^"]+">[^<]+</button><span>(.+?)\.</span>`).FindAllStringSubmatch(raw, -1)
	said := make(map[string]bool)
	for _, b := range buttons {
		said[b[1]] = true
	}
	if want := len(suite.Conditions()); len(said) != want { // without warm, with trouble
		t.Errorf("%d buttons have a sentence of their own, want %d: %q", len(said), want, buttons)
	}

	stream, err := http.Get(page.URL + "/requests")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if r, err := http.Post(bench.Server.MCPURL(), "application/json", strings.NewReader(`{"id":1,"method":"ping"}`)); err != nil {
		t.Fatal(err)
	} else {
		r.Body.Close()
	}
	lines := bufio.NewScanner(stream.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "mcp POST /mcp → 401 rpc=ping") {
			break
		}
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}

	guard := regexp.MustCompile(`name="guard" value="(\w+)"`).FindStringSubmatch(raw)[1]
	for _, press := range []struct {
		guard, what string
		want        int
	}{
		{"", "expired", http.StatusForbidden},
		{guard, "nothing", http.StatusBadRequest},
		{guard, string(suite.ClientForgotten), http.StatusNoContent},
		{guard, "trouble", http.StatusNoContent},
	} {
		bench.Server.RegisterClient(lab.ConfiguredClient{ID: "ana"})
		r, err := http.PostForm(page.URL+"/do", url.Values{"guard": {press.guard}, "what": {press.what}})
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		forgotten := len(bench.Server.Clients()) == 0
		if r.StatusCode != press.want || forgotten != (press.what == string(suite.ClientForgotten)) {
			t.Errorf("%q: %d, forgotten %v", press.what, r.StatusCode, forgotten)
		}
	}

	r, err := http.NewRequest(http.MethodGet, page.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.example:80"
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another name: %d", response.StatusCode)
	}
}

func get(t *testing.T, target string) (string, http.Header) {
	t.Helper()
	r, err := http.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", target, r.StatusCode, err)
	}
	return string(raw), r.Header
}
