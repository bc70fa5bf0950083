package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/secret"
	"github.com/spf13/cobra"
)

// The formats of a token.
const (
	formatRaw         = "raw"
	formatHeader      = "header"
	formatHeadersJSON = "headers-json"
	formatJSON        = "json"
	formatEnv         = "env"
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
	flags.BoolVar(&o.refresh, "refresh", false,
		"the current token does not work: refresh it, whatever its expiry")
}

// policy returns the login policy: flag, environment, never.
func (o *tokenOptions) policy(env environment) (handstamp.LoginPolicy, error) {
	return loginPolicy(cmp.Or(o.login, env.get("HANDSTAMP_LOGIN"), "never"))
}

// bindLoginPolicy adds the flag --login to a command.
func bindLoginPolicy(cmd *cobra.Command, value *string, fallback string) {
	bindChoice(cmd, cmd.Flags(), value, "login",
		"may a browser open where no stored login works (HANDSTAMP_LOGIN, "+fallback+")",
		"auto", "never")
}

// loginPolicy returns the policy that a word means.
func loginPolicy(word string) (handstamp.LoginPolicy, error) {
	switch word {
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
	policy, err := o.policy(a.env)
	if err != nil {
		return nil, err
	}
	if fixed := a.env.get(tokenVariable); fixed != "" {
		if o.refresh {
			return nil, usage("%s holds a token that Handstamp cannot refresh: "+
				"unset it, or leave --refresh out", tokenVariable)
		}
		value, err := parseSecret([]byte(fixed), "the environment variable "+tokenVariable)
		return &handstamp.Token{Value: value, Type: "Bearer"}, err
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
}

func (a *app) newToken() *cobra.Command {
	k := &tokenCommand{app: a}
	cmd := &cobra.Command{
		Use:   "token <server>",
		Short: "Print a fresh access token",
		Long: `Print an access token that works now, refreshed if it has to be. A browser never
opens unless --login=auto allows it: without a usable credential the exit code is
4, and the error names the command to run.

Formats: raw is the token alone; header is a line for curl -H; headers-json is an
object of header names and values; json adds the expiry; env is a line for eval that
sets HANDSTAMP_ACCESS_TOKEN: unset it before you use another server.`,
		Example: `  curl -H "$(handstamp token linear --format header)" https://mcp.linear.app/mcp
  eval "$(handstamp token linear --format env)"`,
		Args:              exactly(1, "one server"),
		ValidArgsFunction: a.completeServers,
		RunE:              onServer(k.run),
	}
	k.token.bind(cmd)
	bindChoice(cmd, cmd.Flags(), &k.format, "format", "what to print (raw)",
		formatRaw, formatHeader, formatHeadersJSON, formatJSON, formatEnv)
	return cmd
}

func (k *tokenCommand) run(ctx context.Context, arg string) error {
	t, err := k.target(arg)
	if err != nil {
		return err
	}
	token, err := k.token.token(ctx, k.app, t)
	if err != nil {
		return err
	}
	format := cmp.Or(k.format, formatRaw)
	if k.format == "" && k.global.json {
		format = formatJSON
	}
	b, err := formatToken(t.url, token, format, time.Now())
	if err != nil {
		return err
	}
	return k.out.data(b)
}

// tokenOutput is the format json.
type tokenOutput struct {
	Server      string `json:"server"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresAt   string `json:"expires_at,omitempty"` // RFC 3339; absent if unknown
	ExpiresIn   *int64 `json:"expires_in,omitempty"` // seconds
}

// formatToken renders a token for a server, with a line end.
func formatToken(server string, t *handstamp.Token, format string, now time.Time) ([]byte, error) {
	value := t.Value.Reveal()
	header := cmp.Or(t.Type, "Bearer") + " " + value
	switch format {
	case formatHeader:
		return []byte("Authorization: " + header + "\n"), nil
	case formatEnv:
		return []byte("export HANDSTAMP_ACCESS_TOKEN=" + shellQuote(t.Value) + "\n"), nil
	case formatHeadersJSON:
		return marshalLine(map[string]string{"Authorization": header})
	case formatJSON:
		out := tokenOutput{Server: server, AccessToken: value, TokenType: cmp.Or(t.Type, "Bearer")}
		if !t.ExpiresAt.IsZero() {
			left := max(0, int64(t.ExpiresAt.Sub(now)/time.Second))
			out.ExpiresAt, out.ExpiresIn = t.ExpiresAt.UTC().Format(time.RFC3339), &left
		}
		return marshalLine(out)
	}
	return []byte(value + "\n"), nil
}

func marshalLine(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON([]byte(b.String())), nil
}

// shellQuote quotes a secret for eval, always: a token is nothing to expand.
func shellQuote(s secret.String) string {
	return "'" + strings.ReplaceAll(s.Reveal(), "'", `'\''`) + "'"
}
