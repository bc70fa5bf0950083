package handstamp_test

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// TestLoginForWhatIsConfigured: a user who asks for another scope or resource than the
// stored login was requested for signs in anew, once; the same again is stored already.
func TestLoginForWhatIsConfigured(t *testing.T) {
	for name, configure := range map[string]func(c *handstamp.Client, w *world){
		"a scope":                func(c *handstamp.Client, _ *world) { c.Scopes = []string{"other"} },
		"a resource":             func(c *handstamp.Client, w *world) { c.Resource = strings.TrimSuffix(w.lab.MCPURL(), "/mcp") },
		"no resource":            func(c *handstamp.Client, _ *world) { c.OmitResource = true },
		"a scope of the request": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, lab.Habits{ScopesSupported: []string{"tools", "other"}, ChallengeScope: "tools", ResourceName: lab.NameOrigin})
			first := w.session()
			first.OmitResource = name == "a resource"
			w.mustCall(first)
			tabs := int32(2)
			if configure == nil {
				configure, tabs = func(c *handstamp.Client, _ *world) { c.Scopes = []string{"tools"} }, 1
			}
			for i := range 2 {
				c := w.session()
				configure(c, w)
				result, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
				if err != nil {
					t.Fatalf("login: %v\n%s", err, w.diary())
				}
				if i == 1 && !result.Already {
					t.Error("the second of two equal logins did not use the first")
				}
			}
			w.wantTabs(tabs)
		})
	}
}
