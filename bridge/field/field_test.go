package main

import (
	"flag"
	"os"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

// plays is how many behaviours are played at once: most of a play is waiting.
const plays = "12"

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", plays)
	}
	os.Exit(m.Run())
}

// TestField plays every behaviour with the bridge of this tree, which has to be right in each.
func TestField(t *testing.T) {
	testenv.Heavy(t, "the servers and networks of the table keep a bridge waiting for minutes")
	c, err := own(t.Context(), "../..", t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.timeFactor = 4
	names := make(map[string]bool)
	for _, part := range chapters() {
		for _, b := range part.behaviours {
			if names[b.name] {
				t.Errorf("two behaviours are called %s", b.name)
			}
			names[b.name] = true
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				v, err := b.perform(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if v != "" {
					t.Errorf("wrong: %s", v)
				}
			})
		}
	}
}
