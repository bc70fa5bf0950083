//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

// works reports how the bridge serves its host: initialize, for which others pay their starts and
// ends on the same machine, and then calls, as soon as the user has signed in. That initialize has
// its response in time is tested in package bridge.
func (h *host) works() error {
	responded := make(chan error, 1)
	go func() {
		line, err := h.response(1)
		if err == nil && !strings.Contains(line, `"result"`) {
			err = errors.New(line)
		}
		responded <- err
	}()
	select {
	case err := <-responded:
		if err != nil {
			return fmt.Errorf("initialize: %w", err)
		}
	case <-time.After(waitLimit):
		return fmt.Errorf("initialize got no response in %v", waitLimit)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	var line string
	var err error
	id := 1
	if !proctest.Holds(waitLimit, func() bool {
		id++
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"walked in"}}}`, id))
		line, err = h.response(id)
		return err != nil || strings.Contains(line, "walked in")
	}) {
		return fmt.Errorf("no call goes through: %s", line)
	}
	return err
}

// Five bridges start at once without a login, and four are killed at
// random moments while the user signs in. There is one tab, and the bridge
// that is left and one that comes later work.
//
// HANDSTAMP_TEST_STORM=1 (make storm) does it 50 times instead of 5.
func TestKilledDuringLogin(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts and kills many processes")
	}
	runs := 5
	if os.Getenv("HANDSTAMP_TEST_STORM") != "" {
		runs = 50
	}
	for range runs {
		m := newMachine(t, lab.NoneFirst())
		var bridges [5]*host
		for i := range bridges {
			h, err := m.bridge()
			if err != nil {
				t.Fatal(err)
			}
			bridges[i] = h
		}
		survivor := rand.IntN(len(bridges))
		var all sync.WaitGroup
		for i, h := range bridges {
			if i == survivor {
				continue
			}
			all.Go(func() {
				time.Sleep(rand.N(600 * time.Millisecond)) // the random moment
				h.kill()
			})
		}
		all.Go(func() {
			if err := bridges[survivor].works(); err != nil {
				t.Errorf("the bridge that is left: %v", err)
			}
		})
		all.Wait()
		later, err := m.bridge()
		if err != nil {
			t.Fatal(err)
		}
		if err := later.works(); err != nil {
			t.Errorf("a later bridge: %v", err)
		}
		later.kill()
		bridges[survivor].kill()
		if n := m.tabs(); n != 1 {
			t.Errorf("%d tabs, want 1", n)
		}
		if t.Failed() {
			t.Fatalf("the bridge that was left wrote:\n%s", bridges[survivor].stderr.String())
		}
		m.server.Close()
	}
}
