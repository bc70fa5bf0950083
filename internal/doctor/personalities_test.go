//go:build unix

package doctor_test

import (
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// story is what the doctor has to report about a personality: the cause before the first login, the
// cause after it (a login that fails is tried too), and what happens then, with the cause after
// that. Each cause follows from what the personality's Habit says, and not from what the doctor
// does.
type story struct {
	before, after doctor.Code
	then          func(t *testing.T, w *testenv.Env, p lab.Personality)
	later         doctor.Code
	command       string // contained in the command of the last of these
	evidence      string // contained in the evidence of one of the last walk's steps
}

// signsIn is the story of a server whose habit a correct client copes with.
func signsIn(evidence string) story {
	return story{before: doctor.CauseNotSignedIn, after: doctor.CauseNone, command: "tools", evidence: evidence}
}

// stops is that of a server at which no login can begin.
func stops(cause doctor.Code, command, evidence string) story {
	return story{before: cause, after: cause, command: command, evidence: evidence}
}

// ends is that of a server whose habit shows later.
func ends(then func(*testing.T, *testenv.Env, lab.Personality), later doctor.Code, command, evidence string) story {
	return story{before: doctor.CauseNotSignedIn, after: doctor.CauseNone, then: then, later: later, command: command, evidence: evidence}
}

// What happens after the first login.

func forgotten(_ *testing.T, w *testenv.Env, _ lab.Personality) {
	w.Lab.ForgetClients()
	w.Expire()
}

// dead has the server end the grant, which a refresh then learns.
func dead(t *testing.T, w *testenv.Env, _ lab.Personality) {
	w.Lab.RevokeFamilies()
	w.Expire()
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	for range 4 {
		_, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
		if err == nil {
			t.Fatal("the token was refreshed")
		}
	}
}

// trouble has the next refresh meet the personality's trouble.
func trouble(t *testing.T, w *testenv.Env, p lab.Personality) {
	for endpoint, faults := range p.Trouble {
		w.Lab.SetFault(endpoint, faults...)
	}
	w.Expire()
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	if _, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{}); err != nil {
		t.Log("refresh: ", err)
	}
	// The doctor comes before the next attempt, however slow the machine is.
	if rec := w.Record(); rec.Retry != nil {
		rec.Retry.NotBefore = time.Now().Add(time.Minute)
		w.Put(rec)
	}
}

func secretOver(_ *testing.T, w *testenv.Env, _ lab.Personality) {
	w.Expire()
	rec := w.Record()
	rec.GrantClient().SecretExpiresAt = time.Now().Add(-time.Hour)
	rec.Grant.ObtainedAt = time.Now().Add(-2 * time.Hour)
	w.Put(rec)
}

func moved(t *testing.T, w *testenv.Env, _ lab.Personality) {
	other := testenv.New(t, lab.Habits{})
	w.Lab.MoveTo(other.Lab)
}

func taken(t *testing.T, w *testenv.Env, _ lab.Personality) {
	u, err := url.Parse(w.Record().GrantClient().RedirectURIs[0])
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// stories has each personality of the lab.
var stories = map[string]story{
	"none-first":             signsIn("the list begins with none; the method is part of the client's registration"),
	"basic-first-public":     signsIn("the list begins with client_secret_basic"),
	"registers-otherwise":    signsIn("client_secret_basic (from the registration)"),
	"secret-no-method":       signsIn("client_secret_post"),
	"none-but-demands":       signsIn("client_secret_post (learned from the server's responses)"),
	"lists-basic-takes-post": signsIn("client_secret_post"),

	"forgot-client-page":  ends(forgotten, doctor.CauseForgotten, "login", "GET authorization request without a user → 422"),
	"forgot-client-token": ends(forgotten, doctor.CauseForgotten, "login", "made-up code → 401 invalid_client"),
	"client-unauthorized": ends(forgotten, doctor.CauseForgotten, "login", "made-up code → 401 unauthorized"),
	"expiring-secret":     ends(secretOver, doctor.CauseSecretExpired, "login", "Stored login: it has expired"),
	"updated-secret":      ends(secretOver, doctor.CauseRefreshDue, "token", "not work any more; the next use refreshes it"),
	"exact-redirect":      signsIn("redirect URI: http://127.0.0.1:"),
	"port-taken":          ends(taken, doctor.CauseNone, "tools", "another program has the port of its redirect URI"),
	"grants-enforced":     signsIn("is refreshed when it has"),
	"dcr-allowlist":       stops(doctor.CauseRegistration, "--client-id", "403"),
	"dcr-off":             stops(doctor.CauseRegistration, "--client-id", "400 dynamic_client_registration_disabled"),
	"no-dcr":              stops(doctor.CauseByHand, "--client-id", "registration_endpoint: none"),
	"no-pkce-listed":      stops(doctor.CausePKCE, "", "PKCE"),
	"initial-token": {before: doctor.CauseNotSignedIn, after: doctor.CauseRegistration, command: "--client-id",
		evidence: "the last login that failed"},
	"key-only": stops(doctor.CauseKey, "--jwt-key", "token_endpoint_auth_methods_supported: private_key_jwt"),

	"no-scope-at-registration": signsIn("scopes_supported: tools"),
	"localhost-only":           signsIn("redirect URI: http://localhost:"),
	"secret-beside-none":       signsIn("client_secret_post (learned from the server's responses)"),
	"offline-not-allowed":      signsIn("scopes_supported: tools, offline_access"),

	"rotates-strictly":    signsIn("is refreshed when it has"),
	"rotates-with-grace":  ends(trouble, doctor.CauseNone, "tools", "is refreshed when it has"),
	"lost-response":       ends(trouble, doctor.CauseLoginEnded, "login", "the last rejection: invalid_grant"),
	"keeps-refresh-token": signsIn("is refreshed when it has"),
	"flaky":               ends(trouble, doctor.CauseRefreshFails, "token", "the authorization server could not refresh it"),

	"no-expiry":     signsIn("(no known expiry), and is refreshed when it has"),
	"expiry-string": signsIn("s left), and is refreshed when it has"),
	"expiry-zero":   signsIn("(no known expiry)"),
	"jwt-expiry":    signsIn("(no known expiry)"),

	"resource-rejected": signsIn("resource parameter: left out (the authorization server rejects it)"),
	"resource-demanded": signsIn("resource parameter: http"),
	"resource-slash":    signsIn("/mcp/ ("),
	"resource-origin":   signsIn("resource parameter: http"),
	"resource-query":    signsIn("?"),

	"issuer-slash":     signsIn("/ (rfc8414)"),
	"issuer-elsewhere": stops(doctor.CauseIssuer, "", "https://issuer.elsewhere.test"),
	"issuer-moved":     ends(moved, doctor.CauseIssuerMoved, "login", "stored access token → 401 invalid_token"),
	"oidc-append":      signsIn("/realms/lab/.well-known/openid-configuration ← 200"),
	"oidc-insert":      signsIn("/.well-known/openid-configuration/oauth2/lab ← 200"),
	"path-insert":      signsIn("/.well-known/oauth-authorization-server/oauth/lab ← 200"),
	"root-only":        signsIn("the server has no resource metadata"),
	"defaults-only":    signsIn("the default endpoints of MCP 2025-03-26 are used"),
	"metadata-down":    ends(trouble, doctor.CauseNone, "tools", "← 503"),

	"form-responses":   signsIn("made-up code → 400 invalid_grant"),
	"errors-in-200":    signsIn("made-up code → 200 invalid_grant"),
	"odd-error-code":   ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: unauthorized_client"),
	"odd-error-member": ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: refresh_token_not_found"),

	"offline-listed":    signsIn("offline_access"),
	"offline-forbidden": signsIn("it works until the access token expires"),
	"google-offline":    signsIn("is refreshed when it has"),
	"step-up":           signsIn("scope \"tools\""),
	"step-up-never": {before: doctor.CauseNotSignedIn, after: doctor.CauseScope, command: "",
		evidence: "requested and not granted: tools:call"},
	"lazy-auth": signsIn("the server responds without a token too"),

	"iss-on":      signsIn("has to have iss"),
	"iss-off":     signsIn("does not announce iss"),
	"iss-wrong":   {before: doctor.CauseNotSignedIn, after: doctor.CauseCallback, command: "", evidence: "the last login that failed"},
	"iss-missing": {before: doctor.CauseNotSignedIn, after: doctor.CauseCallback, command: "", evidence: "the last login that failed"},

	"consent-by-post": signsIn("initialize with the stored access token → 200"),

	"form-client-id":         signsIn("client_secret_post"),
	"form-client-id-basic":   signsIn("client_secret_basic (learned from the server's responses)"),
	"dead-in-other-words":    ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: invalid_request"),
	"dead-elsewhere":         ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: "),
	"dead-nested":            ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: "),
	"dead-unauthorized":      ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: "),
	"dead-silently":          ends(dead, doctor.CauseLoginEnded, "login", "the last rejection: "),
	"refresh-scope-wanted":   signsIn("scopes_supported: tools"),
	"refresh-scope-rejected": signsIn("scopes_supported: tools"),
	"fresh-token-waits":      signsIn("initialize with the stored access token → 200"),

	"forged-callback": signsIn("initialize with the stored access token → 200"),
	"hostile-script":  stops(doctor.CauseEndpoint, "", "javascript:"),
	"hostile-file":    stops(doctor.CauseEndpoint, "", "file:"),
	"hostile-shell":   stops(doctor.CauseEndpoint, "", "authorization_endpoint"),
	"hostile-private": stops(doctor.CauseEndpoint, "", "169.254.169.254"),
	"hostile-clear":   stops(doctor.CauseEndpoint, "", "token.elsewhere.test"),
	"hostile-browser": stops(doctor.CauseAddress, "", "169.254.169.254"),
	"hostile-huge":    stops(doctor.CauseMetadataTooLong, "", "too long"),
	"hostile-bomb":    stops(doctor.CauseMetadataTooLong, "", "too long"),

	"challenge-elsewhere": signsIn("inner.elsewhere.test"),
	"issuers-several":     signsIn("/retired, "),
	"metadata-split":      signsIn("registration_endpoint: http"),
	"slash-redirect":      signsIn("made-up code → 400 invalid_grant"),
	"slash-redirect-301":  signsIn("made-up code → 400 invalid_grant"),

	// Without what an administrator arranges no client is known, and none can register itself; the
	// grants that the server takes beside the code are listed.
	"machine-secret": stops(doctor.CauseByHand, "--client-id", "client_credentials"),
	"machine-key":    stops(doctor.CauseByHand, "--client-id", "client_credentials"),
	"workload":       stops(doctor.CauseByHand, "--client-id", "jwt-bearer"),
	"token-exchange": stops(doctor.CauseByHand, "--client-id", "token-exchange"),
	"enterprise":     stops(doctor.CauseByHand, "--client-id", "jwt-bearer"),
	"device-code":    stops(doctor.CauseByHand, "--client-id", "device_code"),
	"key-configured": stops(doctor.CauseByHand, "--client-id", "registration_endpoint: none"),
	"certificate":    stops(doctor.CauseByHand, "--client-id", "registration_endpoint: none"),

	"dpop-listed-only":    signsIn("DPoP false"),
	"dpop-offered":        signsIn("DPoP true"),
	"dpop-required":       signsIn("DPoP true"),
	"dpop-challenged":     signsIn("DPoP true"),
	"dpop-registered":     signsIn("a DPoP proof is required"),
	"dpop-nonces":         signsIn("DPoP true"),
	"par-required":        signsIn("authorization requests are pushed"),
	"user-authentication": signsIn("initialize with the stored access token → 200"),
}

func TestDoctorNamesTheTrueCauseOfEveryPersonality(t *testing.T) {
	testenv.Heavy(t, "it looks at every personality of the lab")
	seen := make(map[string]bool)
	for _, p := range append(lab.Personalities(), lab.Personality{Name: "seed", Habits: lab.NoneFirst()}) {
		seen[p.Name] = true
		story, ok := stories[p.Name]
		if p.Name == "seed" {
			story, ok = stories["none-first"], true
		}
		t.Run(p.Name, func(t *testing.T) {
			if !ok {
				t.Fatal("it has no story: say what the doctor has to tell of it")
			}
			tell(t, p, story)
		})
	}
	for name := range stories {
		if !seen[name] {
			t.Errorf("there is no personality %s", name)
		}
	}
}

// tell has a story happen, with the doctor after each part of it.
func tell(t *testing.T, p lab.Personality, story story) {
	p.Habits.MTLS = lab.MTLS{} // its endpoints need servers that speak HTTPS
	w := start(t, p.Habits)
	if p.Login != lab.LoginWorks {
		for endpoint, faults := range p.Trouble {
			w.Lab.SetFault(endpoint, faults...)
		}
	}
	var r *doctor.Report
	r = examine(t, w)
	wantCause(t, r, story.before)
	c := session(w)
	if err := w.Login(c); err == nil {
		if err := w.Call(c); err != nil {
			t.Log("call: ", err)
		}
	} else {
		t.Log("login: ", err)
	}
	r = examine(t, w)
	wantCause(t, r, story.after)
	if story.then != nil {
		story.then(t, w, p)
		r = examine(t, w)
		wantCause(t, r, story.later)
	}
	wantReport(t, r, story.command, story.evidence)
}

// wantedCommands are the commands that a report may name.
var wantedCommands = []string{"login", "doctor", "token", "tools"}

func wantCause(t *testing.T, r *doctor.Report, want doctor.Code) {
	t.Helper()
	if r.Cause.Code != want {
		t.Errorf("the cause is %s (%s), want %s\n%s", r.Cause.Code, r.Cause.Message, want, walked(r))
	}
	if r.Cause.Message == "" || r.Cause.Command != "" && !slices.ContainsFunc(wantedCommands, func(verb string) bool {
		return hasPrefix(r.Cause.Command, "handstamp "+verb+" ")
	}) {
		t.Errorf("the cause is %q, the command %q", r.Cause.Message, r.Cause.Command)
	}
}
