package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
)

// lines reads what the host writes.
type lines struct {
	*bufio.Reader
	limit    int
	expected expectation
}

// next returns the next line, which is the caller's, without its end and the space
// around it. There is room behind it for a line end. Of a line over the limit it
// returns what was seen of it on the way, and keeps nothing else.
func (l *lines) next() (line []byte, dropped *glimpse, err error) {
	for {
		part, err := l.ReadSlice('\n')
		more := errors.Is(err, bufio.ErrBufferFull)
		switch {
		case dropped != nil:
			_, _ = dropped.Write(part)
		case len(line)+len(part) > l.limit:
			dropped = new(glimpse)
			_, _ = dropped.Write(bytes.TrimPrefix(line, mark))
			_, _ = dropped.Write(part)
			line = nil
		default:
			if more && len(line)+len(part) > cap(line) {
				line = slices.Grow(line, l.expected.room(cap(line))-len(line))
			}
			line = append(line, part...)
		}
		if more {
			continue
		}
		if dropped != nil {
			dropped.end()
			return nil, dropped, err
		}
		l.expected.met(len(line))
		return bytes.TrimSpace(line), nil, err
	}
}
