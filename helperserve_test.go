//go:build unix

package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// A helper that waits for its turn ends with the process that started it, without a
// request to the server: it would open a tab without a user, or use a token without need.
func TestHelperEndsWithNoUserToWaitForIt(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	gate, holder := m.StartHeld("token:refresh:committed", testenv.Job{Do: "call"})
	request, err := json.Marshal(map[string]any{"Protocol": 5, "Client": map[string]any{}, "Server": m.Lab.MCPURL(), "Refresh": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	input, asking := io.Pipe()
	served := make(chan error, 1)
	var said bytes.Buffer
	go func() {
		served <- handstamp.ServeRefreshHelper(t.Context(), input, &said, func([]byte) (*handstamp.Client, error) {
			return &handstamp.Client{Store: m.Open(filestore.Options{})}, nil
		})
	}()
	if _, err := asking.Write(request); err != nil {
		t.Fatal(err)
	}
	asking.Close()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testenv.Timeout):
		t.Fatal("it waits for its turn")
	}
	if n := m.Refreshed(); n != 1 {
		t.Errorf("%d requests to refresh, want the holder's", n)
	}
	gate.Release()
	if err := holder.Outcome(); err != nil {
		t.Error(err)
	}
}

// The end of the caller, and of the timeout of Close, is not the end of the
// helper.
func TestHelperOutlivesClose(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	before := m.StoredRecord()
	c := m.Session()
	c.RefreshHelper = testenv.HelperOf(testenv.Job{Dir: m.Dir})
	gate := m.Lab.Hold("token:refresh:committed")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Token(ctx, m.Lab.MCPURL(), handstamp.TokenOptions{})
		done <- err
	}()
	m.Held(gate)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("the cancelled caller: %v", err)
	}
	if err := c.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Close did not wait: %v", err)
	}
	gate.Release()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := m.StoredRecord(); after.Grant.RefreshToken == before.Grant.RefreshToken || after.Intent != nil {
		t.Error("the rotated token is not stored")
	}
}

// BenchmarkRefresh compares a refresh by a helper with one in the process. CPU
// time is that of all processes, the lab in this one included.
func BenchmarkRefresh(b *testing.B) {
	for _, name := range []string{"in process", "helper"} {
		b.Run(name, func(b *testing.B) {
			m := testenv.NewOnDisk(b, lab.NoneFirst())
			c := m.Session()
			if name == "helper" {
				c.RefreshHelper = testenv.HelperOf(testenv.Job{Dir: m.Dir})
			}
			before := cpu(b)
			for b.Loop() {
				if _, err := c.Token(b.Context(), m.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is the CPU time of this process and of those that it has waited for.
func cpu(b *testing.B) time.Duration {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(sum)
}
