package bridge

import (
	"strings"
	"time"
)

// reply responds to a request in the server's place. It reports false if the server has
// come meanwhile and is to do it.
func (p *placeholder) reply(c *call, a *absence) (done bool) {
	if name := listOf[c.name()]; name != "" {
		return p.list(c, a, name)
	}
	switch c.name() {
	case "ping":
		c.reply([]byte("{}"))
	case "logging/setLevel":
		p.mu.Lock()
		p.level = c.message
		p.mu.Unlock()
		c.reply([]byte("{}"))
	case "server/discover":
		if a.modern == nil { // the host has gone on to initialize
			c.fail(noDiscoverResponse)
			return true
		}
		c.reply(object("resultType", "complete", "supportedVersions", []string{firstModern},
			"capabilities", offers, "ttlMs", 0, "cacheScope", "private",
			"_meta", object(metaServer, p.itself())))
	case "subscriptions/listen":
		return p.subscribe(c, a)
	default:
		if c.isSignIn() && p.signInShown() {
			p.signIn(c, a)
			return true
		}
		return p.waitForServer(c, a)
	}
	return true
}

// listOf names the member of a list's result, by the method that returns it.
var listOf = map[string]string{
	"tools/list": "tools", "prompts/list": "prompts",
	"resources/list": "resources", "resources/templates/list": "resourceTemplates",
}

// signInTools is the list of tools while the user has to sign in.
const signInTools = `[{"name":"` + signInTool + `","title":"Sign in","description":` +
	`"This server needs the user to sign in. Returns what to do, ` +
	`and starts again if the last try has failed.","inputSchema":{"type":"object","properties":{}}}]`

// list returns a list of the server. It waits for the server, but not for long, and is
// empty then; while the user has to sign in, the tools are the sign-in placeholder.
func (p *placeholder) list(c *call, a *absence, name string) (done bool) {
	late := timeAfter(p.InitializeWait)
	elements := []byte("[]")
	for waiting := true; waiting; {
		p.mu.Lock()
		signIn, turned := a.signIn, a.signInChanged
		p.mu.Unlock()
		if signIn {
			if name == "tools" {
				elements = []byte(signInTools)
			}
			break
		}
		select {
		case <-a.over:
			return false
		case <-turned:
		case <-late:
			waiting = false
		case <-c.ctx.Done():
			return true
		}
	}
	c.reply(listed(c, name, elements))
	return true
}

// listed returns the result of a request for a list.
func listed(c *call, name string, elements []byte) []byte {
	if modernVersion(c.message) != "" {
		return object(name, elements, "resultType", "complete", "ttlMs", 0, "cacheScope", "private")
	}
	return object(name, elements)
}

// signInShown reports whether the host may believe in the sign-in placeholder.
func (p *placeholder) signInShown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

// isSignIn reports whether a call is for the placeholder's own tool.
func (c *call) isSignIn() bool {
	return c.is("tools/call") && text(c.target) == signInTool
}

// offers reports whether a message of the host calls the sign-in placeholder, which no filter of
// the server's tools is about.
func (p *placeholder) offers(m *message) bool {
	return m.request() && text(m.target) == signInTool && p.signInShown()
}

// toolText returns a tool's result that is a text.
func toolText(c *call, message string) []byte {
	pairs := []any{"content", []any{map[string]string{"type": "text", "text": message}}}
	if modernVersion(c.message) != "" {
		pairs = append(pairs, "resultType", "complete")
	}
	return object(pairs...)
}

// signIn returns what the user has to do, and makes sure that it can be done.
func (p *placeholder) signIn(c *call, a *absence) {
	_, last := p.state(a)
	ended := p.requestRetry(a)

	// A result that the try has at once is the text.
	select {
	case <-a.over:
		c.reply(toolText(c, signedInNow))
		return
	case <-ended:
		_, failure := p.state(a)
		c.reply(toolText(c, failureText(failure)))
		return
	case <-p.User.awaiting():
	case <-time.After(retryResultWait):
	case <-c.ctx.Done():
	}
	var words strings.Builder
	if last != nil {
		words.WriteString("The last try ended: " + last.Message + ". A new one has begun.\n")
	}
	if awaited, text := p.User.status(); awaited {
		words.WriteString(text)
	} else {
		words.WriteString("The server has not responded yet.")
	}
	words.WriteString("\nThe server's tools appear by themselves once that is done.")
	if last != nil && last.Command != "" {
		words.WriteString(" Or run: " + last.Command)
	}
	c.reply(toolText(c, words.String()))
}

// signedInNow is the text of the sign-in placeholder once the server is there.
const signedInNow = "You are signed in. " +
	"The server's own tools are available now: list the tools again."

// failureText describes how a try ended that did not wait for the user: because the
// last decision of the user, or of the server, still holds.
func failureText(failure *Trouble) string {
	words := "No browser opens now: " + failure.Message + ".\n"
	switch {
	case failure.Code != CodeSignIn && failure.Retry:
		words += "It is tried again by itself."
	case failure.Command != "":
		words += "Call this tool again in a minute, or run: " + failure.Command
	default:
		words += "Call this tool again in a minute."
	}
	return words
}

// waitForServer waits for the server, and ends the call with an error if that takes too long.
// It reports false if the server is there.
func (p *placeholder) waitForServer(c *call, a *absence) (done bool) {
	var ended <-chan struct{}
	if signIn, _ := p.state(a); !signIn {
		// Else a try may open a browser, which is the placeholder's to do.
		ended = p.requestRetry(a)
	}
	late := time.After(userWait)
	for {
		select {
		case <-a.over:
			return false
		case <-ended:
			if _, failure := p.state(a); failure.Code != CodeSignIn && !failure.Retry {
				c.fail(failure)
				return true
			}
			ended = nil // it may pass, or the user may sign in
			continue
		case <-late:
			c.fail(p.timeoutError(a))
		case <-c.ctx.Done():
		}
		return true
	}
}

// timeoutError returns the error of a request for which the server did not come in time.
func (p *placeholder) timeoutError(a *absence) *Trouble {
	_, failure := p.state(a)
	switch awaited, text := p.User.status(); {
	case awaited:
		return signInFirst(text)
	case failure != nil:
		return failure
	}
	return unreachable("the server has not responded to initialize yet")
}

// subscribe keeps a subscription until the server is there to have it. It reports false
// then.
func (p *placeholder) subscribe(c *call, a *absence) (done bool) {
	filter := orElse(member(c.params, "notifications"), "{}")
	p.mu.Lock()
	if p.absence != a {
		p.mu.Unlock()
		return false
	}
	c.resumed = make(chan struct{})
	a.subscriptions = append(a.subscriptions, c)
	p.mu.Unlock()
	p.out.write(acknowledgement(c.id, filter))
	select {
	case <-c.resumed:
		return false
	case <-c.ctx.Done():
		return true
	}
}

// emptyIfMissing returns a response as a host gets it that was greeted here, and so believes in
// capabilities that the server may not have.
func (p *placeholder) emptyIfMissing(c *call, m *message, line []byte) []byte {
	if m.error == nil || errorCode(m) != codeNoMethod {
		return line
	}
	p.mu.Lock()
	used := p.greeted
	p.mu.Unlock()
	if !used {
		return line
	}
	var result []byte
	switch name := c.name(); {
	case listOf[name] != "":
		result = listed(c, listOf[name], []byte("[]"))
	case name == "logging/setLevel":
		result = []byte("{}")
	case name == "completion/complete":
		result = []byte(`{"completion":{"values":[]}}`)
	default:
		return line
	}
	return object("jsonrpc", "2.0", "id", c.id, "result", result)
}
