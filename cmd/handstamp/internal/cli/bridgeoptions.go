package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/bridge"
)

// options returns the options of a bridge to a target.
func (b *bridgeCommand) options(ctx context.Context, t *target) (*bridge.Options, error) {
	tool, err := b.tools.match()
	if err != nil {
		return nil, err
	}
	header, err := b.headers.read(b.app)
	if err != nil {
		return nil, err
	}
	user := new(bridge.User)
	c, err := b.bridgeClient(t, user)
	if err != nil {
		return nil, err
	}
	if header.Get("Authorization") == "" {
		fixed, err := b.secretIn(tokenVariable)
		if err != nil {
			return nil, err
		}
		if fixed != "" {
			header.Set("Authorization", "Bearer "+fixed.Reveal())
		}
	}
	if err := b.checkStored(ctx, c, t); err != nil {
		return nil, err
	}
	client, err := b.httpClient(c, t, header)
	if err != nil {
		return nil, err
	}
	wait := b.wait
	if b.direct || wait == 0 {
		wait = -1
	}
	return &bridge.Options{
		URL: t.url,

		InitializeWait: wait,

		HTTP:    client,
		Ping:    time.Duration(b.remote.pingInterval),
		Wire:    wires[b.wire],
		Header:  header,
		Tool:    tool,
		Name:    "handstamp",
		Version: buildVersion().Version,
		User:    user,
		SignedIn: func(ctx context.Context) bool {
			s, err := c.Status(ctx, t.url)
			return err == nil && s.Usable()
		},
		Background: handstamp.WithoutLogin,
		Explain:    b.explain(t),
		Logger:     b.logger("bridge"),

		MaxMemory: b.memory << 20,
	}, nil
}

// wires are the transports by the words of --transport; the others find out.
var wires = map[string]bridge.Wire{
	"http": bridge.WireHTTP, "http-only": bridge.WireHTTP,
	"sse": bridge.WireSSE, "sse-only": bridge.WireSSE,
}

// bridgeClient returns a Client whose prompts reach the user through the MCP host.
func (b *bridgeCommand) bridgeClient(t *target, user *bridge.User) (*handstamp.Client, error) {
	policy, err := b.loginPolicy(b.policy, "auto")
	if err != nil {
		return nil, err
	}
	c, err := b.client(t, &b.login, policy)
	if err != nil {
		return nil, err
	}
	if b.direct {
		if c.RefreshHelper != nil {
			c.RefreshHelper.Logins = false // the user may paste
		}
		if b.global.Timeout > 0 { // bounds the whole command: a login ends earlier, with its own error
			c.LoginTimeout = b.lockTimeout()
		}
	} else {
		b.promptThroughHost(c, t, user)
		c.LockTimeout = 0 // no command is waiting: a slow refresh elsewhere is waited for
	}
	transport, ok := c.BaseTransport.(*http.Transport)
	if !ok {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	transport.OnProxyConnectResponse = proxyError
	transport.MaxIdleConnsPerHost = bridgeConnections
	transport.ReadBufferSize = bridgeReadBuffer
	limitBuffers(transport)
	b.remote.configure(c, transport)
	c.BaseTransport = bridge.NewTransport(transport)
	return c, nil
}

// proxyError returns the error for a proxy that does not connect.
func proxyError(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &net.OpError{Op: "proxyconnect", Net: "tcp",
		Err: fmt.Errorf("the proxy %s responds with %d (%s)",
			proxy.Host, resp.StatusCode, http.StatusText(resp.StatusCode))}
}

// httpClient returns what sends the bridge's requests.
func (b *bridgeCommand) httpClient(
	c *handstamp.Client, t *target, header http.Header,
) (client *http.Client, err error) {
	client = c.HTTPClient(t.url)
	client.Transport = bareErrors{client.Transport}
	if b.direct {
		b.carried = &carriedSecrets{RoundTripper: client.Transport, header: header}
		client.Transport = b.carried
	}
	if !b.remote.withoutCookies {
		client.Jar, err = cookiejar.New(nil) // some load balancers tie a session to a cookie
	}
	return client, err
}

// checkStored makes sure that the stored login is the one that the flags request: with
// another resource or client it may be another tenant's.
func (b *bridgeCommand) checkStored(ctx context.Context, c *handstamp.Client, t *target) error {
	s, err := c.Status(ctx, t.url)
	if err != nil || !s.Usable() {
		return nil // what cannot be read is reported when it is needed
	}
	b.saveFlags(t)
	b.saveSettings(t)
	differs := func(what, stored, requested string) error {
		if stored == "" || requested == "" || stored == requested {
			return nil
		}
		return usage("the stored login at %s is for the %s %s, not %s: "+
			"give this one a --profile of its own, or replace it with %s --force",
			t.name, what, stored, requested, t.command("login"))
	}
	if err := differs("resource", s.Resource, c.Resource); err != nil || c.Registration == nil {
		return err
	}
	return differs("client", s.ClientID, c.Registration.ClientID)
}

// promptThroughHost has the MCP host show what the user has to do.
func (b *bridgeCommand) promptThroughHost(c *handstamp.Client, t *target, user *bridge.User) {
	c.Prompt.Paste = nil // nor is there an Enter to wait for
	open, _ := b.browserFor(&b.login)
	c.Prompt.OpenURL = b.openURL(open)
	c.Prompt.ShowCode = func(_ context.Context, d handstamp.DeviceAuthorization) {
		user.Await("To sign in to " + t.name + " at " + clean(d.Issuer) + ", open " +
			clean(d.VerificationURI) + " on any device and enter the code " + clean(d.UserCode))
		b.log("Sign in to %s: %s, code %s", t.name, d.VerificationURI, d.UserCode)
	}
	c.Prompt.Show = func(_ context.Context, r handstamp.AuthorizationRequest) {
		how := "open this URL in a browser on this machine: "
		if open, _ := b.browserFor(&b.login); open != nil {
			how = "continue in the browser that has opened on this machine, or open this URL there: "
		}
		user.Await("To sign in to " + t.name + " at " + clean(r.Issuer) + ", " + how + clean(r.URL))
		b.log("Sign in to %s: %s", t.name, r.URL)
	}
	c.Prompt.Waiting = func(_ context.Context, r handstamp.AuthorizationRequest) {
		message := "Another process is already waiting for a user to sign in to " + t.name
		if r.URL == "" {
			user.Await(message + ", in a browser on this machine: continue there.")
			b.log("Another process is signing in to %s; waiting for it", t.name)
			return
		}
		user.Await(message + " at " + clean(r.Issuer) +
			", in a browser on this machine: continue there, " +
			"or open this URL in it: " + clean(r.URL))
		b.log("Another process is waiting for a sign-in to %s: %s", t.name, r.URL)
	}
	c.Prompt.Ended = func(string) { user.Done() }
}

// log writes a line to the MCP host's log.
func (b *bridgeCommand) log(format string, args ...any) {
	if !b.global.quiet {
		b.err.line("handstamp: "+format, args...)
	}
}
