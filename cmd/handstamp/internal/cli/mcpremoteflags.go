package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/mcpremote"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/spf13/pflag"
)

// remoteFlags are the flags of mcp-remote (0.15.1) that are not ours: an MCP host's
// configuration is to work with nothing changed but the command's name. They are
// in docs/mcp-remote.md, and not in help: ours are more precise.
type remoteFlags struct {
	port                            int // the argument after the URL
	host, callbackPath              string
	clientInfo, clientMetadata      string
	noResource, debug, silent       bool
	params                          []string
	authTimeout                     seconds
	pingInterval                    seconds // zero: the server is not pinged
	connectTimeout, headersTimeout  seconds
	keepAlive, ipv4, withoutCookies bool
	name                            string // of clientMetadata
	registration                    *handstamp.Registration
	redirectURI                     string // "": as for any other login
}

// seconds is a duration as mcp-remote has it: a number of seconds, fractions too.
type seconds time.Duration

func (s *seconds) Set(text string) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= 1e9) {
		return errors.New("it is a number of seconds")
	}
	*s = seconds(n * float64(time.Second))
	return nil
}

func (s *seconds) String() string {
	return strconv.FormatFloat(time.Duration(*s).Seconds(), 'f', -1, 64)
}

func (s *seconds) Type() string { return "seconds" }

// Flags of mcp-remote without effect here, and flags that are rejected, because what they
// request would be silently missing; each with the reason.
var (
	voidFlags = map[string]string{
		"auth-success-url": "Handstamp shows a page of its own after a login",
		"body-timeout":     "an idle stream is never cut off",
		"enable-proxy":     "", // HTTPS_PROXY and its kin are the default
		"protocol":         "", // the bridge finds out, and translates
	}
	rejectedFlags = map[string]string{
		"token-endpoint": "the token endpoint comes from the authorization server's metadata",
		"use-id-token":   "an ID token is not for MCP servers",
	}
)

func (r *remoteFlags) bind(b *bridgeCommand, visible *pflag.FlagSet) {
	flags := pflag.NewFlagSet("mcp-remote", pflag.ContinueOnError)
	flags.StringVar(&r.host, "host", "", "host of the redirect URI")
	flags.StringVar(&r.callbackPath, "callback-path", "", "path of the redirect URI")
	flags.StringVar(&r.clientInfo, "static-oauth-client-info", "",
		"a client that was registered by hand, as JSON or @file")
	flags.StringVar(&r.clientMetadata, "static-oauth-client-metadata", "",
		"what to register, as JSON or @file")
	flags.BoolVar(&r.noResource, "disable-resource-parameter", false, "as --no-resource")
	flags.BoolVar(&r.debug, "debug", false, "as --verbose")
	flags.BoolVar(&r.silent, "silent", false, "as --quiet")
	repeatedVar(flags, &b.tools.ignore, "ignore-tool", "as --deny-tool")
	repeatedVar(flags, &r.params, "authorize-param", "as --param")
	flags.Var(&r.authTimeout, "auth-timeout", "seconds that a login may take")
	flags.Var(&r.connectTimeout, "connect-timeout", "seconds that a connection may take")
	flags.Var(&r.headersTimeout, "headers-timeout", "seconds that the headers of a response may take")
	flags.BoolVar(&r.keepAlive, "keep-alive", false, "ping the server while the MCP host is idle")
	r.pingInterval = seconds(30 * time.Second)
	flags.Var(&r.pingInterval, "ping-interval", "seconds between pings")
	flags.BoolVar(&r.ipv4, "ipv4", false, "connect over IPv4 only")
	flags.BoolVar(&r.withoutCookies, "disable-cookies", false, "keep no cookies of the MCP server")
	for name := range voidFlags {
		flags.String(name, "", "accepted and without effect")
	}
	for name := range rejectedFlags {
		flags.String(name, "", "not supported")
	}
	for _, name := range []string{"enable-proxy", "use-id-token"} {
		flags.Lookup(name).NoOptDefVal = "true"
	}
	flags.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	visible.AddFlagSet(flags)
}

// apply turns the flags into ours.
func (r *remoteFlags) apply(b *bridgeCommand, flags *pflag.FlagSet, args []string) (err error) {
	if err := r.check(flags, args); err != nil {
		return err
	}
	if r.port != 0 {
		b.login.callbackPort = r.port
	}
	b.global.verbose = b.global.verbose || r.debug
	b.global.quiet = b.global.quiet || r.silent && !r.debug
	if !r.keepAlive && !flags.Changed("ping-interval") {
		r.pingInterval = 0
	}
	b.login.params = append(b.login.params, r.params...)
	r.applyResource(b, flags)
	if r.registration, err = r.client(b.app); err != nil {
		return err
	}
	if err := r.metadata(b); err != nil {
		return err
	}
	r.redirectURI = r.redirect(b, args[0])
	r.reportVoid(b, flags)
	return nil
}

func isPort(arg string) bool {
	port, err := strconv.Atoi(arg)
	return err == nil && port >= 1 && port <= 65535
}

// check finds what can't be used here, and reads the callback port after the server.
func (r *remoteFlags) check(flags *pflag.FlagSet, args []string) (err error) {
	for name, reason := range rejectedFlags {
		if flags.Changed(name) {
			return usage("--%s of mcp-remote cannot be used here: %s", name, reason)
		}
	}
	if len(args) > 1 {
		if r.port, _ = strconv.Atoi(args[1]); !isPort(args[1]) {
			return usage("the argument after the server is the callback port, a number up to 65535, not %q",
				args[1])
		}
	}
	if r.callbackPath != "" && !strings.HasPrefix(r.callbackPath, "/") {
		return usage("--callback-path begins with a slash")
	}
	if r.host != "" && !oauth.IsLoopback(r.host) {
		return usage("--host is a name of this machine (localhost, 127.0.0.1, ::1), "+
			"where the browser comes back to, not %q", r.host)
	}
	return nil
}

func (r *remoteFlags) applyResource(b *bridgeCommand, flags *pflag.FlagSet) {
	if r.noResource && b.login.resource != "" {
		b.log("--disable-resource-parameter overrides --resource")
		b.login.resource = ""
	}
	empty := flags.Changed("resource") && strings.TrimSpace(b.login.resource) == ""
	b.login.noResource = b.login.noResource || r.noResource || empty
}

// reportVoid names the flags that have no effect.
func (r *remoteFlags) reportVoid(b *bridgeCommand, flags *pflag.FlagSet) {
	for name, reason := range voidFlags {
		if reason != "" && flags.Changed(name) {
			b.log("--%s of mcp-remote has no effect: %s", name, reason)
		}
	}
	if (r.host != "" || r.callbackPath != "") && r.redirectURI == "" {
		b.log("--host and --callback-path of mcp-remote have no effect " +
			"without a callback port after the server")
	}
}

// redirect returns the redirect URI that mcp-remote would have used, where that is
// likely to be the registered one: a client of its flags was registered by hand for
// it, with the port that was given or with the one that mcp-remote makes from its
// command line.
func (r *remoteFlags) redirect(b *bridgeCommand, server string) string {
	if r.port == 0 && (r.registration == nil || b.login.callbackPort != 0) {
		return ""
	}
	args := []string{server}
	for _, line := range b.headers.headers {
		args = append(args, "--header", line)
	}
	if b.headers.file != "" {
		args = append(args, "--header-file", b.headers.file)
	}
	around := mcpremote.Surroundings{
		ReadFile: func(path string) ([]byte, error) { return readRegular(path, maxHeaderFile) },
	}
	c, err := mcpremote.ParseCommand(args, around)
	switch {
	case err != nil && r.port == 0:
		return "" // mcp-remote would not have started with it
	case err != nil:
		c = new(mcpremote.Command)
	}
	c.Host, c.Port, c.CallbackPath = r.host, r.port, r.callbackPath
	c.Resource, c.ClientMetadataURL = strings.TrimSpace(b.login.resource), b.login.metadataURL
	for _, param := range b.login.params {
		c.AddParam(param)
	}
	return c.RedirectURI(c.Hashes()[0])
}

// jsonArgument reads a flag that is JSON, or @ and the name of a file with it.
func jsonArgument(a *app, name, value string, into any) error {
	raw, file, err := readArgument(value, maxSecret, readFile)
	if err != nil {
		return usage("the file %s of --%s cannot be read: %w", file, name, err)
	}
	text, err := a.expand(string(raw))
	if err != nil {
		return err
	}
	if json.Unmarshal([]byte(text), into) != nil {
		// The cause would quote it.
		return usage("--%s is a JSON object, or @ and the name of a file with one", name)
	}
	return nil
}

// client returns the client of --static-oauth-client-info, or nil.
func (r *remoteFlags) client(a *app) (*handstamp.Registration, error) {
	if r.clientInfo == "" {
		return nil, nil
	}
	var info mcpremote.Client
	const flag = "static-oauth-client-info"
	if err := jsonArgument(a, flag, r.clientInfo, &info); err != nil {
		return nil, err
	}
	if info.ID == "" {
		return nil, usage("--%s has no client_id", flag)
	}
	onCommandLine := !strings.HasPrefix(r.clientInfo, "@") &&
		strings.Contains(r.clientInfo, info.Secret.Reveal())
	if info.Secret != "" && onCommandLine {
		a.notice("a client secret on a command line can be read by every user of this machine; " +
			"use --client-id and --client-secret-file, or @file")
	}
	return &handstamp.Registration{
		ClientID: info.ID, ClientSecret: info.Secret, TokenEndpointAuthMethod: info.Method,
	}, nil
}

// metadata takes what can be taken of --static-oauth-client-metadata.
func (r *remoteFlags) metadata(b *bridgeCommand) error {
	if r.clientMetadata == "" {
		return nil
	}
	var m map[string]any
	if err := jsonArgument(b.app, "static-oauth-client-metadata", r.clientMetadata, &m); err != nil {
		return err
	}
	var without []string
	for name, value := range m {
		s, _ := value.(string)
		switch name {
		case "scope":
			if b.login.scopes == nil {
				b.login.scopes = []string{s}
			}
		case "client_name":
			r.name = s
		case "redirect_uris", "grant_types", "response_types", "client_uri",
			"software_id", "software_version":
			// What they request is done anyway, or is for users to read.
		default:
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		slices.Sort(without)
		b.log("%s of --static-oauth-client-metadata: no effect", strings.Join(without, ", "))
	}
	return nil
}

// configure sets in the client what no flag of ours is for.
func (r *remoteFlags) configure(c *handstamp.Client, t *http.Transport) {
	c.Registration = cmp.Or(c.Registration, r.registration)
	c.ClientName = cmp.Or(r.name, c.ClientName)
	c.LoginTimeout = cmp.Or(time.Duration(r.authTimeout), c.LoginTimeout)
	c.RedirectURI = cmp.Or(r.redirectURI, c.RedirectURI)
	t.ResponseHeaderTimeout = time.Duration(r.headersTimeout)
	if r.connectTimeout > 0 || r.ipv4 {
		dialer := &net.Dialer{Timeout: cmp.Or(time.Duration(r.connectTimeout), 30*time.Second)}
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if r.ipv4 {
				network = "tcp4"
			}
			return dialer.DialContext(ctx, network, addr)
		}
	}
}
