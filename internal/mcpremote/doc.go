// Package mcpremote reads what mcp-remote, the stdio bridge for Node.js, keeps of
// its logins, and finds out which servers they are for. It changes nothing and
// uses no network.
//
// mcp-remote keeps a login as files in a folder, ~/.mcp-auth unless
// MCP_REMOTE_CONFIG_DIR names another:
//
//	up to 0.0.1x     <hash>_tokens.json and <hash>_client_info.json in the folder itself
//	up to 0.3        in mcp-remote-<version>/, so that each version starts from nothing
//	from 0.4 on      in mcp-remote-v1/
//
// Beside these lie a code verifier, a lock or a lease, the state of a discovery
// under way, and a log. No file names its server. The hash is the MD5
// of the server's URL as it was typed, since 0.1.33 joined with whatever else kept
// two logins at one server apart (Server.Hashes), so a URL can be tried, and a hit
// is proof.
//
// The files have got more members:
//
//	tokens.json       the token endpoint's response; since 0.1.4x with expires_at in
//	                  milliseconds, since 0.4 with requested_scope, since 0.14.3
//	                  with the issuer
//	client_info.json  the registration response; since 0.14.3 with the issuer
package mcpremote
