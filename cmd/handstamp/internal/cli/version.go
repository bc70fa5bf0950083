package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// What a release is built with, for builds outside of a repository: -ldflags
// "-X github.com/handstamp/handstamp/cmd/handstamp/internal/cli.version=v1.2.3 -X ….commit=HASH -X ….date=DATE".
// Empty: what the Go toolchain recorded in the binary counts.
var (
	version string // with a v, as the toolchain records it: v1.2.3
	commit  string // the full hash
	date    string // of the commit, as RFC 3339
)

// versionOutput is what version --json prints.
type versionOutput struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // the full hash
	Date     string `json:"date,omitempty"`   // of the commit, RFC 3339
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(0, "no arguments"),
		RunE:  func(*cobra.Command, []string) error { return a.printVersion() },
	}
}

func (a *app) printVersion() error {
	v := buildVersion()
	if a.global.json {
		return a.out.json(v, true)
	}
	s := "handstamp " + v.Version
	if v.Commit != "" {
		s += " (" + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return a.out.data([]byte(s + " " + v.Go + " " + v.Platform + "\n"))
}

// buildVersion returns what the release was built with, else what the Go toolchain recorded.
func buildVersion() versionOutput {
	v := versionOutput{Version: version, Commit: commit, Date: date, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = cmp.Or(v.Commit, s.Value)
		case s.Key == "vcs.time":
			v.Date = cmp.Or(v.Date, s.Value)
		case s.Key == "vcs.modified" && commit == "":
			v.Modified = s.Value == "true"
		}
	}
	v.Version = cmp.Or(v.Version, info.Main.Version, "(devel)")
	return v
}
