package cli

import "testing"

// A release states what it was built with; the toolchain's own record does not change that.
func TestVersionOfARelease(t *testing.T) {
	version, commit, date = "1.2.3", "0123456789abcdef", "2026-01-02T03:04:05Z"
	defer func() { version, commit, date = "", "", "" }()
	v := buildVersion()
	if v.Version != "1.2.3" || v.Commit != "0123456789abcdef" || v.Date != "2026-01-02T03:04:05Z" || v.Modified {
		t.Errorf("%+v", v)
	}
}
