package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/spf13/cobra"
)

// authOptions are the flags of a login for how tokens are obtained and how the client
// authenticates: settings that later sessions find again, and what is for this login alone.
type authOptions struct {
	set        authSettings
	enterprise enterpriseSettings

	loginHint, prompt, acrValues string
	maxAge                       wholeSeconds

	details       string // authorization_details: JSON, or @ and a file
	initialToken  secretSource
	statementFile string
}

func (o *authOptions) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.set.JWTKeyFile, "jwt-key", "",
		"file with the client's private key, PEM or JWK: it authenticates with private_key_jwt")
	flags.StringVar(&o.set.JWTKeyID, "jwt-key-id", "",
		"key ID by which the server finds the key (default: its thumbprint)")
	flags.StringVar(&o.set.JWTKeyAlg, "jwt-key-alg", "",
		"algorithm to sign with, such as ES256 or PS256 (default: what key and server support)")
	o.bindGrants(cmd)
	bindChoice(cmd, &o.set.DPoP, "dpop",
		"bind tokens to a key of this login (default auto)", dpopWords...)
	flags.StringVar(&o.loginHint, "login-hint", "", "account to sign in with")
	flags.StringVar(&o.prompt, "prompt", "",
		"what the server shows the user: login, consent or select_account")
	flags.Var(&o.maxAge, "max-age", "sign in again if the last sign-in is older than this")
	flags.StringVar(&o.acrValues, "acr-values", "",
		"authentication context classes that the login should have")
	flags.StringVar(&o.details, "authorization-details", "",
		"request this authorization (RFC 9396): a JSON array, or @ and the name of a file with one")
	flags.StringVar(&o.initialToken.file, "initial-access-token-file", "",
		"file with the token that authorizes a registration")
	flags.StringVar(&o.initialToken.env, "initial-access-token-env", "",
		"environment variable with the token that authorizes a registration")
	flags.StringVar(&o.statementFile, "software-statement-file", "",
		"file with the software statement to register with")
}

// registrationAdvice returns what to do about a registration that was rejected with the code, and
// the flag to give; "" if no flag is for that.
func (o *authOptions) registrationAdvice(code string) (hint, flag string) {
	const token, statement = "--initial-access-token-file", "--software-statement-file"
	switch {
	case code == "invalid_token" && o.initialToken.given():
		return "it rejects the initial access token of " + o.initialToken.flag("--initial-access-token") +
			": it may have expired, or been used", token
	case code == "invalid_token":
		return "it registers clients that have an initial access token: obtain one there, and name its " +
			"file with " + token, token
	case o.statementFile != "" &&
		(code == "invalid_software_statement" || code == "unapproved_software_statement"):
		return "it rejects the software statement of " + statement + ": it may have expired, or " +
			"be of a party that the server does not trust", statement
	case code == "invalid_software_statement":
		return "it registers clients that have a software statement: obtain one of a party that the " +
			"server trusts, and name its file with " + statement, statement
	}
	return "", ""
}

// forUser returns the flags that are about how the user signs in, which a login that is there does
// not show: all but the hint at the account that it is of.
func (o *authOptions) forUser(account string) []string {
	var names []string
	for _, flag := range []struct {
		name  string
		given bool
	}{
		{"--login-hint", o.loginHint != "" && o.loginHint != account},
		{"--prompt", o.prompt != ""},
		{"--max-age", o.maxAge != ""},
		{"--acr-values", o.acrValues != ""},
		{"--authorization-details", o.details != ""},
	} {
		if flag.given {
			names = append(names, flag.name)
		}
	}
	return names
}

// bindGrants adds the flags that choose the grant.
func (o *authOptions) bindGrants(cmd *cobra.Command) {
	flags := cmd.Flags()
	grantFlag := func(word, name, help string) {
		flags.BoolFunc(name, help, func(text string) error {
			on, err := strconv.ParseBool(text)
			if err != nil {
				return errors.New("it is true or false")
			}
			return o.setGrant(word, on)
		})
	}
	grantFlag(grantClientCredentials, "client-credentials",
		"obtain tokens for the client itself, without a user")
	grantFlag(grantDevice, "device", "sign in on another device, with a code that is shown here")
	grantFlag(grantDevice, "device-code", "as --device")
	_ = flags.MarkHidden("device-code") // mcp-remote's name
	o.bindWorkload(flags)
}

// setGrant notes the grant that a flag names; a flag that is false takes back what an earlier
// login was made with.
func (o *authOptions) setGrant(word string, on bool) error {
	if !on {
		word = grantCode
	}
	if before := o.set.Grant; on && (before == grantEnterprise && word == grantDevice ||
		before == grantDevice && word == grantEnterprise) {
		o.enterprise.Device, o.set.Grant = true, grantEnterprise
		return nil
	}
	if before := o.set.Grant; before != "" && before != word && before != grantCode {
		return fmt.Errorf("it contradicts --%s", grantFlags[before])
	}
	if o.set.Grant == "" || on {
		o.set.Grant = word
	}
	return nil
}

// grantFlags are the flags of the grant words.
var grantFlags = map[string]string{
	grantClientCredentials: "client-credentials", grantDevice: "device",
	grantWorkload: "workload", grantEnterprise: "enterprise",
}

// check finds what cannot work before anything is sent or opened.
func (o *authOptions) check() error {
	switch s := &o.set; {
	case s.JWTKeyFile == "" && s.JWTKeyAlg != "":
		return usage("--jwt-key-alg needs --jwt-key")
	case s.JWTKeyFile == "" && s.JWTKeyID != "":
		return usage("--jwt-key-id needs --jwt-key")
	case o.initialToken.twice():
		return usage("give the initial access token once: with --initial-access-token-file or " +
			"--initial-access-token-env")
	}
	if err := o.checkEnterprise(); err != nil {
		return err
	}
	_, err := o.set.key()
	return err
}

// apply sets in the client what is for this login alone.
func (o *authOptions) apply(a *app, c *handstamp.Client) error {
	details, err := o.readDetails()
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"login_hint": o.loginHint, "prompt": o.prompt, "acr_values": o.acrValues,
		"max_age": o.maxAge.String(), "authorization_details": details,
	} {
		if value != "" {
			if c.ExtraAuthParams == nil {
				c.ExtraAuthParams = url.Values{}
			}
			c.ExtraAuthParams.Set(name, value)
		}
	}
	if c.InitialAccessToken, err = o.initialToken.readAs(a, "initial access token"); err != nil {
		return err
	}
	statement, err := (&secretSource{file: o.statementFile}).readAs(a, "software statement")
	c.SoftwareStatement = statement.Reveal()
	return err
}

// readDetails returns the authorization details, which are a JSON array of objects.
func (o *authOptions) readDetails() (string, error) {
	if o.details == "" {
		return "", nil
	}
	raw, file, err := readArgument(o.details, maxConfig, readFile)
	if err != nil {
		return "", usage("the file %s of --authorization-details cannot be read: %w", file, err)
	}
	var details []map[string]any
	if json.Unmarshal(raw, &details) != nil || len(details) == 0 {
		return "", usage("--authorization-details is a JSON array of objects")
	}
	var text bytes.Buffer
	err = json.Compact(&text, raw) // numbers stay as they were written
	return text.String(), err
}

// wholeSeconds is a duration as max_age has it: whole seconds, zero included.
type wholeSeconds string

// Set implements pflag.Value.
func (g *wholeSeconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("it is a duration such as 90s or 5m")
	}
	*g = wholeSeconds(strconv.FormatInt(int64(d/time.Second), 10))
	return nil
}

// String implements pflag.Value.
func (g *wholeSeconds) String() string { return string(*g) }

// Type implements pflag.Value: it is what help shows.
func (g *wholeSeconds) Type() string { return "duration" }
