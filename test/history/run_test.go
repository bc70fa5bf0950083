//go:build unix

package history

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// run is one history while it happens.
type run struct {
	t       *testing.T
	rand    *rand.Rand
	seed    uint64
	backend *backend
	server  *lab.Server

	mu     sync.Mutex
	events []Event // guarded by mu

	slots     []*slot
	processes int
	clients   int
}

// slot is a place among the processes: whichever dies there is replaced.
type slot struct {
	clients int    // in the process
	proxy   *proxy // nil: there is no database
	process *process
}

// process is one that runs.
type process struct {
	number int
	cmd    *exec.Cmd
	input  io.Closer
	ended  chan struct{} // closed when all that it said was read
	thaw   *time.Timer
}

// newRun starts twelve processes with sixteen clients.
func newRun(t *testing.T, name string, seed uint64) *run {
	t.Helper()
	r := &run{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), backend: newBackend(t, name)}
	var err error
	r.server, err = lab.StartWith(lab.Habits{Rotation: lab.RotateStrict}, lab.Options{Hook: slowly})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.server.Close)
	r.signIn()
	for i := range 12 {
		s := &slot{clients: 1 + i/8}
		if r.backend.network != "" {
			s.proxy = startProxy(t, r.backend.socket, r.backend.network)
		}
		r.slots = append(r.slots, s)
	}
	t.Cleanup(func() {
		for _, s := range r.slots {
			if s.process != nil {
				s.process.kill()
			}
		}
	})
	for _, s := range r.slots {
		r.begin(s)
	}
	return r
}

// slowly makes refreshes take as long as those of real servers, before and after the server has
// replaced the refresh token.
func slowly(e lab.Event) {
	if e.Request.Endpoint == "token:refresh" && e.Point != "token:responded" {
		time.Sleep(rand.N(100 * time.Millisecond))
	}
}

// signIn signs in with each profile.
func (r *run) signIn() {
	r.t.Helper()
	s, err := r.backend.direct.open(r.t.Context(), watch{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.close()
	for _, profile := range profiles {
		login := newLogin(s.Store, profile, http.DefaultTransport)
		if _, err := login.Login(r.t.Context(), r.server.MCPURL(), handstamp.LoginOptions{}); err != nil {
			r.t.Fatal(err)
		}
		if err := login.Close(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// note writes down what is done to the processes.
func (r *run) note(e Event) {
	if e.At == 0 {
		e.At = now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// begin starts a process. The clock of one in three is wrong by up to ten minutes.
func (r *run) begin(s *slot) {
	r.t.Helper()
	r.processes++
	j := job{Place: r.backend.through(s.proxy), Process: r.processes, Seed: r.seed, Server: r.server.MCPURL()}
	for range s.clients {
		r.clients++
		j.Clients = append(j.Clients, r.clients)
	}
	if r.rand.IntN(3) == 0 {
		j.Skew = time.Duration(r.rand.Int64N(int64(20*time.Minute))) - 10*time.Minute
		r.note(Event{Kind: Skew, Process: j.Process, Text: j.Skew.String()})
	}
	text, err := json.Marshal(j)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &process{number: j.Process, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), jobVariable+"="+string(text), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.Stderr = os.Stderr
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			var e Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				r.t.Errorf("a line that is no event: %q", lines.Bytes())
				continue
			}
			r.note(e)
		}
	}()
	s.process = p
}

func (p *process) kill() {
	if p.thaw != nil {
		p.thaw.Stop()
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.cmd.Wait()
}

// end has all processes come to their end, and reads what is stored then.
func (r *run) end() []Event {
	r.t.Helper()
	for _, s := range r.slots {
		r.thaw(s.process)
		s.process.input.Close()
	}
	timeout := time.After(2 * time.Minute)
	for _, s := range r.slots {
		select {
		case <-s.process.ended:
			if err := s.process.cmd.Wait(); err != nil {
				r.t.Errorf("process %d: %v", s.process.number, err)
			}
		case <-timeout:
			r.t.Errorf("process %d does not end", s.process.number)
			s.process.kill()
		}
		s.process = nil
	}
	s, err := r.backend.direct.open(r.t.Context(), watch{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.close()
	r.clients++
	last := newClient(job{}, r.clients, s.Store, r.note)
	for _, key := range registers {
		last.read(r.t.Context(), key)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

func (r *run) freeze(p *process, d time.Duration) {
	if p.thaw != nil {
		return
	}
	r.note(Event{Kind: Freeze, Process: p.number})
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	p.thaw = time.AfterFunc(d, func() {
		r.note(Event{Kind: Thaw, Process: p.number})
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	})
}

// thaw thaws a process that is frozen.
func (r *run) thaw(p *process) {
	if p.thaw != nil && p.thaw.Stop() {
		r.note(Event{Kind: Thaw, Process: p.number})
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
	p.thaw = nil
}
