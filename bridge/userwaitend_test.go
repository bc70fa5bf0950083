package bridge

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// TestCallThatWaitsTooLongForTheUserHasAResponse has the goroutine of a call notice at once that its
// context has ended, which has it forgotten.
func TestCallThatWaitsTooLongForTheUserHasAResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		defer end()
		var out bytes.Buffer
		user := new(User)
		b := newFront(life, end, Options{Stdout: &out, User: user}).current()
		m, err := parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`))
		if err != nil {
			t.Fatal(err)
		}
		c, _ := b.open(m)
		cancel, dropped := c.cancel, false
		c.cancel = func() {
			cancel()
			if !dropped {
				dropped = true
				c.drop()
			}
		}
		user.Await("Open https://as.example/authorize.")
		<-c.ctx.Done()
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "-31002") || strings.Count(got, "\n") != 1 {
			t.Errorf("the host got %q", got)
		}
	})
}
