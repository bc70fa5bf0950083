//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// maxMemory is how much a replica with a full cache has resident, in MiB.
const maxMemory = 100.0

// replicaJob is what a replica, a process of its own, is given.
type replicaJob struct {
	Database, Server string
	Key              []byte
	Users            int
}

// replicaMemory is what it reports.
type replicaMemory struct {
	Resident   float64 // MiB, at rest
	Peak       float64 // MiB
	PerClient  float64 // bytes of the heap, for a user with one login
	Goroutines int     // that the users' Clients have at rest
}

// replica fills its cache and reports its memory.
func replica(ctx context.Context, in io.Reader, out io.Writer) error {
	var job replicaJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return err
	}
	key, err := sealed.NewKey(job.Key)
	if err != nil {
		return err
	}
	pool, err := openPool(ctx, job.Database, connections)
	if err != nil {
		return err
	}
	defer pool.Close()
	db, err := pgstore.New(ctx, pool, pgstore.Options{Keys: []sealed.Key{key}})
	if err != nil {
		return err
	}
	defer db.Close()
	d := &database{template: &template{server: job.Server}}
	app := &hosted.App{Database: db, CacheSize: job.Users}
	defer app.Close(ctx)
	first := min(job.Users, 2*connections) // the pool, the types and the caches of the library
	load := func(from, to int) (heap uint64, err error) {
		for i := from; i < to; i++ {
			if err := d.token(ctx, app, owner(i)); err != nil {
				return 0, err
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, nil
	}
	before, err := load(0, first)
	if err != nil {
		return err
	}
	goroutines := runtime.NumGoroutine()
	after, err := load(first, job.Users)
	if err != nil {
		return err
	}
	m := replicaMemory{
		PerClient:  float64(after-before) / float64(max(1, job.Users-first)),
		Goroutines: max(0, runtime.NumGoroutine()-goroutines), // those of the pool may have ended
	}
	if m.Resident, m.Peak, err = residentMemory(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(m)
}

// residentMemory returns what the system says of this process, in MiB.
func residentMemory() (now, peak float64, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for _, f := range []struct {
		name string
		into *float64
	}{{"\nVmRSS:", &now}, {"\nVmHWM:", &peak}} {
		_, after, _ := bytes.Cut(text, []byte(f.name))
		if _, err := fmt.Sscan(string(after), f.into); err != nil {
			return 0, 0, err
		}
		*f.into /= 1024
	}
	return now, peak, nil
}

// measureMemory runs a replica.
func (d *database) measureMemory(ctx context.Context, r *report) error {
	job, err := json.Marshal(replicaJob{d.url, d.template.server, d.rawKey, r.cache})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, r.self, "replica")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(job), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	var m replicaMemory
	if err := json.Unmarshal(out, &m); err != nil {
		return err
	}
	r.add(result{
		what:  fmt.Sprintf("resident memory of a replica with a cache of %s, the most, MiB", count(r.cache)),
		ratio: m.Peak, limit: maxMemory, ours: m.Resident, unit: "MiB at the end",
	})
	r.add(result{what: "bytes of it for each user with one login", ratio: m.PerClient, unit: "bytes"})
	r.add(result{what: "goroutines that their Clients have at rest", ratio: float64(m.Goroutines), limit: none})
	return nil
}

// none is the limit of what must not be there at all.
const none = 0.5
