package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// labClient is one of ours under test: what it has stored can be made older.
type labClient struct {
	suite.Client
	name string
	// ways are those that the client can be configured for.
	ways []string
	// configured is the client with flags, for the first session of a cell where an administrator
	// has set it up. Later sessions find everything in the store.
	configured func(flags []string) suite.Client
}

// labClients are what handstamp lab run tests without --client and --client-http.
func (a *app) labClients() ([]suite.Client, error) {
	exe, err := a.executable()
	if err != nil {
		return nil, fmt.Errorf("the lab cannot find its own program: %w", err)
	}
	library := func(flags []string) suite.Client {
		return &suite.Program{Command: append([]string{exe, "lab", "session", "{url}"}, flags...)}
	}
	bridge := func(flags []string) suite.Client {
		return &suite.Bridge{Command: append([]string{exe, "bridge", "{url}"}, flags...)}
	}
	withoutCaller := slices.DeleteFunc(lab.Ways(), func(way string) bool {
		return way == lab.WayTokenExchange // a bridge has no caller with a token
	})
	return []suite.Client{
		&labClient{library(nil), "handstamp (library)", lab.Ways(), library},
		&labClient{bridge(nil), "handstamp bridge", withoutCaller, bridge},
	}, nil
}

// Session runs the client, with flags where it has to be configured.
func (c *labClient) Session(ctx context.Context, s suite.Session) error {
	flags := setupFlags(s.Setup)
	known := filepath.Join(s.Home, "configured")
	if _, err := os.Stat(known); err == nil && s.Setup["way"] != lab.WayTokenExchange {
		flags = nil
	}
	if len(flags) == 0 {
		return c.Client.Session(ctx, s)
	}
	err := c.configured(flags).Session(ctx, s)
	if err == nil {
		err = os.WriteFile(known, nil, 0o600)
	}
	return err
}

// setupFlags are the flags of a login for what an administrator has given to the client. The
// certificate authority is in the environment.
func setupFlags(given map[string]string) []string {
	var flags []string
	for _, flag := range []struct{ name, given string }{
		{"client-id", "client_id"}, {"client-secret-file", "client_secret_file"},
		{"token-endpoint-auth-method", "method"}, {"jwt-key", "key_file"},
		{"client-cert", "certificate_file"}, {"client-key", "certificate_key_file"},
		{"enterprise", "company_issuer"}, {"enterprise-client-id", "company_client_id"},
		{"enterprise-client-secret-file", "company_client_secret_file"},
	} {
		if value := given[flag.given]; value != "" {
			flags = append(flags, "--"+flag.name+"="+value)
		}
	}
	switch given["way"] {
	case lab.WayClientCredentials:
		flags = append(flags, "--client-credentials")
	case lab.WayDevice:
		flags = append(flags, "--device")
	case lab.WayWorkload:
		flags = append(flags, "--workload=file:"+given["token_file"])
	case lab.WayTokenExchange:
		flags = append(flags, "--exchange="+given["token_file"], "--issuer="+given["issuer"])
	}
	return flags
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
