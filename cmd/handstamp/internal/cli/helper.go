package cli

import (
	"encoding/json"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/spf13/cobra"
)

// helperVerb is the hidden command that does refreshes and logins for another
// process of ours, which may be killed at any moment.
const helperVerb = "refresh-helper"

// helperConfig is what a helper needs to know of the flags of the process that
// started it. It goes through a pipe.
type helperConfig struct {
	connection
	NoBrowser bool
	Auth      authSettings
	Chosen    string // which store is used, and by what it was chosen
	ChosenBy  string
	StoreKey  string // of a sealed store, which this process need not get from its user again

	InitialAccessToken, SoftwareStatement string // for registrations
}

// helper returns the process that does refreshes for a command, and the logins that a rejected
// request starts. It is nil where no other process could reach the store.
func (a *app) helper(
	t *target, o *loginOptions, c *handstamp.Client, used connection,
) *handstamp.RefreshHelper {
	if _, memory := a.store.(*store.Memory); memory || a.exe == "" {
		return nil
	}
	auth := t.auth
	auth.Grant, auth.Workload, auth.Enterprise = "", "", nil // a login of ours, if any
	config := &helperConfig{used, o.noBrowser, auth,
		a.decided.word, a.decided.by, a.opened.key.Reveal(),
		c.InitialAccessToken.Reveal(), c.SoftwareStatement}
	encode := func() []byte { // when it is needed: the first time takes a thirtieth of a start
		encoded, _ := json.Marshal(config) // which always works
		return encoded
	}
	// What is secret in the environment is in the job, as far as it is needed. A user at a terminal
	// talks to this process.
	return &handstamp.RefreshHelper{Command: []string{a.exe, helperVerb}, Env: a.childEnv(),
		Config: encode, Logins: c.Grant == nil && c.Prompt.Paste == nil}
}

func (a *app) newHelper() *cobra.Command {
	return &cobra.Command{
		Use:    helperVerb,
		Short:  "Refresh a login for another process of this program",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return handstamp.ServeRefreshHelper(cmd.Context(), a.in, a.out.w, a.helperClient)
		},
	}
}

// helperClient returns the Client of a helper.
func (a *app) helperClient(raw []byte) (*handstamp.Client, error) {
	var config helperConfig
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	a.global.connection, a.givenKey = config.connection, secret.String(config.StoreKey)
	a.decided = storeChoice{config.Chosen, config.ChosenBy}
	// Without a browser, the URL is shown by the process that started this one.
	open, _ := a.browserFor(&loginOptions{noBrowser: config.NoBrowser})
	c := &handstamp.Client{
		Prompt:             handstamp.Prompt{OpenURL: a.openURL(open)},
		InitialAccessToken: secret.String(config.InitialAccessToken),
		SoftwareStatement:  config.SoftwareStatement,
	}
	var err error
	if c.BaseTransport, err = a.transport(a.global.connection); err == nil {
		err = config.Auth.apply(a, c)
	}
	if err == nil {
		c.Store, err = a.openStore()
	}
	return c, err
}
