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

// ErrTooLarge is returned for an event whose lines hold more than the reader's
// limit.
var ErrTooLarge = errors.New("sse: event too large")

// bufferSize is what is read at once, in bytes.
const bufferSize = 32 << 10

// longestID bounds an event ID, in bytes: a longer one could not be sent back.
const longestID = 4 << 10

// Event is one event of a stream. Data is the caller's to keep and to change.
type Event struct {
	// Type is the event's name; empty means "message".
	Type string

	// Data is the event's data, its lines joined by \n.
	Data []byte

	// ID is the last event ID: the event's own, or the last one that the stream
	// has set. It is sent back as Last-Event-ID.
	ID string

	// Retry is the reconnection time that the stream last asked for. Negative
	// means that it has asked for none.
	Retry time.Duration
}

// Reader reads the events of one stream. It is not safe for concurrent use.
type Reader struct {
	// Grow, if set, returns the next capacity of a buffer that has filled one, of most
	// at most, once it may be used. Its error ends the reading.
	Grow func(from, most int) (to int, err error)

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

// Retry returns the reconnection time that the stream last asked for, negative
// if none.
func (r *Reader) Retry() time.Duration { return r.retry }

// Next returns the next event that has data, or an ID or reconnection time of
// its own. An event that the stream ends in the middle of is not returned: the
// standard discards it. At the end the error is io.EOF, or what reading failed
// with.
func (r *Reader) Next() (Event, error) {
	var e Event
	var size int
	told, data, id := false, false, r.id
	for {
		line, ours, err := r.line(r.limit - size)
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			if !told && !data {
				e = Event{}
				continue
			}
			r.id = id // not before the event is whole: what is cut off is sent again
			e.ID, e.Retry = r.id, r.retry
			return e, nil
		}
		if line[0] != ':' { // comments are not kept
			size += len(line)
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "data":
			switch {
			case data:
				if e.Data, err = r.extend(e.Data, []byte{'\n'}); err == nil {
					e.Data, err = r.extend(e.Data, value)
				}
				if err != nil {
					return Event{}, err
				}
			case ours:
				e.Data = value
			default:
				e.Data = append([]byte{}, value...)
			}
			data = true
		case "event":
			e.Type = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 && len(value) <= longestID {
				id, told = string(value), true
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				r.retry, told = time.Duration(ms)*time.Millisecond, true
			}
		}
	}
}

// line returns the next line without its end, which may be \n, \r\n or \r. Unless
// it is ours to keep, it is valid until the next call.
func (r *Reader) line(limit int) (line []byte, ours bool, err error) {
	var whole []byte
	for {
		if _, err := r.r.Peek(1); err != nil {
			return nil, false, err
		}
		chunk, _ := r.r.Peek(r.r.Buffered())
		if r.lf {
			r.lf = false
			if chunk[0] == '\n' {
				r.discard(1)
				continue
			}
		}
		if !r.began {
			// A byte order mark may come in pieces, but rarely does: three more
			// bytes can be waited for, since every stream has a line end to send.
			if chunk[0] == 0xEF {
				if head, _ := r.r.Peek(3); bytes.Equal(head, []byte("\xEF\xBB\xBF")) {
					r.discard(3)
					r.began = true
					continue
				}
			}
			r.began = true
		}
		end := bytes.IndexByte(chunk, '\n')
		if cr := bytes.IndexByte(chunk[:max(end, 0)], '\r'); end < 0 || cr >= 0 {
			if cr = bytes.IndexByte(chunk, '\r'); cr >= 0 {
				end = cr
			}
		}
		if end >= 0 {
			if len(whole)+end > limit {
				return nil, false, ErrTooLarge
			}
			r.lf = chunk[end] == '\r'
			if whole == nil {
				whole = chunk[:end]
				// The bytes stay where they are until the next read.
				r.discard(end + 1)
				return whole, false, nil
			}
			whole, err = r.extend(whole, chunk[:end])
			r.discard(end + 1)
			return whole, true, err
		}
		if len(whole)+len(chunk) > limit {
			return nil, false, ErrTooLarge
		}
		if whole, err = r.extend(whole, chunk); err != nil {
			return nil, false, err
		}
		r.discard(len(chunk))
	}
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
