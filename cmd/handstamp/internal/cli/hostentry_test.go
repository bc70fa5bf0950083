//go:build unix

package cli

import (
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
)

// Whatever folder a host starts the bridge in, it uses the store that the user's command uses.
func TestEntryLeadsToTheSameStore(t *testing.T) {
	here, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	const home = "/home/ada"
	database := "HANDSTAMP_STORE=postgres://db/x"
	for name, test := range map[string]struct {
		env   []string
		flags globalOptions
		args  string // of the entry behind the server
		want  []string
	}{
		"nothing":             {},
		"a word":              {env: []string{"HANDSTAMP_STORE=encrypted"}, want: []string{"HANDSTAMP_STORE=encrypted"}},
		"auto":                {env: []string{"HANDSTAMP_STORE=auto"}, want: []string{"HANDSTAMP_STORE=auto"}},
		"a relative path":     {env: []string{"HANDSTAMP_STORE=./creds"}, want: []string{"HANDSTAMP_STORE=" + here + "/creds"}},
		"a path above":        {env: []string{"HANDSTAMP_STORE=../creds"}, want: []string{"HANDSTAMP_STORE=" + filepath.Dir(here) + "/creds"}},
		"a path in the home":  {env: []string{"HANDSTAMP_STORE=~/creds"}, want: []string{"HANDSTAMP_STORE=" + home + "/creds"}},
		"a path as a URL":     {env: []string{"HANDSTAMP_STORE=file:///creds"}, want: []string{"HANDSTAMP_STORE=/creds"}},
		"a hidden folder":     {flags: globalOptions{connection: connection{Store: ".creds"}}, args: "--store " + here + "/.creds"},
		"a flag in the home":  {flags: globalOptions{connection: connection{Store: "~/creds"}}, args: "--store " + home + "/creds"},
		"a flag and a word":   {env: []string{"HANDSTAMP_STORE=memory"}, flags: globalOptions{connection: connection{Store: "file"}}, args: "--store file"},
		"a flag that is auto": {flags: globalOptions{connection: connection{Store: "auto"}}, args: "--store auto"},
		"a database's owner": {flags: globalOptions{connection: connection{Store: "postgres:///db", Tenant: "acme", User: "ada"}},
			args: "--store postgres:///db --tenant acme --user ada"},
		"an owner, and a variable": {env: []string{database}, flags: globalOptions{connection: connection{Tenant: "acme"}},
			args: "--tenant acme", want: []string{database}},
		"no key": {env: []string{database, "HANDSTAMP_STORE_KEY_FILE=none"}, want: []string{database, "HANDSTAMP_STORE_KEY_FILE=none"}},
		"a database's files": {env: []string{database, "HANDSTAMP_STORE_KEY_FILE=~/k", "PGPASSFILE=pass"},
			want: []string{database, "HANDSTAMP_STORE_KEY_FILE=" + home + "/k", "PGPASSFILE=" + here + "/pass"}},
		"a password": {env: []string{"HANDSTAMP_STORE=postgres://me:hunter2@db/x"}},
		"a key file that is called none": {env: []string{"HANDSTAMP_STORE=encrypted", "HANDSTAMP_STORE_KEY_FILE=none"},
			want: []string{"HANDSTAMP_STORE=encrypted", "HANDSTAMP_STORE_KEY_FILE=" + here + "/none"}},
		"a key file in the home": {env: []string{"HANDSTAMP_STORE_KEY_FILE=~/k"}, want: []string{"HANDSTAMP_STORE_KEY_FILE=" + home + "/k"}},
		"a passphrase":           {env: []string{"HANDSTAMP_STORE_PASSPHRASE_FILE=~/p"}, want: []string{"HANDSTAMP_STORE_PASSPHRASE_FILE=" + home + "/p"}},
		"a passphrase on stdin":  {env: []string{"HANDSTAMP_STORE_PASSPHRASE_FILE=-"}},
		"XDG folders": {env: []string{"XDG_DATA_HOME=/data", "XDG_CONFIG_HOME=" + home + "/.config", "XDG_STATE_HOME=state"},
			want: []string{"XDG_DATA_HOME=/data"}},
		"relative XDG folders": {env: []string{"XDG_DATA_HOME=data"}},
		"a home of our own":    {env: []string{"HANDSTAMP_HOME=h", "XDG_DATA_HOME=/data"}, want: []string{"HANDSTAMP_HOME=" + here + "/h"}},
		"certificates":         {env: []string{"SSL_CERT_FILE=a", "SSL_CERT_DIR=/b:c"}, want: []string{"SSL_CERT_FILE=" + here + "/a", "SSL_CERT_DIR=/b:" + here + "/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "XDG") && runtime.GOOS == "darwin" {
				t.Skip("no XDG folders there")
			}
			a := newApp(Process{Environ: append([]string{"HOME=" + home}, test.env...), Executable: "/opt/handstamp"})
			a.global = test.flags
			target, err := a.target("mcp.linear.app/mcp")
			if err != nil {
				t.Fatal(err)
			}
			server, err := a.hostServer(mcphost.Find("cursor"), target, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]bool)
			for _, m := range server.Env {
				got[m.Name+"="+m.Value.(string)] = true
			}
			env := slices.Sorted(maps.Keys(got))
			slices.Sort(test.want)
			if !slices.Equal(env, test.want) || strings.Join(server.Args[2:], " ") != test.args {
				t.Errorf("%q, %q", server.Args, env)
			}
		})
	}
}

// What no bridge could use is in no entry.
func TestNoEntryWithoutAStore(t *testing.T) {
	for _, test := range []struct {
		env   string
		flags globalOptions
	}{
		{env: "HANDSTAMP_STORE=postgre://me:hunter2@db"},
		{env: "HANDSTAMP_STORE=kering"},
		{flags: globalOptions{connection: connection{Store: "kering"}}},
		{flags: globalOptions{connection: connection{Tenant: "acme", User: "ada"}}},
		{env: "HANDSTAMP_STORE=file", flags: globalOptions{connection: connection{User: "ada"}}},
	} {
		a := newApp(Process{Environ: []string{"HOME=/home/ada", test.env}, Executable: "/opt/handstamp"})
		a.global = test.flags
		target, err := a.target("mcp.linear.app/mcp")
		if err != nil {
			t.Fatal(err)
		}
		server, err := a.hostServer(mcphost.Find("cursor"), target, nil)
		if kindOf(err) != kindUsage || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v, %+v", test, err, server)
		}
	}
}
