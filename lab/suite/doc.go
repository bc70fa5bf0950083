// Package suite tests MCP clients after their first login: in a second session, in twenty
// processes at once, and at servers that behave like real ones (package lab). It is not a
// conformance suite: it counts logins, requests and leaks, and does not check every rule of the
// specification.
//
// A cell of the suite is a personality, a number of processes and a [Condition]. One process
// signs in. Then the condition is applied: the access token expires, the server forgets the
// client, two days pass. Then the processes start, all at once, and each makes one tool call.
// After one login every later process must work without a browser tab, unless the server has
// rejected the grant for good; [Expect] returns what that means for a cell.
//
// A client is anything that a [Client] can run: a stdio bridge, a program that makes one tool
// call, or a Go function. In a test:
//
//	func TestSuite(t *testing.T) {
//		suite.Test(t, suite.Options{Client: &suite.Program{Command: []string{"./mcpcall", "{url}"}}})
//	}
package suite
