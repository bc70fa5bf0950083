package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/spf13/cobra"
)

// tokenOptions describe the token that is needed; token and exec have them.
type tokenOptions struct {
	login   string // "" takes HANDSTAMP_LOGIN, then never
	minTTL  time.Duration
	refresh bool
}

func (o *tokenOptions) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	bindLoginPolicy(cmd, &o.login, "never")
	flags.DurationVar(&o.minTTL, "min-ttl", 0,
		"refresh a token that expires sooner than this; the new one may, too")
	flags.BoolVar(&o.refresh, "refresh", false, "refresh the token even if it has not expired")
}

// bindLoginPolicy adds the flag --login to a command.
func bindLoginPolicy(cmd *cobra.Command, value *string, fallback string) {
	bindChoice(cmd, value, "login", "whether a browser may open if no stored login works "+
		"(default "+fallback+"; environment: HANDSTAMP_LOGIN)", "auto", "never")
}

// loginPolicy returns the policy of the flag --login, the environment or a fallback.
func (a *app) loginPolicy(flag, fallback string) (handstamp.LoginPolicy, error) {
	switch word := cmp.Or(flag, a.env.get("HANDSTAMP_LOGIN"), fallback); word {
	case "auto":
		return handstamp.LoginAuto, nil
	case "never":
		return handstamp.LoginNever, nil
	default:
		return 0, usage("HANDSTAMP_LOGIN is auto or never, not %q", word)
	}
}

// tokenVariable is the environment variable with a token from elsewhere.
const tokenVariable = "HANDSTAMP_ACCESS_TOKEN"

// token returns an access token for a target. A token in HANDSTAMP_ACCESS_TOKEN is used as
// it is.
func (o *tokenOptions) token(ctx context.Context, a *app, t *target) (*handstamp.Token, error) {
	if o.minTTL < 0 {
		return nil, usage("--min-ttl cannot be negative")
	}
	policy, err := a.loginPolicy(o.login, "never")
	if err != nil {
		return nil, err
	}
	switch fixed, err := a.secretIn(tokenVariable); {
	case err != nil:
		return nil, err
	case fixed != "" && o.refresh:
		return nil, usage("%s holds a token that Handstamp cannot refresh: "+
			"unset it, or leave --refresh out", tokenVariable)
	case fixed != "":
		return &handstamp.Token{Value: fixed, Type: "Bearer"}, nil
	}
	c, err := a.storedClient(ctx, t, policy)
	if err != nil {
		return nil, err
	}
	if policy == handstamp.LoginNever {
		var cancel context.CancelFunc
		ctx, cancel = a.bounded(ctx)
		defer cancel()
	}
	token, err := c.Token(ctx, t.url, handstamp.TokenOptions{Refresh: o.refresh, MinTTL: o.minTTL})
	return token, advise(err, t)
}

// tokenCommand is handstamp token.
type tokenCommand struct {
	*app
	token  tokenOptions
	format string
	proof  string // the method of the request to prove
}

func (a *app) newToken() *cobra.Command {
	k := &tokenCommand{app: a}
	cmd := &cobra.Command{
		Use:   "token <server>",
		Short: "Print an access token that works now",
		Long: `Print an access token that works now, refreshed if it has to be. A browser never
opens unless --login=auto allows it: without a usable credential the exit code is
4, and the error names the command to run.

Formats: raw is the token alone; header is a line for curl -H @-, which keeps the
token out of the process list; headers-json is an object of header names and values; json adds the expiry; env is a line for eval that
sets HANDSTAMP_ACCESS_TOKEN: unset it before you use another server.

A token that is bound to a key (DPoP) is of no use alone: the exit code is 6. With
--proof METHOD the headers of one request to the server's URL are printed: the token
and a proof, which is valid for that request alone.`,
		Example: `  handstamp token linear --format header | curl -I -H @- https://mcp.linear.app/mcp
  eval "$(handstamp token linear --format env)"
  handstamp token --proof POST https://mcp.example.com/mcp | curl -H @- …`,
		Args: exactly(1, "one server"),
		RunE: withArgs(k.run),
	}
	k.token.bind(cmd)
	bindChoice(cmd, &k.format, "format", "what to print (default raw)",
		"raw", "header", "headers-json", "json", "env")
	cmd.Flags().StringVar(&k.proof, "proof", "",
		"print the headers of a request with this `method` to the URL, with a proof if it needs one")
	return cmd
}

func (k *tokenCommand) run(ctx context.Context, args []string) error {
	if err := k.checkProof(); err != nil {
		return err
	}
	t, err := k.target(args[0])
	if err != nil {
		return err
	}
	token, err := k.token.token(ctx, k.app, t)
	if err != nil {
		return err
	}
	switch {
	case k.proof != "":
		return k.printProof(t.url, token)
	case bound(token):
		return boundError(t)
	}
	if k.format == "" && k.global.json {
		k.format = "json"
	}
	return k.print(t.url, token)
}

// tokenOutput is the format json.
type tokenOutput struct {
	Server      string `json:"server"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresAt   string `json:"expires_at,omitempty"` // RFC 3339; absent if unknown
	ExpiresIn   *int64 `json:"expires_in,omitempty"` // seconds
}

// print prints the token of a server in the format that was requested.
func (k *tokenCommand) print(server string, t *handstamp.Token) error {
	value, typ := t.Value.Reveal(), cmp.Or(t.Type, "Bearer")
	header := typ + " " + value
	switch k.format {
	case "header":
		return k.out.data([]byte("Authorization: " + header + "\n"))
	case "env": // quoted always: a token is nothing to expand
		return k.out.data([]byte("export " + tokenVariable + "=" + shellQuote(value) + "\n"))
	case "headers-json":
		return k.out.json(map[string]string{"Authorization": header}, false)
	case "json":
		out := tokenOutput{Server: server, AccessToken: value, TokenType: typ}
		if !t.ExpiresAt.IsZero() {
			left := max(0, int64(time.Until(t.ExpiresAt)/time.Second))
			out.ExpiresAt, out.ExpiresIn = t.ExpiresAt.UTC().Format(time.RFC3339), &left
		}
		return k.out.json(out, false)
	}
	return k.out.data([]byte(value + "\n"))
}
