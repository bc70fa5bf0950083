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
	memory   *lineMemory
	expected expectation
}

// next returns the next line, which is the caller's, without its end and the space
// around it. There is capacity behind it for a line end. Of a line over the limit it
// returns what was seen of it on the way, and keeps nothing else.
func (l *lines) next() (line []byte, dropped *glimpse, err error) {
	taken := int64(0) // of memory
	defer func() {
		if dropped != nil {
			l.memory.used.Add(-taken)
		} else {
			l.memory.keep(line, taken)
		}
	}()
	for {
		part, err := l.ReadSlice('\n')
		more := errors.Is(err, bufio.ErrBufferFull)
		switch {
		case dropped != nil:
			_, _ = dropped.Write(part)
		case len(line)+len(part) > l.limit || !l.fits(line, part, more, &taken):
			dropped = new(glimpse)
			_, _ = dropped.Write(bytes.TrimPrefix(line, mark))
			_, _ = dropped.Write(part)
			line = nil
		default:
			if more && len(line)+len(part) > cap(line) {
				line = slices.Grow(line, l.capacity(cap(line))-len(line))
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

// capacity returns the next capacity.
func (l *lines) capacity(full int) int {
	if full < leastExpected {
		return min(l.expected.capacity(full), l.limit+1)
	}
	return grown(full, l.limit+1)
}

// fits reports whether there is memory for the next part of a line.
func (l *lines) fits(line, part []byte, more bool, taken *int64) bool {
	if !more || len(line)+len(part) <= cap(line) {
		return true
	}
	need := int64(l.capacity(cap(line)))
	if need <= shortMessage || need <= *taken {
		return true
	}
	if !l.memory.take(need - *taken) {
		return false
	}
	*taken = need
	return true
}
