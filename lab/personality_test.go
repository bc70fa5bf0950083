package lab_test

import (
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// shown is what shows a personality's habit on the wire, by name.
var shown = union(shownClients, shownTokens, shownDiscovery, shownField, shownSetups)

// union merges maps of habits; it panics for a name that is in two of them.
func union(all ...map[string]func(t *testing.T, c *hand)) map[string]func(t *testing.T, c *hand) {
	merged := make(map[string]func(t *testing.T, c *hand))
	for _, habits := range all {
		for name, show := range habits {
			if merged[name] != nil {
				panic("shown twice: " + name)
			}
			merged[name] = show
		}
	}
	return merged
}

const echo = `{"name":"echo","arguments":{"text":"hello"}}`

// TestPersonalities shows the habit of every personality to a plain HTTP client.
func TestPersonalities(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range lab.Personalities() {
		if seen[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		seen[p.Name] = true
		t.Run(p.Name, func(t *testing.T) {
			if p.Habit == "" || p.Seen == "" || p.Client == "" || p.Habits.Name != p.Name {
				t.Errorf("it does not say what it is: %+v", p)
			}
			if found, ok := lab.FindPersonality(p.Name); !ok || found.Habit != p.Habit {
				t.Errorf("it is not found by its name")
			}
			show := shown[p.Name]
			if show == nil {
				t.Fatal("its habit is shown nowhere")
			}
			if p.Habits.MTLS != (lab.MTLS{}) {
				show(t, startTLS(t, p.Habits))
				return
			}
			show(t, start(t, p.Habits))
		})
	}
	for name := range shown {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
	if _, ok := lab.FindPersonality("unknown"); ok {
		t.Error("an unknown personality was found")
	}
}
