package bridge

import (
	"strings"
	"time"
)

// reply answers a request in the server's place, and reports false if the server
// has come meanwhile and is to do it.
func (r *room) reply(c *call) bool {
	modern := modernVersion(c.message) != ""
	result := func(name string, list []byte) {
		if modern {
			c.reply(object(name, list, "resultType", "complete", "ttlMs", 0, "cacheScope", "private"))
		} else {
			c.reply(object(name, list))
		}
	}
	switch c.name() {
	case "ping", "logging/setLevel":
		c.reply([]byte("{}"))
	case "server/discover":
		c.reply(object("resultType", "complete", "supportedVersions", []string{firstModern}, "capabilities", offers, "ttlMs", 0,
			"cacheScope", "private", "_meta", object(metaServer, object("name", r.Name, "version", r.Version))))
	case "tools/list":
		result("tools", []byte(`[{"name":"`+signInTool+`","title":"Sign in","description":"This server needs somebody to sign in. Says what to do, and begins anew if the last try has failed.","inputSchema":{"type":"object","properties":{}}}]`))
	case "prompts/list":
		result("prompts", []byte("[]"))
	case "resources/list":
		result("resources", []byte("[]"))
	case "resources/templates/list":
		result("resourceTemplates", []byte("[]"))
	case "subscriptions/listen":
		return r.subscribe(c)
	default:
		if c.isSignIn() {
			r.signIn(c)
			return true
		}
		return r.patient(c)
	}
	return true
}

// isSignIn reports whether a call is for the room's own tool.
func (c *call) isSignIn() bool {
	return c.is("tools/call") && text(c.target) == signInTool
}

// said returns a tool's result that is a text.
func said(c *call, message string) []byte {
	pairs := []any{"content", []any{map[string]string{"type": "text", "text": message}}}
	if modernVersion(c.message) != "" {
		pairs = append(pairs, "resultType", "complete")
	}
	return object(pairs...)
}

// signIn says what somebody has to do, and sees to it that it can be done.
func (r *room) signIn(c *call) {
	r.mu.Lock()
	last := r.failure
	if r.begin() {
		r.wanted <- struct{}{} // there is room for one, and nobody else wants
	}
	ended, left := r.ended, r.left
	r.mu.Unlock()

	// What the try comes to at once is what there is to say.
	timer := time.NewTimer(greetingPatience)
	defer timer.Stop()
	select {
	case <-left:
		c.reply(said(c, signedInNow))
		return
	case <-ended:
		r.mu.Lock()
		failure := r.failure
		r.mu.Unlock()
		c.reply(said(c, afterFailure(failure)))
		return
	case <-r.Person.awaiting():
	case <-timer.C:
	case <-c.ctx.Done():
	}
	var words strings.Builder
	if last != nil {
		words.WriteString("The last try ended: " + last.Message + ". A new one has begun.\n")
	}
	if _, awaited, text := r.Person.status(); awaited {
		words.WriteString(text)
	} else {
		words.WriteString("It is being found out whether somebody has to sign in to this server.")
	}
	words.WriteString("\nThe server's tools appear by themselves once that is done.")
	if last != nil && last.Command != "" {
		words.WriteString(" Or run: " + last.Command)
	}
	c.reply(said(c, words.String()))
}

// signedInNow is what the room's tool says once the server is there.
const signedInNow = "You are signed in. The server's own tools are available now: list the tools again."

// afterFailure says how a try ended that nobody had to be asked for: because the
// last answer of a person, or of the server, still holds.
func afterFailure(failure *Trouble) string {
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

// patient waits for the server, and tells the host if that takes too long. It
// reports false if the server is there.
func (r *room) patient(c *call) bool {
	r.mu.Lock()
	left := r.left
	r.mu.Unlock()
	timer := time.NewTimer(callPatience)
	defer timer.Stop()
	select {
	case <-left:
		return false
	case <-timer.C:
		r.mu.Lock()
		failure := r.failure
		r.mu.Unlock()
		_, awaited, text := r.Person.status()
		if failure != nil && !awaited {
			c.fail(failure)
			break
		}
		if text == "" {
			text = "somebody has to sign in to this server first"
		}
		c.fail(&Trouble{Code: CodeSignIn, Reason: "auth_required", Retry: true, Message: strings.TrimSuffix(text, ".")})
	case <-c.ctx.Done():
	}
	return true
}

// subscribe keeps a subscription until the server is there to have it.
func (r *room) subscribe(c *call) bool {
	filter := member(c.params, "notifications")
	if filter == nil {
		filter = []byte("{}")
	}
	r.mu.Lock()
	c.resumed = make(chan struct{})
	r.heard = append(r.heard, c)
	r.mu.Unlock()
	r.out.write(acknowledged(c.id, filter))
	select {
	case <-c.resumed:
		return false
	case <-c.ctx.Done():
		return true
	}
}

// soften returns a response as a host gets it that was greeted here, and so
// believes in capabilities that the server may not have.
func (r *room) soften(c *call, m *message, line []byte) []byte {
	if m.error == nil || errorCode(m) != codeNoMethod {
		return line
	}
	r.mu.Lock()
	used := r.used
	r.mu.Unlock()
	if !used {
		return line
	}
	empty := map[string]string{
		"tools/list": "tools", "prompts/list": "prompts",
		"resources/list": "resources", "resources/templates/list": "resourceTemplates",
	}[c.name()]
	if empty == "" {
		return line
	}
	return object("jsonrpc", "2.0", "id", c.id, "result", object(empty, []byte("[]")))
}
