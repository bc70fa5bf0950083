package filestore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
)

// env is an environment.
type env []string

func (e env) get(name string) string {
	for _, kv := range e {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

func TestUserFolders(t *testing.T) {
	mine := t.TempDir()
	if err := os.Chmod(mine, 0o700); err != nil {
		t.Fatal(err)
	}
	unfit := filepath.Join(mine, "file")
	if err := os.WriteFile(unfit, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	none := Folders{Config: "/home/a/.config/handstamp", Credentials: "/home/a/.local/share/handstamp"}
	spare := none
	spare.Spare = filepath.ToSlash(mine) + "/handstamp"
	for _, test := range []struct {
		name  string
		goos  string
		env   env
		usual string // the runtime folder where the environment names none
		want  Folders
	}{{
		name: "one folder for everything",
		goos: "linux",
		env:  env{"HANDSTAMP_HOME=/h", "HOME=/home/a", "XDG_RUNTIME_DIR=" + mine},
		want: Folders{Config: "/h", Credentials: "/h/credentials"},
	}, {
		name: "Linux",
		goos: "linux",
		env:  env{"HOME=/home/a", "XDG_RUNTIME_DIR=" + mine},
		want: Folders{Config: "/home/a/.config/handstamp", Credentials: "/home/a/.local/share/handstamp", Spare: mine + "/handstamp"},
	}, {
		name: "XDG",
		goos: "freebsd",
		env:  env{"HOME=/home/a", "XDG_CONFIG_HOME=/c", "XDG_DATA_HOME=/d", "XDG_STATE_HOME=/s"},
		want: Folders{Config: "/c/handstamp", Credentials: "/d/handstamp"},
	}, {
		name: "a relative XDG path is ignored",
		goos: "linux",
		env:  env{"HOME=/home/a", "XDG_DATA_HOME=data", "XDG_RUNTIME_DIR=run"},
		want: Folders{Config: "/home/a/.config/handstamp", Credentials: "/home/a/.local/share/handstamp"},
	}, {
		name:  "a runtime folder that is not named",
		goos:  "linux",
		env:   env{"HOME=/home/a"},
		usual: mine,
		want:  spare,
	}, {
		name:  "a runtime folder that is named and absent",
		goos:  "linux",
		env:   env{"HOME=/home/a", "XDG_RUNTIME_DIR=" + mine + "/absent"},
		usual: mine,
		want:  spare,
	}, {
		name:  "a runtime folder that is named and another one",
		goos:  "linux",
		env:   env{"HOME=/home/a", "XDG_RUNTIME_DIR=" + mine},
		usual: t.TempDir(),
		want:  spare,
	}, {
		name:  "a runtime folder that is not named and unfit",
		goos:  "linux",
		env:   env{"HOME=/home/a"},
		usual: unfit,
		want:  none,
	}, {
		name:  "macOS",
		goos:  "darwin",
		env:   env{"HOME=/Users/a", "XDG_DATA_HOME=/d"},
		usual: mine,
		want:  below("/Users/a/Library/Application Support/handstamp", "/Users/a/Library/Application Support/handstamp"),
	}, {
		name:  "Windows",
		goos:  "windows",
		env:   env{"AppData=/roaming", "LocalAppData=/local"},
		usual: mine,
		want:  Folders{Config: "/roaming/handstamp", Credentials: "/local/handstamp/credentials"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			got, err := userFolders(test.env.get, test.goos, test.usual)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*string{&got.Config, &got.Credentials, &got.Spare} {
				*p = filepath.ToSlash(*p)
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
	got, err := userFolders(env{"HOME=/home/a", "XDG_RUNTIME_DIR=" + unfit}.get, "linux", mine)
	if err != nil || got.Spare != filepath.Join(mine, "handstamp") || got.ignored == nil {
		t.Errorf("with a named one that is unfit: %+v, %v", got, err)
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		_, err := userFolders(env(nil).get, goos, mine)
		if _, ok := errtype.As[*HomeError](err); !ok {
			t.Errorf("%s without a home: %v", goos, err)
		}
	}
}
