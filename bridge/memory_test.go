package bridge

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hold makes a share of a size, as a message that arrives in steps does.
func hold(ctx context.Context, s *share, size int) error {
	for space := 0; space < size; {
		space = grown(space, size)
		if err := s.grow(ctx, space); err != nil {
			return err
		}
		s.read.Store(int64(space))
	}
	s.arrived()
	return nil
}

// TestMemoryIsShared lets many messages of all lengths in: never more at once than
// there is, and each has its turn.
func TestMemoryIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 24 << 20
		m := newMemory(size)
		var done sync.WaitGroup
		for i := range 200 {
			done.Go(func() {
				s := m.share(func() { t.Error("a message is given up") })
				if err := hold(t.Context(), s, []int{1 << 10, 100 << 10, 1 << 20, 3 << 20, 20 << 20}[i%5]); err != nil {
					t.Error(err)
				}
				m.mu.Lock()
				if m.free < 0 || m.free > size {
					t.Errorf("%d bytes are free", m.free)
				}
				m.mu.Unlock()
				time.Sleep(time.Second)
				s.release()
			})
		}
		done.Wait()
		if m.free != size || m.giant != nil || len(m.active) != 0 {
			t.Errorf("%d bytes are free in the end", m.free)
		}
	})
}

// TestSlowMessagesGiveWay: a message that does not go on is given up for others, and
// only then; short messages do not even wait for that.
func TestSlowMessagesGiveWay(t *testing.T) {
	for name, size := range map[string]int{"a giant": 20 << 20, "many long ones": 4 << 20} {
		slows := 1
		if size <= giantMessage {
			slows = (24<<20)/size + 1 // and one that has the turn
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(24 << 20)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var slow []*share
				for range slows {
					var s *share
					s = m.share(func() { s.release() })
					if err := s.grow(ctx, size); err != nil {
						t.Fatal(err)
					}
					slow = append(slow, s)
				}
				time.Sleep(time.Hour)
				for _, s := range slow {
					if s.evicted.Load() {
						t.Error("a message is given up for none")
					}
				}
				began := time.Now()
				if err := hold(ctx, m.share(nil), shortMessage); err != nil || time.Since(began) > 0 {
					t.Errorf("a short message waits %v: %v", time.Since(began), err)
				}
				next := m.share(nil)
				if err := hold(ctx, next, size); err != nil || time.Since(began) > 3*slowAfter {
					t.Errorf("the next message waits %v: %v", time.Since(began), err)
				}
				next.release()
			})
		})
	}
}

// TestSteadyMessagesStay: who waits for a message that goes on waits until its end.
func TestSteadyMessagesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(24 << 20)
		steady := m.share(func() { t.Error("it is given up") })
		if err := steady.grow(t.Context(), 20<<20); err != nil {
			t.Fatal(err)
		}
		go func() {
			for range 60 {
				time.Sleep(time.Second)
				steady.read.Add(slowBytes)
			}
			steady.arrived()
			time.Sleep(time.Hour) // the host is slow
			steady.release()
		}()
		next := m.share(nil)
		if err := hold(t.Context(), next, 20<<20); err != nil {
			t.Error(err)
		}
		next.release()
		ctx, cancel := context.WithCancel(t.Context())
		other := m.share(nil)
		if err := other.grow(ctx, 20<<20); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cancel)
		if err := next.grow(ctx, 20<<20); err == nil {
			t.Error("a cancelled message has its turn")
		}
		other.release()
		if len(m.lines[true]) != 0 {
			t.Error("a cancelled message waits on")
		}
	})
}

// TestEachMessageOfAStreamHasItsPace: what came before on the same stream makes no message slow.
func TestEachMessageOfAStreamHasItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20 << 20
		m := newMemory(24 << 20)
		stream, next := m.share(func() { t.Error("it is given up") }), m.share(nil)
		for range 3 {
			if err := stream.grow(t.Context(), size); err != nil {
				t.Fatal(err)
			}
			turn := make(chan error, 1)
			go func() { turn <- next.grow(t.Context(), size) }()
			for range 20 {
				time.Sleep(time.Second)
				stream.read.Add(size / 20)
			}
			stream.arrived()
			stream.release()
			if err := <-turn; err != nil {
				t.Fatal(err)
			}
			time.Sleep(slowAfter / 2)
			next.release()
		}
	})
}

// TestLongLineWaitsWhileOthersMove: a line waits for memory for as long as the lines before
// it are on their way to the server, however slow, and no longer once they stand still.
func TestLongLineWaitsWhileOthersMove(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds of processor time")
	}
	for _, pace := range []int{slowBytes, 1, 0} { // bytes that are sent in half of lineWait
		moving := pace == slowBytes
		synctest.Test(t, func(t *testing.T) {
			const size, patient = 1 << 20, 3 * lineWait
			m := &lineMemory{size: size}
			if !m.take(size) {
				t.Fatal("no memory for the first line")
			}
			body := countedReader{strings.NewReader(strings.Repeat("x", 100*slowBytes)), &m.sent}
			done := make(chan struct{})
			defer close(done)
			go func() {
				for begin := time.Now(); time.Since(begin) < patient; {
					_, _ = body.Read(make([]byte, pace))
					select {
					case <-time.After(lineWait / 2):
					case <-done:
						return
					}
				}
				if moving {
					m.used.Add(-size)
				}
			}()
			begin := time.Now()
			got := m.take(size)
			if took := time.Since(begin); got != moving || moving != (took >= patient) || took > 2*patient {
				t.Errorf("%d bytes at a time: got memory %v after %v", pace, got, took)
			}
		})
	}
}
