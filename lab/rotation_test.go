package lab_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// TestRotation plays each class of rotation. A script is a word per refresh:
// which token is sent (0 is that of the login, n the one that the nth refresh
// gave), then what is expected: "new" (a refresh token never seen), "same:n"
// (the one that refresh n gave), "access" (no refresh token), "dead".
// "late" advances the clock beyond the grace.
func TestRotation(t *testing.T) {
	const grace = time.Minute
	for _, test := range []struct {
		rotation string
		script   []string
		access   bool // whether the first access token lives at the end
		audit    string
	}{
		{lab.RotateStrict, []string{"0 new", "1 new", "0 dead", "2 dead"}, false, "2 refreshed, 1 reused, 1 revoked"},
		{"", []string{"0 new", "0 dead", "1 dead"}, false, "1 refreshed, 1 reused, 1 revoked"},
		{lab.RotateStrictKeep, []string{"0 new", "0 dead", "1 new"}, true, "2 refreshed, 1 reused, 0 revoked"},
		{lab.RotateGrace, []string{"0 new", "0 new", "1 new", "2 new"}, true, "4 refreshed, 1 reused, 0 revoked"},
		{lab.RotateGrace, []string{"0 new", "late", "0 dead", "1 dead"}, false, "1 refreshed, 1 reused, 1 revoked"},
		{lab.RotateGraceAccess, []string{"0 new", "0 access", "1 new"}, true, "3 refreshed, 1 reused, 0 revoked"},
		{lab.RotateGraceAccess, []string{"0 new", "late", "0 dead", "1 dead"}, false, "1 refreshed, 1 reused, 1 revoked"},
		{lab.RotateSame, []string{"0 new", "0 same:1", "1 new"}, true, "3 refreshed, 1 reused, 0 revoked"},
		{lab.RotateSame, []string{"0 new", "late", "0 dead", "1 dead"}, false, "1 refreshed, 1 reused, 1 revoked"},
		{lab.RotateUntilUsed, []string{"0 new", "late", "0 new", "1 dead", "2 new", "0 dead", "3 new"}, true, "4 refreshed, 2 reused, 0 revoked"},
		{lab.RotateNone, []string{"0 access", "0 access"}, true, "2 refreshed, 0 reused, 0 revoked"},
		{lab.RotateRepeat, []string{"0 same:0", "0 same:0"}, true, "2 refreshed, 0 reused, 0 revoked"},
	} {
		t.Run(test.rotation, func(t *testing.T) {
			c := start(t, lab.Habits{Rotation: test.rotation, Grace: grace})
			login := c.login(nil)
			given := []string{login.text("refresh_token")}
			for _, step := range test.script {
				if step == "late" {
					c.server.Advance(grace + time.Second)
					continue
				}
				var token, same int
				var want string
				if _, err := fmt.Sscanf(step, "%d same:%d", &token, &same); err == nil {
					want = "same"
				} else if _, err := fmt.Sscanf(step, "%d %s", &token, &want); err != nil {
					t.Fatal(err)
				}
				response := c.refresh(given[token], nil)
				got := response.text("refresh_token")
				if want == "dead" {
					response.is(t, http.StatusBadRequest, "invalid_grant")
					continue
				}
				response.is(t, http.StatusOK, "")
				if !c.works(response.text("access_token")) {
					t.Fatalf("%s: the access token does not work", step)
				}
				seen := false
				for _, old := range given {
					seen = seen || got == old
				}
				if want == "new" && (got == "" || seen) || want == "access" && got != "" || want == "same" && got != given[same] {
					t.Fatalf("%s: the response has the wrong refresh token", step)
				}
				given = append(given, got)
			}
			if got := c.works(login.text("access_token")); got != test.access {
				t.Errorf("the first access token lives: %v", got)
			}
			audit := c.server.Audit()
			if got := fmt.Sprintf("%d refreshed, %d reused, %d revoked", audit.Refreshes, audit.Reuses, audit.FamiliesRevoked); got != test.audit {
				t.Errorf("%s, want %s", got, test.audit)
			}
		})
	}
}

// TestForeignRefresh does not take another client's token, nor count it against
// the family.
func TestForeignRefresh(t *testing.T) {
	c := start(t, lab.Habits{})
	token := c.login(nil).text("refresh_token")
	c.server.RegisterClient(lab.ConfiguredClient{ID: "eve"})
	c.id = "eve"
	c.refresh(token, nil).is(t, http.StatusBadRequest, "invalid_grant")
	c.id = "ana"
	c.refresh(token, nil).is(t, http.StatusOK, "")
	if audit := c.server.Audit(); audit.Reuses != 0 || audit.Rejected != 1 {
		t.Errorf("audit %+v", audit)
	}
}
