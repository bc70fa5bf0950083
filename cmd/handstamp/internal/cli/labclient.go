package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// labClient is one of ours under test: what it has stored can be made older.
type labClient struct {
	suite.Client
	name string
}

// labClients are what handstamp lab run tests without --client and --client-http.
func (a *app) labClients() ([]suite.Client, error) {
	exe, err := a.executable()
	if err != nil {
		return nil, fmt.Errorf("the lab cannot find its own program: %w", err)
	}
	library := &suite.Program{Command: []string{exe, "lab", "session", "{url}"}}
	bridge := &suite.Bridge{Command: []string{exe, "bridge", "{url}"}}
	return []suite.Client{
		&labClient{library, "handstamp (library)"}, &labClient{bridge, "handstamp bridge"},
	}, nil
}

// String returns a name without the path of the program.
func (c *labClient) String() string { return c.name }

// Age implements suite.Ager: it sets the times of the stored credential back.
func (c *labClient) Age(ctx context.Context, s suite.Session, d time.Duration) error {
	return setBack(ctx, environment(s.Env), s.URL, d)
}

// setBack makes a stored grant d older. One that is not there is old enough.
func setBack(ctx context.Context, env environment, url string, d time.Duration) error {
	dirs, err := findFolders(env)
	if err != nil {
		return err
	}
	files, err := dirs.Open(filestore.Options{})
	if err != nil {
		return err
	}
	key, err := store.NewKey(url, "")
	if err != nil {
		return err
	}
	rec, err := record.Get(ctx, files, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && rec.Grant == nil {
		return nil
	}
	if err != nil {
		return err
	}
	rec.Grant.ObtainedAt = rec.Grant.ObtainedAt.Add(-d)
	if !rec.Grant.ExpiresAt.IsZero() {
		rec.Grant.ExpiresAt = rec.Grant.ExpiresAt.Add(-d)
	}
	for i := range rec.Clients {
		if !rec.Clients[i].SecretExpiresAt.IsZero() {
			rec.Clients[i].SecretExpiresAt = rec.Clients[i].SecretExpiresAt.Add(-d)
		}
	}
	return record.Put(ctx, files, rec)
}
