package chaos

// mutant is a bug that the bridge could have: changes of its source.
type mutant struct {
	name    string
	changes []change
}

type change struct{ file, old, new string }

func bug(name, file, old, new string) mutant {
	return mutant{name, []change{{file, old, new}}}
}

var mutants = []mutant{
	bug("a call is sent again after a lost connection", "upstream.go",
		"c.ctx.Err() == nil && unsent &&", "c.ctx.Err() == nil && try < 3 &&"),
	bug("a response is delivered twice", "call.go",
		"	return mine\n}", "	return true\n}"),
	bug("the id of a response is not restored", "deliver.go",
		"idKey(id) != idKey(c.id)", "idKey(id) != idKey(c.id) && c.batch"),
	bug("each request replaces the session", "session.go",
		"case u.round != round:", "case u.round < round:"),
	bug("the session's stream is retried without a pause", "sessionstream.go",
		"	if r.failures < streamFailures {\n		return pause(ctx, r.pause())", "	if r.failures >= 0 {\n		return pause(ctx, 0)"),
	bug("a cancelled request goes on", "call.go",
		"	c.bridge.mu.Unlock()\n	c.end()\n	c.cancel()", "	c.bridge.mu.Unlock()\n	c.end()"),
	bug("the end of standard input is waited out", "bridge.go",
		"ctx, cancel := context.WithTimeout(ctx, lingerTime)", "ctx, cancel := context.WithTimeout(ctx, 10*lingerTime)"),
	bug("what is due at the end has no response", "bridge.go",
		"		b.abandon()\n", ""),
	bug("a batch that failed has one response", "call.go",
		"			c.failPart(id, t)\n		}\n		c.end()", "			c.failPart(id, t)\n			break\n		}\n		c.end()"),
	bug("a stream is resumed from its start", "stream.go",
		"u.get(sent.begin(ctx), session, r.id)", "u.get(sent.begin(ctx), session, \"\")"),
	bug("a response may come on a stream for ever", "lateresponse.go",
		"lateWait = 5 * time.Minute", "lateWait = 500 * time.Minute"),
	bug("notifications overtake one another", "notifications.go",
		"held := func() bool { return b.delayed() || b.up.replacing() }\n		b.within(notificationWait,",
		"held := func() bool { return false }\n		b.within(0,"),
}
