//go:build unix

package history

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// proxy carries the connections of one process to a database's socket.
type proxy struct {
	dir      string
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; both ends
	until time.Time         // guarded by mu; nothing is carried before
}

// startProxy listens at name in a folder of its own.
func startProxy(t *testing.T, name, target string) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "via") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{dir: dir, listener: listener, target: target, conns: make(map[net.Conn]bool)}
	var accepting sync.WaitGroup
	accepting.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		accepting.Wait()
		p.cut()
		os.RemoveAll(dir)
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		go p.carry(client, server)
		go p.carry(server, client)
	}
}

// carry copies until one side ends, and ends both.
func (p *proxy) carry(to, from net.Conn) {
	defer p.close(to, from)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		wait := time.Until(p.until)
		p.mu.Unlock()
		if wait > 0 {
			time.Sleep(wait) // the fault itself
		}
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (p *proxy) close(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
}

// cut ends all connections, in the middle of whatever they carry.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

// delay holds back everything for a while.
func (p *proxy) delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(d)
}

// The proxy carries what is written, later if it is delayed, and nothing once it was cut.
func TestProxy(t *testing.T) {
	target, err := net.Listen("unix", filepath.Join(t.TempDir(), "echo"))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() {
		for {
			conn, err := target.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	p := startProxy(t, "proxy", target.Addr().String())
	conn, err := net.Dial("unix", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := func() (string, error) {
		if _, err := io.WriteString(conn, "hello"); err != nil {
			return "", err
		}
		got := make([]byte, 5)
		_, err := io.ReadFull(conn, got)
		return string(got), err
	}
	if got, err := echo(); got != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	const delay = 50 * time.Millisecond
	began := time.Now()
	p.delay(delay)
	if got, err := echo(); got != "hello" || err != nil || time.Since(began) < delay {
		t.Errorf("%q, %v after %v", got, err, time.Since(began))
	}
	p.cut()
	if got, err := echo(); err == nil {
		t.Errorf("%q after a cut", got)
	}
}
