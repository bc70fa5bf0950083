// Package suite puts MCP clients to the test: what becomes of a login in the
// second session, in twenty processes at once, and at servers with the habits of
// the real ones (package lab).
//
// A cell of the suite is a personality, a number of processes and a condition.
// One process signs in. Then the condition comes about: the access token
// expires, the server forgets the client, two days pass. Then the processes come,
// all at once, and each makes one tool call. The master rule is that after one
// login every later process gets through with no browser tab, unless the server
// has rejected the grant for good; [Expect] is what that means for a cell.
//
// A client is anything that a Client can run: a stdio bridge, a program that
// makes one tool call, or a Go function. In a test of one's own:
//
//	func TestSuite(t *testing.T) {
//		suite.Test(t, suite.Options{Client: &suite.Program{Command: []string{"./mcpcall", "{url}"}}})
//	}
package suite
