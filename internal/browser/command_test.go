package browser

import (
	"errors"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // commands separated by ¦, words by | ; list separators are written as :
		err  string
	}{
		{text: "", want: ""},
		{text: "  \t ", want: ""},
		{text: ":::", want: ""},
		{text: "firefox", want: "firefox"},
		{text: "  firefox  --new-window  %s ", want: "firefox|--new-window|%s"},
		{text: `"/opt/my browser/run" '--a b' c"d e"f`, want: "/opt/my browser/run|--a b|cd ef"},
		{text: `b "" ''`, want: "b||"},
		{text: `b 'say "x"' "it's"`, want: `b|say "x"|it's`},
		{text: "firefox:chromium --app=%s:w3m", want: "firefox¦chromium|--app=%s¦w3m"},
		{text: `b "--proxy=localhost:80" %s`, want: "b|--proxy=localhost:80|%s"},
		{text: "firefox %s &", want: "firefox|%s"},
		{text: "firefox %s &:w3m", want: "firefox|%s¦w3m"},
		{text: "&", want: "&"},
		{text: "b $HOME `id` $(id) ~ *", want: "b|$HOME|`id`|$(id)|~|*"},
		{text: `b a\ c`, want: `b|a\|c`},
		{text: `b "open`, err: "not closed"},
		{text: `b 'open"`, err: "not closed"},
		{text: "b\nrm", err: "control character"},
		{text: "b \x00", err: "control character"},
		{text: "b \x1b[0m", err: "control character"},
	} {
		var want [][]string
		if c.want != "" {
			for command := range strings.SplitSeq(c.want, "¦") {
				want = append(want, strings.Split(command, "|"))
			}
		}
		got, err := split(strings.ReplaceAll(c.text, ":", string(filepath.ListSeparator)))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v, want %q", c.text, err, c.err)
			}
			continue
		}
		if filepath.ListSeparator != ':' {
			for _, command := range want {
				for i := range command {
					command[i] = strings.ReplaceAll(command[i], ":", string(filepath.ListSeparator))
				}
			}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, want)
		}
	}
}

func TestParseCommand(t *testing.T) {
	d := newDesk(t, "")
	folder := t.TempDir()
	d.install(folder, "firefox", "w3m", "sh", "zsh")
	t.Setenv("PATH", folder)
	exe := ""
	if runtime.GOOS == "windows" {
		exe = ".exe"
	}
	firefox, w3m := filepath.Join(folder, "firefox"+exe), filepath.Join(folder, "w3m"+exe)
	list := string(filepath.ListSeparator)
	for _, c := range []struct {
		text string
		want []string
		err  string
	}{
		{text: ""},
		{text: " "},
		{text: "firefox", want: []string{firefox}},
		{text: "firefox --app=%s", want: []string{firefox, "--app=%s"}},
		{text: `"` + firefox + `" x`, want: []string{firefox, "x"}},
		{text: "nothing" + list + "w3m -x" + list + "firefox", want: []string{w3m, "-x"}},
		{text: "sh -c x" + list + "firefox", want: []string{firefox}},
		{text: "nothing" + list + "sh", err: "not found"},
		{text: "sh -c 'firefox %s'", err: "is a shell"},
		{text: "zsh", err: "is a shell"},
		{text: filepath.Join(folder, "sh"+exe), err: "is a shell"},
		{text: "./firefox", err: "neither a name nor an absolute path"},
		{text: "sub/firefox", err: "neither a name nor an absolute path"},
		{text: "%s", err: "no program"},
		{text: "fire%sfox", err: "no program"},
		{text: `""`, err: "not found"},
		{text: "'", err: "not closed"},
	} {
		got, err := parseCommand(c.text)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || got != nil {
				t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

// TestCurrentDirectory puts a browser where whoever sent a repository could.
func TestCurrentDirectory(t *testing.T) {
	d := newDesk(t, "")
	folder := t.TempDir()
	d.install(folder, "firefox", "xdg-open")
	t.Chdir(folder)
	t.Setenv("DISPLAY", ":0")
	for _, path := range []string{".", "", "./", "../" + filepath.Base(folder), string(filepath.ListSeparator) + filepath.Join(folder, "none")} {
		t.Setenv("PATH", path)
		if got, err := parseCommand("firefox"); err == nil {
			t.Errorf("PATH=%q: %q", path, got)
		} else if path == "." && !errors.Is(err, exec.ErrDot) {
			t.Errorf("PATH=%q: %v", path, err)
		}
		if err := (Opener{Command: []string{"firefox"}}).Open(t.Context(), someURL); err == nil {
			t.Errorf("PATH=%q: opened", path)
		}
		// This switch brings Go's former behaviour back. It is not ours.
		t.Setenv("GODEBUG", "execerrdot=0")
		if got, err := parseCommand("firefox"); err == nil {
			t.Errorf("PATH=%q, with execerrdot=0: %q", path, got)
		}
		t.Setenv("GODEBUG", "")
	}
	d.none()
}

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"", "firefox %s", `"a b" 'c'`, "a:b;c", "b &", `b "`, "sh -c 'x %s'", "./b", "%s", "&&", `"":''`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		commands, err := split(s)
		for _, command := range commands {
			if err != nil || len(command) == 0 {
				t.Fatalf("%q, %v", commands, err)
			}
			for _, word := range command {
				if strings.ContainsFunc(word, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
					t.Fatalf("word %q", word)
				}
			}
		}
		if argv, err := parseCommand(s); err == nil && argv != nil && (!filepath.IsAbs(argv[0]) || isShell(argv[0])) {
			t.Fatalf("%q", argv)
		}
	})
}
