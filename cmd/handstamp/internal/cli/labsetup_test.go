//go:build unix

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/lab"
)

// labServed starts handstamp lab serve, which ends with the test.
func (c *command) labServed(args ...string) served {
	c.t.Helper()
	cmd, _, stdout, _ := c.start(append([]string{"lab", "serve", "--json"}, args...)...)
	line, err := stdout.ReadBytes('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	var got served
	if err := json.Unmarshal(line, &got); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		c.wait(cmd)
	})
	return got
}

func (c *command) mustRun(args ...string) (stdout, stderr string) {
	c.t.Helper()
	stdout, stderr, code := c.run(args...)
	if code != 0 {
		c.t.Fatalf("%q: exit code %d\n%s", args, code, stderr)
	}
	return stdout, stderr
}

// TestLabServeSetsUpAClient gives a client by hand what an administrator would.
func TestLabServeSetsUpAClient(t *testing.T) {
	for name, flags := range map[string]func(given map[string]string) []string{
		"machine-key": func(given map[string]string) []string {
			return []string{"--client-credentials", "--client-id", given["client_id"], "--jwt-key", given["key_file"]}
		},
		"workload": func(given map[string]string) []string {
			return []string{"--workload", "file:" + given["token_file"]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCommand(t)
			dir := filepath.Join(t.TempDir(), "setup")
			got := c.labServed("--personality", name, "--setup-dir", dir)
			if got.Setup["issuer"] != got.Issuer {
				t.Errorf("it gives %v", got.Setup)
			}
			c.mustRun(append([]string{"login", got.MCP}, flags(got.Setup)...)...)
			c.mustRun("call", got.MCP, "whoami")
		})
	}
}

// TestLabServeConfigured registers a client of one's own, and trusts a company of one's own.
func TestLabServeConfigured(t *testing.T) {
	c := newCommand(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.RevealPrivatePEM()
	if err != nil {
		t.Fatal(err)
	}
	server := c.labServed("--personality", fmt.Sprintf(`{"habits": {"methods": [%q], "grants": [%q]}}`,
		lab.MethodPrivateKeyJWT, lab.GrantClientCredentials),
		"--client-id", "mine", "--client-jwks", write("jwks.json", string(key.JWKS())))
	c.mustRun("login", server.MCP, "--client-credentials", "--client-id", "mine",
		"--jwt-key", write("key.pem", string(private)))
	c.mustRun("call", server.MCP, "whoami")

	secret := write("secret", "correct-horse\n")
	company, err := lab.Start(lab.Habits{OpenID: true, Grants: []string{lab.GrantTokenExchange}})
	if err != nil {
		t.Fatal(err)
	}
	defer company.Close()
	company.RegisterClient(lab.ConfiguredClient{ID: "at-company", Secret: "correct-horse"})
	server = c.labServed("--personality", fmt.Sprintf(`{"habits": {"grants": [%q]}}`, lab.GrantJWTBearer),
		"--client-id", "at-server", "--client-secret-file", secret, "--client-auth-method", lab.MethodBasic,
		"--trust", company.Issuer()+"="+write("company.json", company.JWKS()))
	company.AllowExchange(server.Issuer, "at-server")
	c.mustRun("login", server.MCP, "--enterprise", company.Issuer(), "--enterprise-client-id", "at-company",
		"--enterprise-client-secret-file", secret, "--client-id", "at-server", "--client-secret-file", secret)
	c.mustRun("call", server.MCP, "whoami")

	// And the other way round: the company is what is served, and allows the one server only.
	theirs, err := lab.Start(lab.Habits{Grants: []string{lab.GrantJWTBearer}})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	served := c.labServed("--personality", fmt.Sprintf(`{"habits": {"openid": true, "grants": [%q]}}`, lab.GrantTokenExchange),
		"--client-id", "at-company", "--client-secret-file", secret, "--allow-exchange", "https://elsewhere.test=x")
	theirs.RegisterClient(lab.ConfiguredClient{ID: "at-server", Secret: "correct-horse"})
	_, stderr, code := c.run("login", theirs.MCPURL(), "--enterprise", served.Issuer, "--enterprise-client-id", "at-company",
		"--enterprise-client-secret-file", secret, "--client-id", "at-server", "--client-secret-file", secret)
	if code != exitDenied {
		t.Errorf("a server that the company does not allow: exit code %d, %s", code, stderr)
	}
}
