// Package lab is an authorization server and an MCP server that behave like real ones, on loopback,
// in one process, for tests and for trying a client by hand.
//
//	server, err := lab.Start(lab.NoneFirst())
//	if err != nil {
//		t.Fatal(err)
//	}
//	t.Cleanup(server.Close)
//	// point the client at server.MCPURL(), then look at what it did:
//	if n := server.Counts()["authorize"]; n != 1 {
//		t.Errorf("%d browser tabs, want 1", n)
//	}
//
// A [Personality] is data: its [Habits], whose zero value is a correct server, and each [Fault]
// that requests meet. [Server.Requests], [Server.Counts] and [Server.Audit] return what the
// server received, exact to the single request however many processes are at work. [Options.Hook]
// and [Server.Hold] stop a request at a chosen point, so that a test can kill a client there.
//
// The package shares no code with any client, so that the same misreading of an RFC on both sides
// cannot go unnoticed, and it imports nothing but the standard library. It is not a server for
// real credentials: it authenticates no user, and registers any client.
package lab
