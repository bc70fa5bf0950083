// Package lab is an authorization server and an MCP server with habits: those
// of the real ones, on loopback, in one process, for tests and for trying a
// client by hand.
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
// A personality is data: the Habits struct, whose zero value is a plain, correct
// server. What goes wrong on the way is a Fault. What came in is in Requests,
// Counts and Audit, exact to the single request however many processes talk to
// the server at once. Hook and Hold stop the world at a chosen point of a
// request, so that a test can kill a client there.
//
// The package shares no code with any client, so that one misreading of an RFC
// cannot cancel itself out, and it imports nothing but the standard library. It
// is no place for real credentials: every client and every user is believed.
package lab
