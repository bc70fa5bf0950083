package mutant

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// state is what is kept between processes.
type state struct {
	Issuer        string
	TokenEndpoint string
	Listed        []string // methods, as the metadata has them
	Client        registration
	Resource      string
	OmitResource  bool
	NoOffline     bool // offline_access was rejected
	Localhost     bool // 127.0.0.1 was rejected in a redirect URI
	Requested     string
	Granted       string
	RefreshScope  bool // a refresh has to name the scope
	Access        string
	Issued        time.Time // when Access was
	Worked        bool      // Access has
	Refresh       string
	Key           string            // of proofs, empty for bearer tokens
	Nonces        map[string]string // for proofs, by origin
	ACR           string            // acr_values

	IDToken   string // of the company
	Company   *state // the login there
	Assertion string // the platform's token that was sent
}

// registration is a client as it was registered.
type registration struct {
	ID, Secret, Method string
	Guess              bool // the response does not confirm the method
	FormID             bool // the id has to be in the form, beside Basic
	RedirectURI        string
	Ends               int64 // of the secret, in seconds since 1970; 0 is never
}

// methodNow is the method of a later session.
func (st *state) methodNow(d Defect) string {
	switch {
	case d == FirstListed && len(st.Listed) > 0:
		return st.Listed[0]
	case d == MethodNotStored && st.Client.Secret != "":
		return "client_secret_basic"
	case d == MethodNotStored, d == KeyAtLoginOnly:
		return "none"
	}
	return st.Client.Method
}

// over reports whether the secret has ended.
func (r registration) over() bool { return r.Ends != 0 && time.Now().Unix() >= r.Ends }

func (st *state) forgetClient() {
	st.Client = registration{RedirectURI: st.Client.RedirectURI}
}

// take takes over what a token request has brought.
func (st *state) take(t tokenResponse, d Defect) {
	st.Access, st.Issued, st.Worked = t.access, time.Now(), false
	if t.refresh != "" || d == OldRefreshDropped {
		st.Refresh = t.refresh
	}
	if t.scope != "" {
		st.Granted = t.scope
	}
	if t.idToken != "" {
		st.IDToken = t.idToken
	}
}

func (c *Client) load() (*state, error) {
	st := new(state)
	raw, err := os.ReadFile(filepath.Join(c.Home, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	return st, json.Unmarshal(raw, st)
}

func (c *Client) save(st *state) error {
	stored := *st
	if c.Defect == SecretDropped {
		stored.Client.Secret = ""
	}
	if c.Defect == TokenNotStored {
		stored.Access = ""
	}
	if c.Defect == KeyNotStored {
		stored.Key = ""
	}
	if c.Defect == ACRForgotten {
		stored.ACR = ""
	}
	if c.Defect == FormIDForgotten {
		stored.Client.FormID = false
	}
	raw, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(c.Home, "state-")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(c.Home, "state.json"))
}

// lock waits until no other process is at work.
func (c *Client) lock(ctx context.Context) (unlock func(), err error) {
	if c.Defect == LoginUnlocked {
		return func() {}, nil
	}
	path := filepath.Join(c.Home, "lock")
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			f.Close()
			return func() { os.Remove(path) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollPause):
		}
	}
}
