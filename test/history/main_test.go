//go:build unix

package history

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
)

// jobVariable holds the job of a process that is this test binary, run again.
const jobVariable = "HANDSTAMP_TEST_HISTORY"

var (
	seed   = flag.Uint64("seed", 0, "what the histories do; 0 is another seed each time")
	length = flag.Duration("time", 20*time.Second, "how long each history lasts")
)

func TestMain(m *testing.M) {
	for variable, run := range map[string]func(string) error{
		jobVariable:   runAs[job],
		crashVariable: runAs[crash],
	} {
		if text := os.Getenv(variable); text != "" {
			if err := run(text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	// Most of what runs in parallel waits.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	proctest.Prepare()
	code := m.Run()
	if code == 0 && os.Getenv("HANDSTAMP_TEST_UPDATE") != "" {
		if err := writePage(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// runAs runs what a process of a test is to do.
func runAs[T interface{ run(context.Context) error }](text string) error {
	var what T
	if err := json.Unmarshal([]byte(text), &what); err != nil {
		return err
	}
	return what.run(context.Background())
}

// run runs clients until standard input ends. Events are lines of standard output, each of which is
// one write that no kill can tear.
func (j job) run(ctx context.Context) error {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	write := func(e Event) {
		line, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(append(line, '\n'))
	}
	var clients sync.WaitGroup
	for _, id := range j.Clients {
		s, err := j.Place.open(ctx, watch{warn: func(message string) {
			fmt.Fprintln(os.Stderr, "notice:", message)
		}})
		if err != nil {
			return err
		}
		clients.Go(func() {
			defer s.close()
			newClient(j, id, s.Store, write).run(stop)
		})
	}
	clients.Wait()
	return nil
}
