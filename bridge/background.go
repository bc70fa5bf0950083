package bridge

import "context"

// The user is needed for what the MCP host begins or wants done. What goes on by itself, such as
// the stream of a session that is opened again at night, comes to nothing instead.

type backgroundKey struct{}

// background returns a context for what the host does not wait for: see [Options.Background].
func (f *front) background(ctx context.Context) context.Context {
	if inBackground(ctx) {
		return ctx
	}
	ctx = context.WithValue(ctx, backgroundKey{}, true)
	if f.Background != nil {
		ctx = f.Background(ctx)
	}
	return ctx
}

func inBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// lifeFor returns the session's life for what is begun by a request but belongs to none.
func (b *bridge) lifeFor(request context.Context) context.Context {
	if inBackground(request) {
		return b.background(b.life)
	}
	return b.life
}
