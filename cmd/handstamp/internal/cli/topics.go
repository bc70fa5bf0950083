package cli

import "github.com/spf13/cobra"

// newEnvironmentTopic returns a page of the help: variables and files.
func newEnvironmentTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "The environment variables and folders that Handstamp knows",
		Long: `A flag wins over the environment, and that over the configuration.

  HANDSTAMP_HOME           one folder for everything, for containers and tests
  HANDSTAMP_PROFILE        as --profile
  HANDSTAMP_STORE          as --store
  HANDSTAMP_LOGIN          as --login of token, exec, bridge, tools and call
  HANDSTAMP_BROWSER        a command that gets the URL as its last argument, or in
                           place of %s; no shell. Then BROWSER, then the system's
  HANDSTAMP_NO_BROWSER     open no browser, only show the URL
  CI                       the same, unless HANDSTAMP_BROWSER or BROWSER is set
  HANDSTAMP_CLIENT_SECRET  the secret of the client that --client-id names
  HANDSTAMP_ACCESS_TOKEN   a token from elsewhere: token, exec, bridge, tools and call
                           use it as it is, for whatever server they are given
  HANDSTAMP_LOG            debug, info, warn or error: log to standard error
  NO_COLOR                 no colours
  HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR

Folders, all private to you:

            configuration             credentials
  Linux     $XDG_CONFIG_HOME          $XDG_DATA_HOME
            ~/.config                 ~/.local/share
  macOS     ~/Library/Application Support
  Windows   %AppData%                 %LocalAppData%

each with /handstamp added; handstamp status --json names them. There is one file for
each credential, and lock files in the folder locks beside them. On Linux, what a full
disk does not take goes to $XDG_RUNTIME_DIR/handstamp, if that is your own.`,
	}
}

// newConfigurationTopic returns a page of the help: the configuration file.
func newConfigurationTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "configuration",
		Short: "The configuration file",
		Long: `Handstamp needs no configuration. The file config.json in the folder for
configuration (see handstamp help environment) gives servers short names and what
a login needs to know of them. Every member but url may be left out:

  {
    "profile": "work",
    "store": "file",
    "servers": {
      "linear": {
        "url": "https://mcp.linear.app/mcp",
        "profile": "work",
        "scopes": ["read", "write"],
        "client_id": "0oa4",
        "client_secret_file": "/run/secrets/linear",
        "token_endpoint_auth_method": "client_secret_post"
      }
    }
  }

Others: client_secret_env, client_metadata_url, issuer (that client_id or
--client-id belongs to; alone it has no effect), resource, no_resource, params (an object:
more parameters of the authorization request), redirect_uri, callback_port,
allow_http, allow_missing_pkce, allow_private_addresses.

An authorization server that discovery does not find is described by hand. With
an issuer, the metadata there counts whatever issuer it states itself, or if it
states none; with both endpoints none is fetched. It is used instead of the one
that the server names:

  "entra": {
    "url": "https://mcp.example.com/mcp",
    "client_id": "6731de76",
    "authorization_server": {
      "issuer": "https://login.microsoftonline.com/organizations/v2.0"
    },
    "allow_missing_pkce": true
  },
  "snowflake": {
    "url": "https://acme.snowflakecomputing.com/api/mcp",
    "client_id": "c2ZsYWtl",
    "client_secret_file": "/run/secrets/snowflake",
    "authorization_server": {
      "authorization_endpoint": "https://acme.snowflakecomputing.com/oauth/authorize",
      "token_endpoint": "https://acme.snowflakecomputing.com/oauth/token-request"
    }
  }

Its other members are registration_endpoint and revocation_endpoint.`,
	}
}
