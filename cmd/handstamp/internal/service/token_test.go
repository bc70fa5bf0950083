package service

import (
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/secret"
)

// However many callers report the same token as rejected, on whichever replica, it is refreshed once.
func TestRejectedTokenIsRefreshedOnce(t *testing.T) {
	f := newFixture(t, testenv.Personality(t, "rotates-strictly"), nil)
	first, second := f.caller("acme", nil), f.caller("acme", nil)
	f.signIn("acme", "ada")
	token := func(key string, more ...string) string {
		t.Helper()
		text, _ := f.want(f.token(key, "ada", more...), http.StatusOK, "").body["access_token"].(string)
		return text
	}
	rejected := token(first)
	one := f.url
	f.again()
	other := f.url
	if token(second) != rejected {
		t.Fatal("the replicas have different tokens")
	}
	f.Lab.Reset()
	f.url = one
	name := fingerprint(secret.String(rejected))
	refreshed := token(first, "rejected", name)
	if refreshed == rejected {
		t.Error("it was not refreshed")
	}
	for _, replica := range []string{one, other} {
		f.url = replica
		for _, more := range [][]string{{"rejected", name}, {"rejected", name, "refresh", "true"}, nil} {
			if token(second, more...) != refreshed {
				t.Errorf("%v: the other caller has another token", more)
			}
		}
	}
	f.WantCounts(map[string]int{"token:refresh": 1})
	// As some languages write it.
	third := token(second, "rejected", strings.ToUpper(fingerprint(secret.String(refreshed))))
	if third == refreshed {
		t.Error("the token after it was not refreshed")
	}
	f.WantCounts(map[string]int{"token:refresh": 2})
	// To the replica that has not heard of it.
	f.url = one
	if got := token(first, "rejected", fingerprint(secret.String(third))); got == third || got == refreshed {
		t.Errorf("the token is one that was rejected: %v, or the one before it: %v", got == third, got == refreshed)
	}
	f.WantCounts(map[string]int{"token:refresh": 3})
}
