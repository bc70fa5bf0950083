// Package handstamp signs MCP clients in through OAuth: log in once, and every
// later session walks back in, against any authorization server and from any
// number of processes.
//
// A [Client] is a struct whose zero value works. Hold it by pointer: it must not be copied once it
// is in use. There is one way for each of the first three tasks:
//
// # An MCP client speaks HTTP
//
// Give it the [http.Client] of [Client.HTTPClient]. Each request carries the token, and a rejected
// one is sent again after the token was refreshed or the user has signed in. The token goes to no
// other server:
//
//	client := &handstamp.Client{}
//	httpClient := client.HTTPClient("https://mcp.example.com/mcp")
//
// # An MCP client is built with the official Go SDK
//
// The same http.Client fits its StreamableClientTransport.HTTPClient. Where the
// SDK's own hook is preferred, [Client.Handler] is an auth.OAuthHandler by shape:
//
//	transport := &mcp.StreamableClientTransport{
//		Endpoint:     serverURL,
//		OAuthHandler: client.Handler(serverURL),
//	}
//
// # Something else wants tokens
//
// [Client.TokenSource] is an [golang.org/x/oauth2.TokenSource], and [Client.Token] has a
// context. The value of a [Token] is a [github.com/handstamp/handstamp/secret.String], which
// prints as "[redacted]"; its method Reveal returns the string.
//
// # An application with a web page, or without a browser
//
// [Prompt] is how a login reaches the user. With [Prompt.Authorize] the application sends its
// users to the authorization server itself; [AuthorizationRequest.State] matches the callback to
// the login. With [LoginNever] no login begins by itself: requests then fail with
// [ErrLoginRequired], which is never the error of a server that cannot be reached
// ([ErrUnreachable]).
//
// # Services, companies, keys
//
// [Client.Grant] obtains tokens without a user ([ClientCredentials], [JWTBearer], [TokenExchange]),
// through the login at a company's provider ([Enterprise]), or with a user on another device
// ([DeviceCode]). [Client.Key] and [Client.Certificate] authenticate the client in place of a
// secret; [Client.ClientMetadataURL] spares it the registration. Where an MCP server requires or
// offers it, tokens are bound to a key of the credential (DPoP, RFC 9449), and each request of
// [Client.HTTPClient] has a proof; [Token.SetHeaders] puts one on other requests. Later sessions need
// the store, and the key or certificate. Where the Grant has an [AssertionSource], they need that,
// too: without it the next login is one with a browser.
//
// # Where logins are kept
//
// Without a [Client.Store], nothing is written to disk, and logins last as
// long as the Client. Take package store/filestore for one user on one machine; its function User
// opens the files that the command handstamp uses with --store file, so that the program and the
// command share logins. Package store/storetest tests a store of your own.
//
// A login that another program made, or that an application kept itself so far,
// is taken over with [Client.Import].
//
// # What is promised
//
// A stored token costs a request no lock and no I/O. An expired one costs exactly
// one request to the authorization server, whatever the number of goroutines and
// processes that notice. A server that fails (5xx, 429, no network, a page of HTML) never
// opens a browser, and never costs a login: see [ErrUnreachable]. A refresh
// token is sent by one process at a time, which reserves space for the response
// first and stores the response before it interprets it. The token is sent again
// only if the response was lost, or rejected the request and not the token.
//
// How a client authenticates at the token endpoint is part of its registration
// and is stored with it (RFC 7591, section 2); once the registration is known, the
// methods that the server lists decide nothing.
package handstamp
