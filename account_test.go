package handstamp_test

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The status names the account, where the server provides it, and later logins preselect it.
func TestAccount(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetAccount("ana@lab.test")
	session := func() *handstamp.Client {
		c := w.Session()
		c.Scopes = []string{"openid"}
		return c
	}
	w.MustLogin(session())
	status, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
	if err != nil || status.Account != "ana@lab.test" {
		t.Fatalf("account %q, %v", status.Account, err)
	}
	w.Expire()
	w.MustCall(session())
	w.Lab.RevokeFamilies()
	w.MustCall(session())
	var hints []string
	for _, r := range w.Lab.Requests() {
		if r.Endpoint == "authorize" {
			hints = append(hints, r.Params.Get("login_hint"))
		}
	}
	if len(hints) != 2 || hints[0] != "" || hints[1] != "ana@lab.test" {
		t.Errorf("login hints %q", hints)
	}
}

// A login with another account than before is reported.
func TestAccountChanges(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetAccount("ana@lab.test")
	var notices []string
	session := func() *handstamp.Client {
		c := w.Session()
		c.Scopes = []string{"openid"}
		c.Hooks.Notice = func(_, message string) { notices = append(notices, message) }
		return c
	}
	w.MustLogin(session())
	w.Lab.SetAccount("ben@lab.test")
	if _, err := session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(notices, "\n"); !strings.Contains(all, "ben@lab.test") {
		t.Errorf("notices %q", notices)
	}
}

// A server that names no account, or whose userinfo endpoint fails, is no trouble.
func TestAccountIsNotNamed(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetFault("userinfo", lab.Fault{Kind: lab.FaultStatus})
	w.MustLogin(w.Session())
	if status, err := w.Session().Status(t.Context(), w.Lab.MCPURL()); err != nil || status.Account != "" {
		t.Errorf("account %q, %v", status.Account, err)
	}
}
