package cli

import (
	"cmp"
	"errors"
	"path/filepath"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/spf13/pflag"
)

// A token source is where a token comes from that another issuer has made out, in one word:
// file:PATH, env:NAME, command:WORD…, gcp, azure or github, of which the last three may have an
// audience after a colon. A command is split at spaces, with quotes; there is no shell.
const sourceForm = "file:PATH, env:NAME, command:COMMAND, gcp, azure or github"

// absoluteSource returns a token source that another session can use, too.
func absoluteSource(source string) string {
	kind, rest, _ := strings.Cut(source, ":")
	switch kind {
	case "file":
		return "file:" + absolutePath(rest)
	case "command":
		words, err := suite.Words(rest)
		if err == nil && strings.ContainsRune(words[0], filepath.Separator) {
			words[0] = absolutePath(words[0])
			for i, word := range words {
				words[i] = quoteWord(word)
			}
			return "command:" + strings.Join(words, " ")
		}
	}
	return source
}

// quoteWord returns a word as [suite.Words] reads it.
func quoteWord(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n'\"") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
}

// sourceInWords returns what a source is, without a command's arguments, which may be secrets.
func sourceInWords(source string) string {
	if strings.HasPrefix(source, "command:") {
		return "the token of a command"
	}
	return "the token " + source
}

// parseSource returns the source of a token, named as the form says.
func parseSource(text string) (handstamp.AssertionSource, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case kind == "gcp":
		return handstamp.AssertionFromGoogle(rest), nil
	case kind == "azure":
		return handstamp.AssertionFromAzure(rest), nil
	case kind == "github":
		return handstamp.AssertionFromGitHub(rest), nil
	case strings.TrimSpace(rest) == "":
	case kind == "file":
		return handstamp.AssertionFromFile(rest), nil
	case kind == "env":
		return handstamp.AssertionFromEnv(rest), nil
	case kind == "command":
		words, err := suite.Words(rest)
		if err != nil {
			return nil, err
		}
		return handstamp.AssertionFromCommand(words[0], words[1:]...), nil
	}
	return nil, errors.New("it is " + sourceForm)
}

// checkSource finds a source that cannot be meant.
func checkSource(text string) error {
	_, err := parseSource(text)
	return err
}

// bindWorkload adds the flags for workloads and companies.
func (o *authOptions) bindWorkload(flags *pflag.FlagSet) {
	flags.Func("workload", "obtain tokens with the workload's identity token, from `source`: "+
		sourceForm+"; for the last three an audience may follow a colon", func(source string) error {
		o.set.Workload = source
		return cmp.Or(checkSource(source), o.setGrant(grantWorkload, true))
	})
	flags.Func("enterprise", "`issuer` of the company's identity provider; sign in there once for "+
		"all servers", func(issuer string) error {
		o.enterprise.Issuer = issuer
		return o.setGrant(grantEnterprise, true)
	})
	flags.StringVar(&o.enterprise.ClientID, "enterprise-client-id", "",
		"the client at the company's identity provider")
	flags.StringVar(&o.enterprise.ClientSecretFile, "enterprise-client-secret-file", "",
		"file that holds its secret")
	flags.StringVar(&o.enterprise.ClientSecretEnv, "enterprise-client-secret-env", "",
		"environment variable that holds its secret")
	flags.StringVar(&o.enterprise.IDToken, "enterprise-id-token", "",
		"take the provider's id token from this `source` instead of a login: file:PATH, env:NAME "+
			"or command:COMMAND")
}

// checkEnterprise finds flags about a company that cannot work.
func (o *authOptions) checkEnterprise() error {
	e := o.enterprise
	switch {
	case e == (enterpriseSettings{}):
		return nil
	case e.Issuer == "":
		return usage("the flags about a company's identity provider need --enterprise, its issuer")
	case e.ClientSecretFile != "" && e.ClientSecretEnv != "":
		return usage("give the secret of the company's client once: with " +
			"--enterprise-client-secret-file or --enterprise-client-secret-env")
	case e.ClientID == "" && e.ClientSecretFile+e.ClientSecretEnv != "":
		return usage("a client secret at the company's identity provider needs --enterprise-client-id")
	}
	u, err := parseURL(e.Issuer)
	if err != nil || !strings.Contains(e.Issuer, "://") || u.RawQuery != "" ||
		u.Scheme != "https" && !oauth.IsLoopback(u.Hostname()) {
		return usage("--enterprise is the https:// URL of the company's identity provider")
	}
	if e.IDToken != "" {
		if err := checkSource(e.IDToken); err != nil {
			return usage("--enterprise-id-token cannot be %q: %w", e.IDToken, err)
		}
	}
	o.set.Enterprise = &e
	return nil
}

// grant returns the grant of the settings.
func (e *enterpriseSettings) grant(a *app) (handstamp.Grant, error) {
	if e == nil {
		return nil, usage("the grant enterprise needs enterprise, with the issuer of the company")
	}
	source := secretSource{file: e.ClientSecretFile, env: e.ClientSecretEnv}
	clientSecret, err := source.readAs(a, "client secret at the company's identity provider")
	if err != nil {
		return nil, err
	}
	g := handstamp.Enterprise{Issuer: e.Issuer, ClientID: e.ClientID, ClientSecret: clientSecret,
		Device: e.Device}
	if e.IDToken != "" {
		g.IDToken, err = parseSource(e.IDToken)
	}
	return g, err
}
