package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/internal/proctest"
)

// stepTimeout bounds one request of an application.
const stepTimeout = time.Minute

// endTimeout bounds how long the bridges of an application outlive its sessions.
const endTimeout = time.Minute

// size is how much a large call carries, each way.
const size = 64 << 10

// trials are what an application does with a server, in this order.
var trials = []struct {
	name string
	do   func(context.Context, session, dialect) error
}{
	{"tools", func(ctx context.Context, s session, says dialect) error {
		names, err := s.tools(ctx)
		if err == nil && !slices.Contains(names, says.progress.tool) {
			err = fmt.Errorf("the tools are %s", names)
		}
		return err
	}},
	{"text", func(ctx context.Context, s session, says dialect) error {
		return carryOut(ctx, s, says.text("hällo\n"))
	}},
	{"structured", func(ctx context.Context, s session, says dialect) error {
		got, err := s.call(ctx, says.structured.tool, says.structured.args)
		plain := strings.Join(strings.Fields(string(outcomeOf(got).Structured)), "")
		return contains(plain, says.structured.want, err)
	}},
	{"error", func(ctx context.Context, s session, says dialect) error {
		got, err := s.call(ctx, says.text("").tool, nil)
		if err == nil && !got.IsError {
			err = fmt.Errorf("without its argument the tool returns %q", got.Text)
		}
		return err
	}},
	{"progress", func(ctx context.Context, s session, says dialect) error {
		got, err := s.call(ctx, says.progress.tool, says.progress.args)
		if err == nil && !slices.Equal(got.Progress, []float64{1, 2, 3}) {
			err = fmt.Errorf("the progress is %v", got.Progress)
		}
		return err
	}},
	{"large", func(ctx context.Context, s session, says dialect) error {
		return carryOut(ctx, s, says.text(strings.Repeat("0123456789abcdef", size/16)))
	}},
	{"resource", func(ctx context.Context, s session, says dialect) error {
		text, err := s.read(ctx, says.uri)
		return contains(text, says.resource, err)
	}},
	{"prompt", func(ctx context.Context, s session, says dialect) error {
		text, err := s.prompt(ctx, says.prompt, says.arguments)
		return contains(text, says.message, err)
	}},
	{"elicitation", func(ctx context.Context, s session, says dialect) error {
		return carryOut(ctx, s, says.elicit)
	}},
	{"sampling", func(ctx context.Context, s session, says dialect) error {
		return carryOut(ctx, s, says.sample)
	}},
	{"roots", func(ctx context.Context, s session, says dialect) error {
		return carryOut(ctx, s, says.roots)
	}},
}

// carryOut calls a tool and looks for what it is to return.
func carryOut(ctx context.Context, s session, c trial) error {
	got, err := s.call(ctx, c.tool, c.args)
	if err == nil && got.IsError {
		err = errors.New(got.Text)
	}
	return contains(outcomeOf(got).Text, c.want, err)
}

func outcomeOf(got *outcome) outcome {
	if got == nil {
		return outcome{}
	}
	return *got
}

func contains(text, want string, err error) error {
	if err == nil && !strings.Contains(text, want) {
		err = fmt.Errorf("%d bytes, %.200q", len(text), text)
	}
	return err
}

// TestPeers lets applications of other projects use servers of other projects,
// through the bridge: signed in, where the server wants it, all at the same
// time, and on through a restart of the server.
func TestPeers(t *testing.T) {
	node := nodeProgram(t)
	installed.NeedFile(t, "sdks", "peers/node_modules/supergateway", "the servers are not installed: run make interop-sdk")
	dir := t.TempDir()
	handstamp := command(t)
	hosts, servers := applications(t, node), peers(node)
	var ran atomic.Int32 // of the servers, when the test is run with a filter
	t.Run("server", func(t *testing.T) {
		slots := make(chan struct{}, 4)
		for i, p := range servers {
			t.Run(p.name, func(t *testing.T) {
				if p.python != "" {
					needPython(t, p.python)
				}
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				ran.Add(1)
				m := &meeting{t: t, running: p.run(t), handstamp: handstamp,
					home: filepath.Join(dir, "home"+strconv.Itoa(i))}
				if p.login {
					m.signIn(handstamp, m.home)
				}
				hosts := slices.DeleteFunc(slices.Clone(hosts), func(h application) bool {
					return !p.meets(h)
				})
				if !p.solo {
					m.meet(hosts)
					return
				}
				for j, h := range hosts {
					if j > 0 {
						m.end()
						m.start()
					}
					m.meet([]application{h})
				}
			})
		}
	})
	if !hasPython("1") || !hasPython("2") {
		t.Log("without what PyPI has, the page is not checked")
	} else if !t.Failed() && int(ran.Load()) == len(servers) {
		compare(t, peerPage, renderPeers(t, hosts, servers))
	}
}

// meeting is some applications at one server.
type meeting struct {
	*running
	t         *testing.T
	handstamp string // the command
	home      string // of the logins

	mu   sync.Mutex
	dirs []string // one for each bridge
}

// meet lets applications use the server, ends it, starts it again, and lets them go on.
func (m *meeting) meet(hosts []application) {
	sessions := make([]session, len(hosts))
	m.each(hosts, func(i int, h application) {
		sessions[i] = m.begin(h)
		for _, trial := range trials {
			if !slices.Contains(missing(h, m.peer), trial.name) {
				m.try(h, trial.name, sessions[i], trial.do)
			}
		}
	})
	m.end()
	m.start()
	next := func(ctx context.Context, s session, says dialect) error {
		return carryOut(ctx, s, says.text("again"))
	}
	m.each(hosts, func(i int, h application) {
		m.try(h, "restart", sessions[i], next)
		m.finish(h, sessions[i])
	})
	if !m.solo {
		m.each(hosts, func(i int, h application) {
			s := m.begin(h)
			m.try(h, "second session", s, next)
			m.finish(h, s)
		})
	}
	m.allEnded()
}

// meets reports whether an application is tried at a server: the two where each session
// costs a process or more, the one of Go and one of Python's.
func (p peer) meets(h application) bool {
	return !p.solo && !p.slow || h.name == "Go SDK" || h.name == "Python SDK 2"
}

// missing returns the trials that an application and a server cannot pass, in order.
func missing(h application, p peer) (names []string) {
	for _, trial := range trials {
		if slices.Contains(h.lacks, trial.name) || slices.Contains(p.lacks, trial.name) ||
			h.modern && slices.Contains(p.modern, trial.name) {
			names = append(names, trial.name)
		}
	}
	return names
}

// each does something for all applications at the same time.
func (m *meeting) each(hosts []application, do func(i int, h application)) {
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() { do(i, h) })
	}
	all.Wait()
}

// begin returns a new session, nil if there is none.
func (m *meeting) begin(h application) session {
	ctx, cancel := context.WithTimeout(m.t.Context(), stepTimeout)
	defer cancel()
	s, err := h.open(ctx, m.t, m.bridge)
	if err != nil {
		m.t.Errorf("%s: no session: %v", h.name, err)
		return nil
	}
	return s
}

// finish ends a session when nothing is under way: version 1 of the Python SDK fails,
// and kills its server, if a message comes while it ends a session.
func (m *meeting) finish(h application, s session) {
	if s == nil {
		return
	}
	if m.says.finish.tool != "" && !h.once {
		m.try(h, "finish", s, func(ctx context.Context, s session, says dialect) error {
			return carryOut(ctx, s, says.finish)
		})
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), stepTimeout)
	defer cancel()
	if err := s.close(ctx); err != nil {
		m.t.Errorf("%s: the session ends with %v", h.name, err)
	}
}

// bridge returns the command that an application starts as its server.
func (m *meeting) bridge() []string {
	dir := m.t.TempDir()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirs = append(m.dirs, dir)
	return []string{os.Args[0], asBridge, m.handstamp, dir, m.home, m.url}
}

func (m *meeting) try(
	h application, name string, s session, do func(context.Context, session, dialect) error,
) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), stepTimeout)
	defer cancel()
	began := time.Now()
	if err := do(ctx, s, m.says); err != nil {
		m.t.Errorf("%s: %s (%.1f s): %v", h.name, name, time.Since(began).Seconds(), err)
	}
}

// allEnded checks that each bridge has ended by itself, and soon.
func (m *meeting) allEnded() {
	ends := make([]string, len(m.dirs))
	proctest.Holds(endTimeout, func() bool {
		for i, dir := range m.dirs {
			end, _ := os.ReadFile(filepath.Join(dir, "end"))
			ends[i] = string(end)
		}
		return !slices.Contains(ends, "")
	})
	for i, dir := range m.dirs {
		if ends[i] != "exit status 0" {
			m.t.Errorf("a bridge ended like this: %q", ends[i])
		}
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); m.t.Failed() && len(log) > 0 {
			m.t.Logf("a bridge's log:\n%s", tail(string(log)))
		}
	}
	m.dirs = nil
}
