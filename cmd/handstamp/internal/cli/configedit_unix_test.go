//go:build unix

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Of processes that change the configuration at once, each finds its change there.
func TestConfigurationKeepsEachChange(t *testing.T) {
	c := newCommand(t)
	ended := make(chan error)
	const aliases = 12
	for i := range aliases {
		a := c.inside()
		s := &serverConfig{URL: fmt.Sprintf("https://mcp%d.example/mcp", i)}
		go func() { ended <- a.putAlias(t.Context(), fmt.Sprint("server", i), s) }()
	}
	chosen := storeMembers{Store: storeEncrypted, StoreKeyFile: filepath.Join(c.home, "key")}
	go func() { ended <- c.inside().noteStore(chosen) }()
	for range aliases + 1 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	conf, err := c.inside().loadConfig()
	if err != nil || len(conf.Servers) != aliases || conf.storeMembers != chosen {
		t.Errorf("it has %d servers and %+v (%v)", len(conf.Servers), conf.storeMembers, err)
	}
}

// A change keeps the mark that some editors put before the text, a link, and the mode.
func TestConfigurationKeepsWhatEditorsMadeOfIt(t *testing.T) {
	c := newCommand(t)
	if err := os.MkdirAll(c.home, 0o700); err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(t.TempDir(), "config.json")
	const text = "\ufeff{\r\n  \"profile\": \"work\"\r\n}\r\n"
	if err := os.WriteFile(real, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, filepath.Join(c.home, "config.json")); err != nil {
		t.Fatal(err)
	}
	for _, store := range []string{storeFile, ""} {
		if err := c.inside().noteStore(storeMembers{Store: store}); err != nil {
			t.Fatal(err)
		}
		conf, err := c.inside().loadConfig()
		if err != nil || conf.Store != store || conf.Profile != "work" {
			t.Errorf("it is %+v (%v)", conf, err)
		}
	}
	if got, err := os.ReadFile(real); err != nil || string(got) != text {
		t.Errorf("it is %q (%v)", got, err)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
}
