//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// Bounds of the file store.
const (
	maxStatus   = 3.0  // times opening and reading the same files
	maxTokenCPU = 15.0 // milliseconds
)

// measureFiles measures the commands of a user with many logins, as new processes.
func measureFiles(ctx context.Context, r *report) error {
	progress("%d credentials in files", r.files)
	program := filepath.Join(r.dir, "handstamp")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/handstamp")
	build.Dir = r.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	home := filepath.Join(r.dir, "home")
	server, err := r.fillFiles(ctx, filepath.Join(home, "credentials"))
	if err != nil {
		return err
	}
	timed := func(name string, args ...string) (cost, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+home)
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return cost{}, fmt.Errorf("%s %v: %w\n%.500s", filepath.Base(name), args, err, out)
		}
		s := cmd.ProcessState
		return cost{milliseconds(time.Since(began)), milliseconds(s.UserTime() + s.SystemTime())}, nil
	}
	var floor, status, text, token []cost
	for range r.programs {
		for _, c := range []struct {
			into *[]cost
			name string
			args []string
		}{
			{&floor, r.self, []string{"read", filepath.Join(home, "credentials")}},
			{&text, program, []string{"status", "--store", "file"}},
			{&status, program, []string{"status", "--json", "--store", "file"}},
			{&token, program, []string{"token", "--store", "file", server}},
		} {
			s, err := timed(c.name, c.args...)
			if err != nil {
				return err
			}
			*c.into = append(*c.into, s)
		}
	}
	for _, c := range []struct {
		name string
		took []cost
	}{{"`handstamp status`", text}, {"`handstamp status --json`", status}} {
		r.add(result{
			what:  fmt.Sprintf("%s of %s logins, times opening and reading the same files", c.name, count(r.files)),
			ratio: medianRatio(c.took, floor, wall), limit: maxStatus,
			ours: medianOf(c.took, wall), floor: medianOf(floor, wall), unit: "ms",
		})
	}
	r.add(result{
		what:  fmt.Sprintf("`handstamp token` with %s logins, ms of CPU", count(r.files)),
		ratio: medianOf(token, cpu), limit: maxTokenCPU, ours: medianOf(token, wall), unit: "ms",
	})
	return nil
}

// cost is what a process took, in milliseconds.
type cost struct{ wall, cpu float64 }

func wall(s cost) float64 { return s.wall }
func cpu(s cost) float64  { return s.cpu }

func medianOf(all []cost, of func(cost) float64) float64 {
	values := make([]float64, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	return median(values)
}

// medianRatio is the median of the ratios within a round.
func medianRatio(ours, floor []cost, of func(cost) float64) float64 {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = of(ours[i]) / of(floor[i])
	}
	return median(ratios)
}

// fillFiles stores many logins, each at a server of its own, and returns one of the servers.
func (r *report) fillFiles(ctx context.Context, dir string) (server string, err error) {
	as, err := lab.Start(lab.NoneFirst())
	if err != nil {
		return "", err
	}
	defer as.Close()
	t, err := signIn(ctx, as, time.Now().Add(24*time.Hour))
	if err != nil {
		return "", err
	}
	s, err := filestore.Open(filestore.Options{Dir: dir})
	if err != nil {
		return "", err
	}
	for i := range r.files {
		key, value, err := t.at(i)
		if err != nil {
			return "", err
		}
		if _, err := s.Put(ctx, key, value, ""); err != nil {
			return "", err
		}
		server = key.Server
	}
	return server, nil
}

// readFolder is the floor of a list: each file is opened and read.
func readFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		if _, err := os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
