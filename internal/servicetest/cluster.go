//go:build unix

package servicetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// makeCluster makes an empty cluster: a copy of one that is kept in the tree's folder of what is built,
// since initdb costs a second of processor time.
func (p *Postgres) makeCluster() error {
	kept, err := p.keptCluster()
	if err != nil {
		return err
	}
	if _, err := os.Stat(kept); err == nil {
		return copyCluster(kept, p.cluster())
	}
	initdb := find(p.t, "postgres", "initdb", "/usr/lib/postgresql/*/bin")
	err = p.fill(initdb, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	if err != nil {
		return err
	}
	if err := keepCluster(p.cluster(), kept); err != nil {
		p.t.Log("the next server makes its own cluster, too:", err)
	}
	return nil
}

var tree = sync.OnceValues(func() (string, error) {
	return output("go", "list", "-m", "-f", "{{.Dir}}", "github.com/handstamp/handstamp")
})

// keptCluster returns where the empty cluster of this version is kept, which belongs to the user that
// the server runs as.
func (p *Postgres) keptCluster() (string, error) {
	root, err := tree()
	if err != nil {
		return "", err
	}
	version, err := output(find(p.t, "postgres", "postgres", "/usr/lib/postgresql/*/bin"), "--version")
	if err != nil {
		return "", err
	}
	user := os.Getuid()
	if c := credential(); c != nil {
		user = int(c.Uid)
	}
	number := strings.Fields(strings.TrimPrefix(version, "postgres (PostgreSQL) "))[0]
	return filepath.Join(root, "bin", "test", fmt.Sprintf("postgres-%s-%d", number, user)), nil
}

// keepCluster keeps a copy. Of several processes that do so at once, one succeeds.
func keepCluster(cluster, kept string) error {
	folder := filepath.Dir(kept)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(folder, "unfinished-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(unfinished)
	copied := filepath.Join(unfinished, "cluster")
	if err := copyCluster(cluster, copied); err != nil {
		return err
	}
	if err := os.Rename(copied, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// copyCluster copies a folder with the owners and rights of its files.
func copyCluster(from, to string) error {
	if out, err := exec.Command("cp", "-R", "-p", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp %s: %w\n%s", from, err, out)
	}
	return nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}
