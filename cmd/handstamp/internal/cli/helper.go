package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
	"github.com/spf13/cobra"
)

// helperVerb is the hidden command that does refreshes and logins for another
// process of ours, which may be killed at any moment.
const helperVerb = "refresh-helper"

// helperConfig is what a helper needs to know of the flags of the process that
// started it. It goes through a pipe.
type helperConfig struct {
	Store, CAFile, ClientCert, ClientKey, Proxy string
	Timeout                                     time.Duration
	NoBrowser                                   bool
}

// helper returns the process that does refreshes for a command, and the logins that a rejected
// request starts. It is nil where no other process could reach the store.
func (a *app) helper(t *target, o *loginOptions) *handstamp.RefreshHelper {
	if _, memory := a.store.(*store.Memory); memory || a.exe == "" {
		return nil
	}
	g := &a.global
	config, err := json.Marshal(helperConfig{
		Store: g.store, CAFile: g.caFile, ClientCert: g.clientCert, ClientKey: g.clientKey,
		Proxy: g.proxy, Timeout: g.timeout, NoBrowser: o.noBrowser,
	})
	if err != nil {
		return nil
	}
	// What is secret in the environment is in the job, as far as it is needed.
	return &handstamp.RefreshHelper{Command: []string{a.exe, helperVerb}, Env: a.childEnv(),
		Config: config, Logins: true}
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
	g := &a.global
	g.store, g.caFile, g.clientCert, g.clientKey, g.proxy, g.timeout =
		config.Store, config.CAFile, config.ClientCert, config.ClientKey, config.Proxy, config.Timeout
	c := new(handstamp.Client)
	if open, _ := a.browserFor(&loginOptions{noBrowser: config.NoBrowser}); open != nil {
		c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
			go a.openBrowser(ctx, open, rawURL)
			return nil
		}
	} else {
		c.Prompt.OpenURL = func(context.Context, string) error { return nil } // it is shown there
	}
	var err error
	if c.BaseTransport, err = a.transport(); err == nil {
		c.Store, err = a.openStore()
	}
	return c, err
}
