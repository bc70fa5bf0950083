// Package sse reads event streams as the HTML standard defines them (section
// 9.2.6, "Interpreting an event stream"), with a bound on what one event may
// hold.
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// ErrTooLarge is the error for an event whose lines hold more than the limit of a
// [Reader].
var ErrTooLarge = errors.New("sse: event too large")

// bufferSize is what is read at once, in bytes.
const bufferSize = 32 << 10

// longestID bounds an event ID, in bytes: a longer one could not be sent back.
const longestID = 4 << 10

// shortLine is the length of a line that is read whole even where the event is too large.
const shortLine = longestID + len("retry: ")

// Event is one event of a stream. Data is the caller's to keep and to change.
type Event struct {
	// Type is the event's name; empty means "message".
	Type string

	// Data is the event's data, its lines joined by \n.
	Data []byte

	// ID is the last event ID: the event's own, or the last one that the stream
	// has set. It is sent back as Last-Event-ID.
	ID string

	// Retry is the reconnection time that the stream last set. Negative
	// means that it has set none.
	Retry time.Duration
}

// Reader reads the events of one stream. It is not safe for concurrent use.
type Reader struct {
	// Grow, if set, returns the next capacity of a buffer that has filled one, of most
	// at most, once it may be used. Its error ends the reading.
	Grow func(from, most int) (to int, err error)

	// Skipped, if set, gets the data of events that are too large.
	Skipped io.Writer

	r     *bufio.Reader
	limit int
	id    string
	retry time.Duration
	began bool // the byte order mark, if any, is behind us
	lf    bool // a line feed belongs to the carriage return before it
}

// NewReader returns a Reader of events of at most limit bytes each.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, bufferSize), limit: limit, retry: -1}
}

// LastID returns the last event ID that the stream has set.
func (r *Reader) LastID() string { return r.id }

// Retry returns the reconnection time that the stream last set, negative
// if none.
func (r *Reader) Retry() time.Duration { return r.retry }

// Next returns the next event that has data, or an ID or reconnection time of
// its own. An event that the stream ends in the middle of is not returned: the
// standard discards it. With [ErrTooLarge] the event has everything but its data,
// and the next call goes on behind it. Any other error ends the stream: io.EOF,
// or what reading failed with.
func (r *Reader) Next() (Event, error) {
	p := pending{id: r.id}
	for {
		line, ours, cut, err := r.line(max(r.limit-p.size, 0) + shortLine)
		if err != nil {
			return Event{}, err
		}
		if len(line) > 0 {
			if err := r.field(&p, line, ours, cut); err != nil {
				return Event{}, err
			}
			continue
		}
		if !p.named && !p.data {
			p = pending{id: r.id}
			continue
		}
		r.id = p.id // not before the event is whole: what is cut off is sent again
		p.ID, p.Retry = r.id, r.retry
		if p.skipped != nil {
			err = ErrTooLarge
		}
		return p.Event, err
	}
}

// pending is an event that is being read.
type pending struct {
	Event
	id      string
	size    int       // of its lines, in bytes
	named   bool      // it has an ID or a reconnection time of its own
	data    bool      // it has data
	skipped io.Writer // gets the data of an event that is too large; nil: it is not
}

// field adds a line to an event. The rest of a line that was cut off is skipped.
func (r *Reader) field(p *pending, line []byte, ours, cut bool) error {
	if line[0] == ':' { // comments do not count
		return r.skipLine(io.Discard, cut)
	}
	p.size += len(line)
	if p.size > r.limit && p.skipped == nil {
		if p.skipped = r.Skipped; p.skipped == nil {
			p.skipped = io.Discard
		}
		if p.data {
			_, _ = p.skipped.Write(p.Data)
		}
		p.Data = nil
	}
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch {
	case string(name) == "data" && p.skipped != nil:
		if p.data {
			_, _ = p.skipped.Write([]byte{'\n'})
		}
		p.data = true
		_, _ = p.skipped.Write(value)
		return r.skipLine(p.skipped, cut)
	case string(name) == "data":
		return r.addData(p, value, ours)
	case string(name) == "event":
		p.Type = string(value)
	case string(name) == "id" && len(value) <= longestID && !bytes.ContainsFunc(value, notInHeader):
		p.id, p.named = string(value), true
	case string(name) == "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			r.retry, p.named = time.Duration(ms)*time.Millisecond, true
		}
	}
	return r.skipLine(io.Discard, cut)
}

// notInHeader reports whether a header can hold no such character: net/http would send no
// request with the ID of an event that has one.
func notInHeader(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }

// addData adds a line to the data of an event. One that is ours becomes the data.
func (r *Reader) addData(p *pending, value []byte, ours bool) (err error) {
	switch {
	case p.data:
		if p.Data, err = r.extend(p.Data, []byte{'\n'}); err == nil {
			p.Data, err = r.extend(p.Data, value)
		}
	case ours:
		p.Data = value
	default:
		p.Data = append([]byte{}, value...)
	}
	p.data = true
	return err
}

// line returns the next line without its end, which may be \n, \r\n or \r. A line longer
// than limit is cut off: skipLine reads the rest. Unless it is ours to keep, a line is
// valid until the next call.
func (r *Reader) line(limit int) (line []byte, ours, cut bool, err error) {
	if err := r.skipMark(); err != nil {
		return nil, false, false, err
	}
	var whole []byte
	for {
		chunk, ended, err := r.chunk()
		if err != nil {
			return nil, false, false, err
		}
		if ended && whole == nil {
			return chunk, false, false, nil
		}
		if len(whole)+len(chunk) > limit && !ended {
			if whole == nil {
				return chunk, false, true, nil
			}
			return append(whole, chunk...), true, true, nil
		}
		if whole, err = r.extend(whole, chunk); err != nil || ended {
			return whole, true, false, err
		}
	}
}

// skipLine writes the rest of a line that was cut off.
func (r *Reader) skipLine(to io.Writer, cut bool) error {
	for cut {
		chunk, ended, err := r.chunk()
		if err != nil {
			return err
		}
		_, _ = to.Write(chunk)
		cut = !ended
	}
	return nil
}

// chunk takes what is buffered of the present line, and reports whether the line ends
// with it. The bytes stay where they are until the next read.
func (r *Reader) chunk() (chunk []byte, ended bool, err error) {
	for {
		if _, err := r.r.Peek(1); err != nil {
			return nil, false, err
		}
		chunk, _ = r.r.Peek(r.r.Buffered())
		if !r.lf {
			break
		}
		if r.lf = false; chunk[0] == '\n' {
			r.discard(1)
		}
	}
	end := bytes.IndexByte(chunk, '\n')
	if cr := bytes.IndexByte(chunk[:max(end, 0)], '\r'); end < 0 || cr >= 0 {
		if cr = bytes.IndexByte(chunk, '\r'); cr >= 0 {
			end = cr
		}
	}
	if end < 0 {
		r.discard(len(chunk))
		return chunk, false, nil
	}
	r.lf = chunk[end] == '\r'
	r.discard(end + 1)
	return chunk[:end], true, nil
}

// skipMark skips the byte order mark that a stream may begin with. It may come in
// pieces, but rarely does: three bytes can be waited for, since every stream has a line
// end to send.
func (r *Reader) skipMark() error {
	if r.began {
		return nil
	}
	head, err := r.r.Peek(1)
	if err != nil {
		return err
	}
	r.began = true
	if head[0] == 0xEF {
		if head, _ = r.r.Peek(3); bytes.Equal(head, []byte("\xEF\xBB\xBF")) {
			r.discard(3)
		}
	}
	return nil
}

// extend is append with the capacities that Grow gives.
func (r *Reader) extend(b, more []byte) ([]byte, error) {
	for need := len(b) + len(more); r.Grow != nil && need > cap(b); {
		to, err := r.Grow(cap(b), r.limit+1)
		if err != nil {
			return nil, err
		}
		if to <= cap(b) {
			break
		}
		b = append(make([]byte, 0, to), b...)
	}
	return append(b, more...), nil
}

// discard drops bytes that are buffered, which cannot fail.
func (r *Reader) discard(n int) { _, _ = r.r.Discard(n) }
