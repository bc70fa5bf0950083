// Package envelope wraps a record in a checksum, so that whoever reads the file later
// notices every byte that changed. The record stays readable in any editor:
//
//	{
//	  "checksum": "sha256:1f0c…",
//	  "record": {
//	    "version": 1,
//	    …
//	  }
//	}
//
// The checksum covers each byte after its own line. It protects against disks, copies and
// editors, not against an attacker, who could compute it too.
package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// Errors that [Open] returns.
var (
	// ErrNone reports that the data has no envelope.
	ErrNone = errors.New("it has no checksum")

	// ErrChanged reports that the data is not what [Seal] returned.
	ErrChanged = errors.New("its checksum does not match: " +
		"a fault of the disk, a copy or an editor changed it")

	// ErrNewer reports an undamaged envelope with something else than a record in it.
	ErrNewer = errors.New("its envelope is of a newer version")
)

const (
	head      = "{\n  \"checksum\": \"sha256:"
	headEnd   = "\",\n"
	bodyBegin = "  \"record\": "
	bodyEnd   = "\n}\n"
	digits    = 2 * sha256.Size
)

// Seal returns the JSON document record with its checksum.
func Seal(record []byte) ([]byte, error) {
	var body bytes.Buffer
	body.WriteString(bodyBegin)
	if err := json.Indent(&body, bytes.TrimSpace(record), "  ", "  "); err != nil {
		return nil, err
	}
	body.WriteString(bodyEnd)
	sum := sha256.Sum256(body.Bytes())
	sealed := make([]byte, 0, len(head)+digits+len(headEnd)+body.Len())
	sealed = append(sealed, head...)
	sealed = hex.AppendEncode(sealed, sum[:])
	sealed = append(sealed, headEnd...)
	return append(sealed, body.Bytes()...), nil
}

// Open returns the record that [Seal] wrapped in data. It fails with [ErrNone], [ErrChanged]
// or [ErrNewer].
func Open(data []byte) (record []byte, err error) {
	rest, ok := bytes.CutPrefix(data, []byte(head))
	if !ok {
		return nil, ErrNone
	}
	if len(rest) < digits {
		return nil, ErrChanged
	}
	written := rest[:digits]
	body, ok := bytes.CutPrefix(rest[digits:], []byte(headEnd))
	if !ok {
		return nil, ErrChanged
	}
	sum := sha256.Sum256(body)
	if !bytes.Equal(written, hex.AppendEncode(nil, sum[:])) {
		return nil, ErrChanged
	}
	record, begins := bytes.CutPrefix(body, []byte(bodyBegin))
	record, ends := bytes.CutSuffix(record, []byte(bodyEnd))
	if !begins || !ends {
		return nil, ErrNewer
	}
	return record, nil
}

// Peek returns the record in data whether or not the checksum matches, or nil. It serves to
// find out whose damaged data is.
func Peek(data []byte) []byte {
	var sealed struct {
		Record json.RawMessage `json:"record"`
	}
	if json.Unmarshal(data, &sealed) != nil {
		return nil
	}
	return sealed.Record
}

// Size returns an upper bound for the size of a sealed record that has size bytes when it is
// indented, as store.Encode does.
func Size(size int) int {
	// Each line gets two more spaces, and has four bytes or more.
	return len(head) + digits + len(headEnd) + len(bodyBegin) + size + size/2 + len(bodyEnd)
}
