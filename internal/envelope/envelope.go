// Package envelope wraps a value in a checksum, so that whoever reads the file later notices
// every byte that changed. A value that is a JSON document stays readable in any editor:
//
//	{
//	  "checksum": "sha256:1f0c…",
//	  "header": {"revision":"…"},
//	  "value": {
//	    "version": 1,
//	    …
//	  }
//	}
//
// Any other value is in base64, in a member of that name. The checksum covers each byte after its
// own line. It protects against disks, copies and editors, not against an attacker, who could
// compute it too.
package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
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

	// ErrNewer reports an undamaged envelope of another layout.
	ErrNewer = errors.New("its envelope is of a newer version")
)

const (
	head        = "{\n  \"checksum\": \"sha256:"
	headEnd     = "\",\n"
	headerBegin = "  \"header\": "
	jsonBegin   = "  \"value\": "
	base64Begin = "  \"base64\": "
	bodyEnd     = "\n}\n"
	digits      = 2 * sha256.Size

	maxHeader = 64 << 10 // in bytes
)

// Seal returns a JSON document with a checksum, the header, which is encoded as JSON, and the
// value.
func Seal(header any, value []byte) ([]byte, error) {
	var body bytes.Buffer
	body.WriteString(headerBegin)
	line := json.NewEncoder(&body)
	line.SetEscapeHTML(false) // URLs stay readable
	if err := line.Encode(header); err != nil {
		return nil, err
	}
	body.Truncate(body.Len() - 1)
	body.WriteString(",\n")
	// Where a line begins in a document there is space between its tokens, and never a string.
	indented := bytes.ReplaceAll(value, []byte("\n"), []byte("\n  "))
	if json.Valid(value) && len(indented) <= sizeOfValue(len(value)) {
		body.WriteString(jsonBegin)
		body.Write(indented)
	} else {
		body.WriteString(base64Begin + `"` + base64.StdEncoding.EncodeToString(value) + `"`)
	}
	body.WriteString(bodyEnd)
	sum := sha256.Sum256(body.Bytes())
	sealed := make([]byte, 0, len(head)+digits+len(headEnd)+body.Len())
	sealed = append(sealed, head...)
	sealed = hex.AppendEncode(sealed, sum[:])
	sealed = append(sealed, headEnd...)
	return append(sealed, body.Bytes()...), nil
}

// Open returns the value that [Seal] wrapped in data, byte for byte, and decodes the header, unless
// that is nil. It fails with [ErrNone], [ErrChanged] or [ErrNewer].
func Open(data []byte, header any) (value []byte, err error) {
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
	if header != nil && !Peek(data, header) {
		return nil, ErrNewer
	}
	_, rest, _ = bytes.Cut(body, []byte(",\n"))
	rest, ended := bytes.CutSuffix(rest, []byte(bodyEnd))
	if document, ok := bytes.CutPrefix(rest, []byte(jsonBegin)); ok && ended {
		return bytes.ReplaceAll(document, []byte("\n  "), []byte("\n")), nil
	}
	text, ok := bytes.CutPrefix(rest, []byte(base64Begin))
	if !ok || !ended || json.Unmarshal(text, &value) != nil {
		return nil, ErrNewer
	}
	return value, nil
}

// Peek decodes the header in data whether or not the checksum matches, and reports whether it is
// one. It serves to find out whose damaged data is.
func Peek(data []byte, header any) bool {
	_, after, ok := bytes.Cut(data[:min(len(data), maxHeader)], []byte(headerBegin))
	line, _, ended := bytes.Cut(after, []byte(",\n"))
	return ok && ended && json.Unmarshal(line, header) == nil
}

// Size returns an upper bound for the size of what [Seal] returns for a header of up to header
// bytes as JSON and a value of up to value bytes.
func Size(header, value int) int {
	return len(head) + digits + len(headEnd) + len(headerBegin) + header + len(",\n") +
		len(base64Begin) + sizeOfValue(value) + len(bodyEnd)
}

// sizeOfValue bounds a value in an envelope, indented or in base64.
func sizeOfValue(size int) int { return size + size/2 + len(`"===="`) }
