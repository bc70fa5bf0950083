package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// timeout is how long a process may take to end after its input has.
const timeout = 10 * time.Second

// A host has started a stdio MCP server and speaks JSON-RPC with it, a message a
// line. Its methods may be called from any number of goroutines.
type host struct {
	cmd *exec.Cmd

	writing sync.Mutex // guards in and out
	in      io.Closer
	out     *bufio.Writer

	gone chan struct{} // closed when nothing more can be read

	mu      sync.Mutex // guards what follows
	last    int        // id of the last request
	waiting map[int]*request
	trouble error // why nothing more can be read
}

// A request is waiting for its response.
type request struct {
	keep   bool // result is wanted, not only its length
	done   chan struct{}
	result []byte
	length int
	err    error
}

// launch starts a process.
func launch(cmd *exec.Cmd, stderr io.Writer) (*host, error) {
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &host{
		cmd: cmd, in: in, out: bufio.NewWriterSize(in, 64<<10),
		gone: make(chan struct{}), waiting: make(map[int]*request),
	}
	go h.read(out)
	return h, nil
}

// close ends the process as hosts do, by closing its input, and returns what it
// has used. A process that does not end is killed, which is an error.
func (h *host) close() (*os.ProcessState, error) {
	timer := time.AfterFunc(timeout, func() { _ = h.cmd.Process.Kill() })
	h.writing.Lock()
	_ = h.in.Close()
	h.writing.Unlock()
	<-h.gone
	err := h.cmd.Wait()
	if !timer.Stop() {
		err = fmt.Errorf("it did not end within %v of its input", timeout)
	}
	return h.cmd.ProcessState, err
}

// read hands every response to who waits for it.
func (h *host) read(out io.Reader) {
	r := bufio.NewReaderSize(out, 256<<10)
	var long []byte
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if err != nil {
			h.end(err)
			return
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		h.deliver(line)
		long = long[:0]
	}
}

// deliver matches a response with its request. What is no response is not for
// a benchmark.
func (h *host) deliver(line []byte) {
	var id, result, failure []byte
	for name, value := range members(line) {
		switch name {
		case "id":
			id = value
		case "result":
			result = value
		case "error":
			failure = value
		case "method":
			return
		}
	}
	n, err := strconv.Atoi(string(id))
	if err != nil {
		return
	}
	h.mu.Lock()
	q := h.waiting[n]
	delete(h.waiting, n)
	h.mu.Unlock()
	if q == nil {
		return
	}
	q.length = len(result)
	if q.keep {
		q.result = bytes.Clone(result)
	}
	if result == nil {
		q.err = fmt.Errorf("the response is an error: %.200s", failure)
	}
	close(q.done)
}

// end fails all requests that wait for a response.
func (h *host) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = fmt.Errorf("the process says nothing more: %w", err)
	for id, q := range h.waiting {
		q.err = h.trouble
		close(q.done)
		delete(h.waiting, id)
	}
	close(h.gone)
}

// do sends a request whose parameters are head, middle and tail, and waits for
// the response.
func (h *host) do(ctx context.Context, q *request, method, head string, middle []byte, tail string) error {
	q.done = make(chan struct{})
	h.mu.Lock()
	if h.trouble != nil {
		h.mu.Unlock()
		return h.trouble
	}
	h.last++
	id := h.last
	h.waiting[id] = q
	h.mu.Unlock()
	start := `{"jsonrpc":"2.0","id":` + strconv.Itoa(id) + `,"method":"` + method + `","params":` + head
	if err := h.write(start, middle, tail+"}\n"); err != nil {
		return err
	}
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

func (h *host) write(head string, middle []byte, tail string) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	// A bufio.Writer keeps its first error.
	_, _ = h.out.WriteString(head)
	_, _ = h.out.Write(middle)
	_, _ = h.out.WriteString(tail)
	return h.out.Flush()
}

// handshake does what every host does first, up to the response to tools/list.
func (h *host) handshake(ctx context.Context) error {
	err := h.do(ctx, &request{}, "initialize",
		`{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`, nil, "")
	if err != nil {
		return err
	}
	if err := h.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n", nil, ""); err != nil {
		return err
	}
	list := &request{keep: true}
	if err := h.do(ctx, list, "tools/list", `{}`, nil, ""); err != nil {
		return err
	}
	if !bytes.Contains(list.result, []byte(`"echo"`)) {
		return errors.New("the response to tools/list lacks the tool")
	}
	return nil
}

const (
	callHead = `{"name":"echo","arguments":{"text":`
	callTail = `}}`
)

// call has a text echoed, and checks the length of the response.
func (h *host) call(ctx context.Context, p payload) error {
	q := &request{}
	if err := h.do(ctx, q, "tools/call", callHead, p.raw, callTail); err != nil {
		return err
	}
	if q.length < len(p.raw) {
		return fmt.Errorf("%d bytes come back as %d", len(p.raw), q.length)
	}
	return nil
}

// check has a text echoed, and compares every byte.
func (h *host) check(ctx context.Context, p payload) error {
	q := &request{keep: true}
	if err := h.do(ctx, q, "tools/call", callHead, p.raw, callTail); err != nil {
		return err
	}
	return p.compare(q.result)
}

// peak is the most memory that the process has had resident, in bytes.
func (h *host) peak() (int, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(h.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return kib << 10, err
		}
	}
	return 0, errors.New("the system does not tell the peak of a process's memory")
}
