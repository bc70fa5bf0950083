package cli

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestFindFolders(t *testing.T) {
	for _, test := range []struct {
		name string
		goos string
		env  environment
		want folders
	}{{
		name: "one folder for everything",
		goos: "linux",
		env:  environment{"HANDSTAMP_HOME=/h", "HOME=/home/a", "XDG_RUNTIME_DIR=/run/user/1"},
		want: folders{config: "/h", credentials: "/h/credentials", locks: "/h/locks"},
	}, {
		name: "Linux",
		goos: "linux",
		env:  environment{"HOME=/home/a", "XDG_RUNTIME_DIR=/run/user/1"},
		want: folders{"/home/a/.config/handstamp", "/home/a/.local/share/handstamp", "/home/a/.local/state/handstamp/locks", "/run/user/1/handstamp"},
	}, {
		name: "XDG",
		goos: "freebsd",
		env:  environment{"HOME=/home/a", "XDG_CONFIG_HOME=/c", "XDG_DATA_HOME=/d", "XDG_STATE_HOME=/s"},
		want: folders{"/c/handstamp", "/d/handstamp", "/s/handstamp/locks", ""},
	}, {
		name: "a relative XDG path is ignored",
		goos: "linux",
		env:  environment{"HOME=/home/a", "XDG_DATA_HOME=data", "XDG_RUNTIME_DIR=run"},
		want: folders{"/home/a/.config/handstamp", "/home/a/.local/share/handstamp", "/home/a/.local/state/handstamp/locks", ""},
	}, {
		name: "macOS",
		goos: "darwin",
		env:  environment{"HOME=/Users/a", "XDG_DATA_HOME=/d"},
		want: below("/Users/a/Library/Application Support/handstamp", "/Users/a/Library/Application Support/handstamp"),
	}, {
		name: "Windows",
		goos: "windows",
		env:  environment{"AppData=/roaming", "LocalAppData=/local"},
		want: folders{"/roaming/handstamp", "/local/handstamp/credentials", "/local/handstamp/locks", ""},
	}} {
		t.Run(test.name, func(t *testing.T) {
			got, err := findFolders(test.env, test.goos)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*string{&got.config, &got.credentials, &got.locks, &got.spare} {
				*p = filepath.ToSlash(*p)
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		_, err := findFolders(nil, goos)
		if f, ok := errors.AsType[*failure](err); !ok || f.kind != kindStore {
			t.Errorf("%s without a home: %v", goos, err)
		}
	}
}
