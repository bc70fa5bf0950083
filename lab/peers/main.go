// Command peers runs the lab's suite with Handstamp and with other MCP clients,
// and writes docs/interop.md. It is run at the root of the repository, by
// make interop-table.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
)

func main() {
	processes := flag.String("processes", "1", "how many processes a cell has")
	timeout := flag.Duration("timeout", 12*time.Second, "of the sessions of a cell")
	out := flag.String("o", "docs/interop.md", "the page to write")
	flag.Parse()
	if err := run(context.Background(), *processes, *timeout, *out); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// contender is a client in the table.
type contender struct {
	name, version string
	what          string   // how it is run, for the page
	args          []string // of handstamp lab run
}

const modules = "lab/peers/node_modules/"

// contenders returns who can be run here.
func contenders() ([]contender, error) {
	dir, err := filepath.Abs(modules)
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs("lab/peers/tssdk.mjs")
	if err != nil {
		return nil, err
	}
	sdk, err := moduleVersion("github.com/modelcontextprotocol/go-sdk")
	if err != nil {
		return nil, err
	}
	raw, err := exec.Command("go", "list", "-C", "lab/peers/mcpgo", "-m", "-f", "{{.Version}}", "github.com/mark3labs/mcp-go").Output()
	if err != nil {
		return nil, err
	}
	all := []contender{
		{"Handstamp", "this tree", "its library in processes of its own, and `handstamp bridge`", nil},
		{"Go SDK", sdk, "`lab/peers/gosdk`: keeps the `oauth2.Config` and every token", []string{"--client-http", "bin/gosdk {url}"}},
		{"mcp-go", strings.TrimSpace(string(raw)), "`lab/peers/mcpgo`: keeps client, method, redirect URI and every token", []string{"--client-http", "bin/mcpgo {url}"}},
	}
	for _, peer := range []contender{
		{"TypeScript SDK", "@modelcontextprotocol/sdk", "`lab/peers/tssdk.mjs`: keeps all that the SDK hands to its provider", []string{"--client-http", "node " + program + " {url}"}},
		{"mcp-remote", "mcp-remote", "as it is, with no flag", []string{"--client", "node " + filepath.Join(dir, "mcp-remote/dist/proxy.js") + " {url}"}},
	} {
		raw, err := os.ReadFile(modules + peer.version + "/package.json")
		if err != nil {
			return nil, fmt.Errorf("%s is not installed: run npm ci in lab/peers: %w", peer.name, err)
		}
		var found struct{ Version string }
		if err := json.Unmarshal(raw, &found); err != nil {
			return nil, err
		}
		peer.version = found.Version
		all = append(all, peer)
	}
	return all, nil
}

// moduleVersion is the version of a module that this program is built with.
func moduleVersion(path string) (string, error) {
	raw, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", path).Output()
	return strings.TrimSpace(string(raw)), err
}

func run(ctx context.Context, processes string, timeout time.Duration, out string) error {
	all, err := contenders()
	if err != nil {
		return err
	}
	columns := make([]suite.Reports, len(all))
	for i, c := range all {
		fmt.Fprintln(os.Stderr, c.name, c.version)
		args := append([]string{"lab", "run", "--json", "--processes", processes, "--timeout", timeout.String(), "--parallel", "8"}, c.args...)
		cmd := exec.CommandContext(ctx, "bin/handstamp", args...)
		cmd.Stderr = os.Stderr
		raw, err := cmd.Output()
		// 1 says that cells failed, which is what is to be written down.
		if exited, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exited.ExitCode() != 1) {
			return err
		}
		var played struct{ Reports suite.Reports }
		if err := json.Unmarshal(raw, &played); err != nil {
			return err
		}
		columns[i] = played.Reports
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	write(f, all, columns, processes, timeout)
	return f.Close()
}

// score is how many cells of a personality were passed, of those that can come
// about.
func score(reports suite.Reports, personality string) (passed, played int) {
	for _, r := range reports {
		for _, c := range r.Cells {
			if c.Personality != personality || c.Expect.Void {
				continue
			}
			played++
			if c.Passed() {
				passed++
			}
		}
	}
	return passed, played
}

// counted says how many processes a list like "1,20" means.
func counted(processes string) string {
	if processes == "1" {
		return "one process"
	}
	return strings.ReplaceAll(processes, ",", " or ") + " processes"
}

// write writes the page.
func write(w io.Writer, all []contender, columns []suite.Reports, processes string, timeout time.Duration) {
	unconfigured := slices.DeleteFunc(lab.Personalities(), func(p lab.Personality) bool {
		return p.Setup != nil // the peers are not configured
	})
	fmt.Fprintf(w, `# What becomes of the second session, client by client

Written by `+"`make interop-table`"+` on %s, with %s on %s/%s. Nothing here is edited by hand: it is what the
[lab](lab.md) measured, with %s in a cell and %v for its sessions. A number is cells passed of cells played; a dash is a
personality with every cell passed. The %d personalities are those of that day;
`+"`handstamp lab list`"+` lists those of today.

| client | version | how it was run | cells passed | time |
|---|---|---|---|---|
`, time.Now().UTC().Format("2006-01-02"), goVersion(), runtime.GOOS, runtime.GOARCH, counted(processes), timeout,
		len(unconfigured))
	for i, c := range all {
		passed, played, used := 0, 0, time.Duration(0)
		for _, r := range columns[i] {
			good, bad, _ := r.Summary()
			passed, played, used = passed+good, played+good+bad, used+r.Duration
		}
		fmt.Fprintf(w, "| %s | %s | %s | %d of %d | %v |\n", c.name, c.version, c.what, passed, played, used.Round(time.Second))
	}
	fmt.Fprint(w, "\n| personality |")
	for _, c := range all {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprint(w, "\n|---|", strings.Repeat("---|", len(all)), "\n")
	var better []string
	for _, p := range unconfigured {
		fmt.Fprintf(w, "| `%s` |", p.Name)
		ours, all := score(columns[0], p.Name)
		for i := range columns {
			passed, played := score(columns[i], p.Name)
			if passed == played {
				fmt.Fprint(w, " – |")
			} else {
				fmt.Fprintf(w, " %d of %d |", passed, played)
			}
			if passed*all > ours*played && !slices.Contains(better, p.Name) {
				better = append(better, p.Name)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\nWhere another client does better than Handstamp: ")
	if better == nil {
		fmt.Fprintln(w, "nowhere in this run.")
	} else {
		fmt.Fprintln(w, strings.Join(better, ", ")+".")
	}
	fmt.Fprint(w, `
## How to read it

A cell fails for one needless tab, one token request too many, or one session that does not get through; what exactly it
was, `+"`handstamp lab run --client … -v`"+` prints. The lab is ours, so its idea of what is needed is, too:
[lab.md](lab.md) describes how it is made, and that it is the same for every client. The SDKs are no finished clients: a
program has to keep what they hand out, and how these programs do it is in lab/peers, open to criticism. A client whose
clock cannot be moved meets a token that lives for a second in place of one that has aged, and a rejection after two days.
`)
}

// goVersion is what this program was built with.
func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return "Go " + strings.TrimPrefix(info.GoVersion, "go")
	}
	return runtime.Version()
}
