package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
)

// pythonHost is host.py, which has many sessions.
type pythonHost struct {
	t     *testing.T
	stdin io.WriteCloser
	log   lockedBuffer
	gone  chan struct{} // closed when it has said its last

	mu       sync.Mutex // guards what follows, and writing to stdin
	last     int
	waits    map[int]chan pythonReply
	sessions int
}

type pythonReply struct {
	ID     int
	Result json.RawMessage
	Error  string
}

func startPython(t *testing.T, environment, kind string) *pythonHost {
	t.Helper()
	p := &pythonHost{t: t, waits: make(map[int]chan pythonReply), gone: make(chan struct{})}
	cmd := exec.Command(python(environment), "-W", "ignore", "host.py", kind)
	ownGroup(cmd)
	cmd.Stderr = &p.log
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.hear(stdout)
	t.Cleanup(func() {
		p.stdin.Close()
		ended := proctest.Holds(endTimeout, func() bool {
			select {
			case <-p.gone:
				return true
			default:
				return false
			}
		})
		if !ended {
			t.Errorf("host.py %s does not end", kind)
		}
		killGroup(cmd)
		if err := cmd.Wait(); err != nil && ended {
			t.Errorf("host.py %s: %v\n%s", kind, err, tail(p.log.String()))
		}
	})
	return p
}

func (p *pythonHost) hear(stdout io.Reader) {
	defer close(p.gone)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var reply pythonReply
		if err := json.Unmarshal(lines.Bytes(), &reply); err != nil {
			p.t.Errorf("host.py: %v", err)
			return
		}
		p.mu.Lock()
		waiting := p.waits[reply.ID]
		delete(p.waits, reply.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- reply
		}
	}
}

// order gives an order and returns the result.
func (p *pythonHost) order(ctx context.Context, order map[string]any, into any) error {
	reply := make(chan pythonReply, 1)
	p.mu.Lock()
	p.last++
	p.waits[p.last] = reply
	order["id"] = p.last
	line, err := json.Marshal(order)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case got := <-reply:
		if got.Error != "" {
			return errors.New(got.Error)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(got.Result, into)
	case <-p.gone:
		return errors.New("host.py has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pythonHost) open(ctx context.Context, _ *testing.T, bridge func() []string) (session, error) {
	p.mu.Lock()
	p.sessions++
	s := &pythonSession{p, p.sessions}
	p.mu.Unlock()
	return s, p.order(ctx, map[string]any{"session": s.number, "do": "open", "command": bridge()}, nil)
}

type pythonSession struct {
	host   *pythonHost
	number int
}

func (s *pythonSession) do(ctx context.Context, do string, with map[string]any, into any) error {
	order := map[string]any{"session": s.number, "do": do}
	for key, value := range with {
		order[key] = value
	}
	return s.host.order(ctx, order, into)
}

func (s *pythonSession) tools(ctx context.Context) (names []string, err error) {
	return names, s.do(ctx, "tools", nil, &names)
}

func (s *pythonSession) call(ctx context.Context, tool string, args map[string]any) (*outcome, error) {
	if args == nil {
		args = map[string]any{}
	}
	got := new(outcome)
	err := s.do(ctx, "call", map[string]any{"name": tool, "arguments": args}, got)
	return got, err
}

func (s *pythonSession) read(ctx context.Context, uri string) (text string, err error) {
	return text, s.do(ctx, "read", map[string]any{"uri": uri}, &text)
}

func (s *pythonSession) prompt(ctx context.Context, name string, args map[string]string) (text string, err error) {
	return text, s.do(ctx, "prompt", map[string]any{"name": name, "arguments": args}, &text)
}

func (s *pythonSession) close(ctx context.Context) error { return s.do(ctx, "close", nil, nil) }
