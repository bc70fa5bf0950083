// Package handstamp signs MCP clients in through OAuth: log in once, and every
// later session walks back in, against any authorization server and from any
// number of processes.
//
// A [Client] is a struct whose zero value works. There are three ways to use it,
// and one answer to each task:
//
// # An MCP client speaks HTTP
//
// Give it an http.Client. Each request carries the token, a rejected one is sent
// again after the token was refreshed or the user has signed in, and nobody else
// ever sees the token:
//
//	client := handstamp.Client{}
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
// [Client.TokenSource] is an oauth2.TokenSource, and [Client.Token] has a
// context.
//
// # Where logins are kept
//
// The library writes nothing to disk unasked: without a Store, logins last as
// long as the Client. Take package store/filestore for one user on one machine;
// its function User opens the store that the command handstamp uses, so that the program and the
// command share logins.
// Package store/storetest proves a store of your own.
//
// A login that another program made, or that an application kept itself so far,
// is taken over with [Client.Import].
//
// # What is promised
//
// A stored token costs a request no lock and no I/O. An expired one costs exactly
// one request to the authorization server, whatever the number of goroutines and
// processes that notice. Trouble (5xx, 429, no network, a page of HTML) is never
// answered with a browser, and never costs a login: see [ErrUnreachable]. Servers
// that rotate refresh tokens get each token once, from one process, which has
// made room for the response first and stores it before it reads it.
//
// How a client authenticates at the token endpoint is part of its registration
// and is stored with it (RFC 7591, section 2); what the server lists decides
// nothing once the registration is known.
package handstamp
