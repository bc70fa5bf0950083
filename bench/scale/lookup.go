//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
)

// Bounds of lookups.
const (
	rate     = 2000 // lookups a second
	maxMiss  = 3.0  // times a bare SELECT of the same row, 99th percentile
	maxHit   = 10.0 // µs, 99th percentile
	maxList  = 3.0  // times the bare query
	lateness = 200  // how many lookups may wait
)

// at calls do at the rate for a while, from as many goroutines as it takes, and returns how long the
// calls took, in microseconds, from the moment that each was begun or had to wait. Where the machine
// is too slow for the rate, there are fewer.
func at(ctx context.Context, d time.Duration, do func(n int) error) ([]float64, error) {
	calls := int(d.Seconds() * rate)
	took, failed := make([]float64, calls), make([]error, calls)
	sent := 0
	type call struct {
		n   int
		due time.Time
	}
	due := make(chan call, lateness)
	var workers sync.WaitGroup
	for range 2 * connections {
		workers.Go(func() {
			for c := range due {
				failed[c.n] = do(c.n)
				took[c.n] = float64(time.Since(c.due)) / 1e3
			}
		})
	}
	began := time.Now()
	for ; sent < calls && time.Since(began) < d && ctx.Err() == nil; sent++ {
		time.Sleep(time.Until(began.Add(time.Duration(sent) * time.Second / rate)))
		due <- call{sent, time.Now()}
	}
	close(due)
	workers.Wait()
	return took[:sent], errors.Join(errors.Join(failed...), ctx.Err())
}

// bareSelect reads a row as an application would that has a table of its own.
func (d *database) bareSelect(ctx context.Context, o store.Owner) error {
	var value []byte
	var revision string
	return d.pool.QueryRow(ctx, "SELECT value, revision FROM handstamp_credential WHERE id = $1",
		rowID(o, d.template.record.Key)).Scan(&value, &revision)
}

func (d *database) app(cache int) *hosted.App {
	return &hosted.App{Database: d.store, CacheSize: cache,
		Configure: func(_ store.Owner, c *handstamp.Client) {
			c.InsecureAllowPrivateAddresses = true // the token endpoint is on this machine
		}}
}

// token gets the token of a user.
func (d *database) token(ctx context.Context, app *hosted.App, o store.Owner) error {
	client, err := app.Client(o)
	if err != nil {
		return err
	}
	_, err = client.Token(ctx, d.template.server, handstamp.TokenOptions{})
	return err
}

// measureLookups measures lookups that miss the cache, of users that nothing has read lately.
func (d *database) measureLookups(ctx context.Context, r *report, last bool) error {
	app := d.app(1)
	defer app.Close(ctx)
	var ours, floor, ratios []float64
	for round := range r.rounds {
		users := rand.Perm(d.rows)
		user := func(n int) store.Owner { return owner(users[n%d.rows]) }
		measure := []func() ([]float64, error){
			func() ([]float64, error) {
				return at(ctx, r.round, func(n int) error { return d.token(ctx, app, user(n)) })
			},
			func() ([]float64, error) {
				return at(ctx, r.round, func(n int) error { return d.bareSelect(ctx, user(n)) })
			},
		}
		var took [2][]float64
		for i := range measure {
			i = (i + round) % 2
			var err error
			if took[i], err = measure[i](); err != nil {
				return err
			}
		}
		ours, floor = append(ours, took[0]...), append(floor, took[1]...)
		ratios = append(ratios, percentile(took[0], 99)/percentile(took[1], 99))
	}
	r.growth = append(r.growth, growth{d.rows, percentile(ours, 50), percentile(floor, 50)})
	if last {
		r.add(result{
			what:  "lookup that misses the cache, 99th percentile, times a bare SELECT of the same row",
			ratio: median(ratios), limit: maxMiss,
			ours: percentile(ours, 99), floor: percentile(floor, 99), unit: "µs",
		})
	}
	return nil
}

// measureHits measures lookups in a full cache: one after the other, and at the rate. A percentile is
// the median of those of the rounds, as it is of lookups that miss. Between two of
// those, the processor's own caches are used by others, so that one lookup in a Go map takes half as
// long as the bound is: it is measured beside.
func (d *database) measureHits(ctx context.Context, r *report) error {
	app := d.app(r.cache)
	defer app.Close(ctx)
	bare := make(map[store.Owner]*handstamp.Token)
	for i := range r.cache {
		if err := d.token(ctx, app, owner(i)); err != nil {
			return err
		}
		bare[owner(i)] = &handstamp.Token{ExpiresAt: time.Now().Add(time.Hour)}
	}
	hit := func(o store.Owner) error { return d.token(ctx, app, o) }
	look := func(o store.Owner) error {
		if bare[o].ExpiresAt.Before(time.Now()) {
			return errors.New("the hour is over")
		}
		return nil
	}
	var took, slow [3][]float64 // slow: the 99th percentile of each round
	for range r.rounds {
		for i, c := range []struct {
			every time.Duration
			do    func(store.Owner) error
		}{{0, hit}, {time.Second / rate, hit}, {time.Second / rate, look}} {
			round, err := every(c.every, r.round, func() store.Owner { return owner(rand.IntN(r.cache)) }, c.do)
			if err != nil {
				return err
			}
			took[i], slow[i] = append(took[i], round...), append(slow[i], percentile(round, 99))
		}
	}
	what := fmt.Sprintf("lookup in a cache of %s, ", count(r.cache))
	r.add(result{
		what:  what + "one after the other, 99th percentile, µs",
		ratio: median(slow[0]), limit: maxHit, ours: median(took[0]), unit: "µs, median",
	})
	r.add(result{
		what:  what + fmt.Sprintf("%d a second, 99th percentile, µs", rate),
		ratio: median(slow[1]), limit: maxHit,
		ours: median(slow[1]), floor: median(slow[2]), unit: "µs of a lookup in a map",
	})
	return nil
}

// every calls do for a user, again and again, with an interval from call to call, and returns how long
// the calls took, in microseconds. It does not sleep: to wake up is no part of a lookup.
func every(interval, d time.Duration, user func() store.Owner, do func(store.Owner) error) ([]float64, error) {
	var took []float64
	start := time.Now()
	for due := start; time.Since(start) < d; due = due.Add(interval) {
		o := user()
		for time.Now().Before(due) {
		}
		began := time.Now()
		if err := do(o); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began))/1e3)
	}
	return took, nil
}

// measureList measures the list of a user's logins.
func (d *database) measureList(ctx context.Context, r *report) error {
	s, err := d.store.Store(listOwner)
	if err != nil {
		return err
	}
	list := func() error {
		keys, err := s.List(ctx)
		if err == nil && len(keys) != listed {
			err = fmt.Errorf("%d logins are listed", len(keys))
		}
		return err
	}
	bare := func() error {
		rows, err := d.pool.Query(ctx, "SELECT server, profile FROM handstamp_credential "+
			"WHERE tenant = $1 AND user_name = $2", listOwner.Tenant, listOwner.User)
		if err != nil {
			return err
		}
		_, err = pgx.CollectRows(rows, pgx.RowToStructByPos[store.Key])
		return err
	}
	client := &handstamp.Client{Store: s, LoginPolicy: handstamp.LoginNever}
	statuses := func() error { _, err := client.List(ctx); return err }
	values := func() error {
		rows, err := d.pool.Query(ctx, "SELECT server, profile, value, revision FROM "+
			"handstamp_credential WHERE tenant = $1 AND user_name = $2", listOwner.Tenant, listOwner.User)
		if err != nil {
			return err
		}
		_, err = pgx.CollectRows(rows, pgx.RowToMap)
		return err
	}
	for _, c := range []struct {
		what        string
		ours, floor func() error
		limit       float64
	}{
		{"list of a user's %d logins, times the bare query", list, bare, maxList},
		{"status of a user's %d logins, times the bare query", statuses, values, 0},
	} {
		ours, floor, ratio, err := compare(c.ours, c.floor, r.rounds*20)
		if err != nil {
			return err
		}
		r.add(result{what: fmt.Sprintf(c.what, listed), ratio: ratio, limit: c.limit,
			ours: ours, floor: floor, unit: "µs"})
	}
	return nil
}

// compare calls two functions in turn and returns the median time of each, in microseconds, and the
// median ratio.
func compare(ours, floor func() error, rounds int) (a, b, ratio float64, err error) {
	var all, bare, ratios []float64
	for range rounds {
		began := time.Now()
		if err := ours(); err != nil {
			return 0, 0, 0, err
		}
		middle := time.Now()
		if err := floor(); err != nil {
			return 0, 0, 0, err
		}
		x, y := float64(middle.Sub(began))/1e3, float64(time.Since(middle))/1e3
		all, bare, ratios = append(all, x), append(bare, y), append(ratios, x/y)
	}
	return median(all), median(bare), median(ratios), nil
}

func median(values []float64) float64 { return percentile(values, 50) }

func percentile(values []float64, p int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }
