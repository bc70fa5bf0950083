package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// A source without a token is one sentence, before anything is sent.
func TestAssertionSourceWithoutToken(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) handstamp.AssertionSource {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return handstamp.AssertionFromFile(path)
	}
	t.Setenv("NO_JWT", "opaque")
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "")
	for name, test := range map[string]struct {
		source handstamp.AssertionSource
		says   string
	}{
		"no source":       {nil, "no source"},
		"no file":         {handstamp.AssertionFromFile(filepath.Join(dir, "none")), "cannot be read: no such file"},
		"a folder":        {handstamp.AssertionFromFile(dir), "it is not a regular file"},
		"an endless file": {handstamp.AssertionFromFile("/dev/zero"), "it is not a regular file"},
		"an empty file":   {file("empty", "\n"), "is empty"},
		"a large file":    {file("large", strings.Repeat("a", 65<<10)), "larger than 64 KiB"},
		"two words":       {file("words", "token: abc"), "something else beside a token"},
		"a placeholder":   {file("placeholder", "[redacted]"), "stands for a token"},
		"no variable":     {handstamp.AssertionFromEnv("HANDSTAMP_NO_SUCH"), "HANDSTAMP_NO_SUCH is empty"},
		"no JWT":          {handstamp.AssertionFromEnv("NO_JWT"), "no signed JWT"},
		"no program":      {handstamp.AssertionFromCommand(filepath.Join(dir, "none")), "brought no token"},
		"no output":       {handstamp.AssertionFromCommand("true"), "is empty"},
		"a failure":       {handstamp.AssertionFromCommand("sh", "-c", "echo no identity here >&2; echo more >&2; exit 3"), "it reports: no identity here"},
		"no permission":   {handstamp.AssertionFromGitHub(""), `id-token: write`},
		"an error": {func(context.Context, handstamp.GrantTarget) (secret.String, error) {
			return "", errors.New("vault is sealed")
		}, "vault is sealed"},
		"nothing": {fixed(""), "empty token"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t, lab.Habits{})
			err := p.Call(p.workload(test.source))
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "more") {
				t.Errorf("%v, want %q", err, test.says)
			}
			p.WantCounts(map[string]int{"token:jwt_bearer": 0, "token": 0})
		})
	}
}

// A command finds the issuer in its environment, and its token is not in what it reports.
func TestAssertionFromCommand(t *testing.T) {
	target := handstamp.GrantTarget{Issuer: "https://as.example", Resource: "https://mcp.example/mcp"}
	token, err := handstamp.AssertionFromCommand("sh", "-c", `echo "$HANDSTAMP_ISSUER|$HANDSTAMP_RESOURCE"`)(t.Context(), target)
	if err != nil || token.Reveal() != "https://as.example|https://mcp.example/mcp" {
		t.Errorf("%q, %v", token.Reveal(), err)
	}
	_, err = handstamp.AssertionFromCommand("sh", "-c", "echo abcdefghijklmnop; echo got abcdefghijklmnop >&2; exit 1")(t.Context(), target)
	if err == nil || strings.Contains(err.Error(), "abcdefghijklmnop") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := handstamp.AssertionFromCommand("sleep", "60")(ctx, target); err == nil {
		t.Error("no error of a command that does not end")
	}
}

// A command may leave a process behind that holds its output open, as agents and caches do.
func TestAssertionFromCommandWithAgent(t *testing.T) {
	t.Parallel()
	agent := filepath.Join(t.TempDir(), "agent")
	source := handstamp.AssertionFromCommand("sh", "-c", `sleep 60 & echo $! >"$0"; echo abc`, agent)
	token, err := source(t.Context(), handstamp.GrantTarget{})
	if err != nil || token != "abc" {
		t.Errorf("%q, %v", token.Reveal(), err)
	}
	text, err := os.ReadFile(agent)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		t.Error(err)
	}
}

// What a command reports may have secrets that it did not print as its token.
func TestAssertionFromCommandReportsNoSecret(t *testing.T) {
	for _, line := range []string{
		"Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
		"+ curl -u agent:hunter2-hunter2 https://vault.example",
		"token=s3cr3t-s3cr3t is not valid",
		`{"error":"denied","refresh_token":"4f7a0c9e1b2d"}`,
	} {
		_, err := handstamp.AssertionFromCommand("sh", "-c", `echo "$0" >&2; exit 1`, line)(
			t.Context(), handstamp.GrantTarget{})
		e, ok := errtype.As[*handstamp.Error](err)
		if !ok || e.Hint != "run it by hand to see why" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Editors and shells of Windows put a mark before the text, and carriage returns after it.
func TestAssertionWithByteOrderMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("\xef\xbb\xbfabc\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []handstamp.AssertionSource{
		handstamp.AssertionFromFile(path), handstamp.AssertionFromCommand("cat", path),
	} {
		if token, err := source(t.Context(), handstamp.GrantTarget{}); err != nil || token != "abc" {
			t.Errorf("%q, %v", token.Reveal(), err)
		}
	}
}

// The platforms' services are requested as they document it.
func TestAssertionFromPlatforms(t *testing.T) {
	var got *http.Request
	failures := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		if failures > 0 {
			failures--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case r.Header.Get("Metadata-Flavor") != "":
			w.Write([]byte("a.b.c"))
		case r.Header.Get("Authorization") != "":
			w.Write([]byte(`{"count":1,"value":"a.b.c"}`))
		default:
			w.Write([]byte(`{"access_token":"a.b.c","expires_in":"3600"}`))
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	target := handstamp.GrantTarget{Issuer: "https://as.example"}
	for name, test := range map[string]struct {
		env    map[string]string
		source handstamp.AssertionSource
		url    string
		header string
		value  string
	}{
		"Google": {
			map[string]string{"GCE_METADATA_HOST": host}, handstamp.AssertionFromGoogle(""),
			"/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fas.example", "Metadata-Flavor", "Google",
		},
		"Azure, virtual machine": {
			map[string]string{"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.URL, "AZURE_CLIENT_ID": "one", "IDENTITY_ENDPOINT": ""},
			handstamp.AssertionFromAzure("api://mcp"),
			"/metadata/identity/oauth2/token?api-version=2018-02-01&client_id=one&resource=api%3A%2F%2Fmcp", "Metadata", "true",
		},
		"Azure, App Service": {
			map[string]string{"IDENTITY_ENDPOINT": server.URL + "/msi/token", "IDENTITY_HEADER": "h"}, handstamp.AssertionFromAzure("api://mcp"),
			"/msi/token?api-version=2019-08-01&resource=api%3A%2F%2Fmcp", "X-Identity-Header", "h",
		},
		"GitHub": {
			map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "r"},
			handstamp.AssertionFromGitHub("mcp"), "/token?api-version=2.0&audience=mcp", "Authorization", "Bearer r",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			failures = 1
			token, err := test.source(t.Context(), target)
			if err != nil || token.Reveal() != "a.b.c" {
				t.Fatalf("%q, %v", token.Reveal(), err)
			}
			if got.URL.String() != test.url || got.Header.Get(test.header) != test.value {
				t.Errorf("requested %s with %q", got.URL, got.Header)
			}
		})
	}
	t.Run("Google elsewhere", func(t *testing.T) {
		elsewhere := httptest.NewServer(http.NotFoundHandler())
		defer elsewhere.Close()
		t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(elsewhere.URL, "http://"))
		_, err := handstamp.AssertionFromGoogle("")(t.Context(), target)
		if err == nil || !strings.Contains(err.Error(), "Google Cloud issues no token (404 Not Found)") {
			t.Error(err)
		}
	})
}

// The error of a source that is of another Client is that Client's, and stays as it is.
func TestAssertionSourceThatIsClosed(t *testing.T) {
	m := machines(t)["client_secret_basic"]
	w := m.start(t)
	theirs := &handstamp.Error{Kind: handstamp.ErrClosed, Server: "https://company.example"}
	c := m.session(w)
	c.Grant = handstamp.JWTBearer{Assertion: func(context.Context, handstamp.GrantTarget) (secret.String, error) { return "", theirs }}
	_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	testenv.WantKind(t, err, handstamp.ErrClosed)
	if theirs.Server != "https://company.example" || theirs.Err != nil {
		t.Errorf("it has become %+v", theirs)
	}
}
