package alive

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// conn is a TCP connection that is closed when the other end does not respond any more. While
// nothing is sent, the operating system's keepalive finds that out; keepalive pauses while
// something is sent that is not acknowledged, and there the conn looks for itself, where the
// system reports it.
type conn struct {
	net.Conn
	tcp    *net.TCPConn
	broken func() // called when the connection broke off

	watched atomic.Bool // a look is due
	since   time.Time   // of the look that is due: when progress was last seen
	acked   uint64      // and how much was acknowledged then, in bytes
	dead    atomic.Bool // closed here
}

// checkInterval is how often a conn looks whether what was sent has arrived.
const checkInterval = checkTimeout / 5

// supervise returns a connection with the checks. It calls broken when the connection breaks
// off otherwise than by an orderly end.
func supervise(tcp *net.TCPConn, broken func()) *conn {
	// What a system does not know it does without.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: idleTime, Interval: checkTimeout / probes, Count: probes})
	limitRetransmission(tcp)
	return &conn{Conn: tcp, tcp: tcp, broken: broken}
}

// Read implements [net.Conn].
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.wrapError(err)
}

// Write implements [net.Conn].
func (c *conn) Write(b []byte) (int, error) {
	c.watch()
	n, err := c.Conn.Write(b)
	return n, c.wrapError(err)
}

// wrapError notes what an error means for the connection.
func (c *conn) wrapError(err error) error {
	if err == nil {
		return nil
	}
	if c.dead.Load() {
		return &net.OpError{Op: "read", Net: "tcp",
			Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: syscall.ETIMEDOUT}
	}
	if _, ok := errtype.As[syscall.Errno](err); ok { // neither an end nor a close
		c.broken()
	}
	return err
}

// watch begins to look after what is sent now, unless that has begun.
func (c *conn) watch() {
	if c.watched.CompareAndSwap(false, true) {
		c.since = time.Now()
		time.AfterFunc(checkInterval, c.check)
	}
}

// check closes the connection if nothing that was sent has been acknowledged for too long, and
// ends the watch if all was.
func (c *conn) check() {
	s := outstanding(c.tcp)
	if s.acked != c.acked {
		c.since, c.acked = time.Now(), s.acked
	}
	switch {
	case !s.pending:
		c.watched.Store(false)
		if outstanding(c.tcp).pending { // sent in between
			c.watch()
		}
	case s.dead(deadAfter) && time.Since(c.since) >= deadAfter:
		c.dead.Store(true)
		c.broken()
		_ = c.tcp.SetLinger(0)
		_ = c.tcp.Close()
	default:
		time.AfterFunc(checkInterval, c.check)
	}
}

// deadAfter is how long something that was sent may be without an acknowledgement.
const deadAfter = idleTime + checkTimeout - checkInterval

// sending is what the operating system reports about data that was sent.
type sending struct {
	pending bool          // some is not acknowledged
	acked   uint64        // what is, in bytes
	again   uint8         // how often it was sent again since some was acknowledged
	probed  uint8         // how often the other end, which takes nothing at present, did not respond
	full    bool          // the other end takes nothing at present, or that is not known
	silent  time.Duration // since anything was acknowledged, be it again
}

// tries is how many times in a row something was sent again before a connection may be dead.
const tries = 2

// dead reports whether the other end does not acknowledge what was sent. One that takes
// nothing at present is there as long as it acknowledges the probes.
func (s sending) dead(d time.Duration) bool {
	if s.again >= tries && !s.full {
		return true
	}
	return (s.again >= tries || s.probed >= tries) && s.silent >= d
}
