package browser

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemOpener chooses among the openers that a machine has.
func TestSystemOpener(t *testing.T) {
	for _, c := range []struct {
		name      string
		installed string
		env       string
		want      string // the program; "" for none
		why       string
	}{
		{name: "desktop", installed: "xdg-open x-www-browser www-browser wslview", env: "DISPLAY=:0", want: "xdg-open"},
		{name: "Wayland", installed: "xdg-open", env: "WAYLAND_DISPLAY=wayland-0", want: "xdg-open"},
		{name: "no xdg-open", installed: "www-browser x-www-browser", env: "DISPLAY=:0", want: "x-www-browser"},
		{name: "the last resort", installed: "www-browser", env: "DISPLAY=:0", want: "www-browser"},
		{name: "wslview elsewhere", installed: "wslview", env: "DISPLAY=:0", why: "is installed"},
		{name: "WSL", installed: "xdg-open wslview", env: "WSL_DISTRO_NAME=Debian", want: "wslview"},
		{name: "WSL with a display", installed: "xdg-open wslview", env: "WSL_DISTRO_NAME=Debian DISPLAY=:0", want: "wslview"},
		{name: "WSL with a display only", installed: "xdg-open", env: "WSL_DISTRO_NAME=Debian DISPLAY=:0", want: "xdg-open"},
		{name: "WSL without anything", installed: "xdg-open", env: "WSL_DISTRO_NAME=Debian", why: "no display"},
		{name: "WSL from afar", installed: "xdg-open wslview", env: "WSL_DISTRO_NAME=Debian SSH_TTY=/dev/pts/1", why: "remote session"},
		{name: "no display", installed: "xdg-open www-browser", why: "no display"},
		{name: "SSH", installed: "xdg-open", env: "SSH_CONNECTION=192.0.2.1", why: "remote session"},
		{name: "SSH with X11 forwarding", installed: "xdg-open", env: "SSH_CONNECTION=192.0.2.1 DISPLAY=:10", want: "xdg-open"},
		{name: "nothing installed", env: "DISPLAY=:0", why: "is installed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, "")
			folder := t.TempDir()
			d.install(folder, strings.Fields(c.installed)...)
			t.Setenv("PATH", folder)
			for _, name := range []string{"DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "SSH_CONNECTION", "SSH_TTY"} {
				t.Setenv(name, "")
			}
			for kv := range strings.FieldsSeq(c.env) {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			errs := []error{available(), Opener{}.Open(context.Background(), someURL)}
			if c.want == "" {
				for _, err := range errs {
					if err == nil || !strings.Contains(err.Error(), c.why) {
						t.Errorf("%v, want %q", err, c.why)
					}
				}
				d.none()
				return
			}
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			l := d.only()
			if want := filepath.Join(folder, c.want); len(l.Args) != 2 || l.Args[0] != want || l.Args[1] != someURL {
				t.Errorf("started as %q, want %q and the URL", l.Args, want)
			}
			if l.Parent != os.Getpid() {
				t.Errorf("started by process %d, not by us", l.Parent)
			}
		})
	}
}

// TestSystemOpenerInCurrentDirectory has an xdg-open where no program is taken
// from.
func TestSystemOpenerInCurrentDirectory(t *testing.T) {
	d := newDesk(t, "")
	folder := t.TempDir()
	d.install(folder, "xdg-open", "x-www-browser", "www-browser", "wslview")
	t.Chdir(folder)
	t.Setenv("DISPLAY", ":0")
	t.Setenv("WSL_DISTRO_NAME", "Debian")
	for _, path := range []string{"", ".", ":/nowhere", "/nowhere:", "./:."} {
		t.Setenv("PATH", path)
		if err := (Opener{}).Open(context.Background(), someURL); err == nil || !strings.Contains(err.Error(), "current directory") && !strings.Contains(err.Error(), "no program that opens URLs") {
			t.Errorf("PATH=%q: %v", path, err)
		}
	}
	d.none()
}
