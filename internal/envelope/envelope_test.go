package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var records = map[string]string{
	"small":  `{"version": 1}`,
	"nested": `{"version": 1, "grant": {"list": [{}, [], [1, "zwei", null]], "token": "<&>\\ \" é"}}`,
	"lines":  "{\n  \"a\": [\n    1,\n    2,\n    3\n  ]\n}\n",
	"text":   `"{\n}"`,
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	for name, record := range records {
		sealed, err := Seal([]byte(record))
		if err != nil {
			t.Fatal(err)
		}
		if size := len(indent(t, record)); len(sealed) > Size(size) {
			t.Errorf("%s: %d bytes became %d, and Size says %d", name, size, len(sealed), Size(size))
		}
		if !json.Valid(sealed) {
			t.Errorf("%s: a reader of JSON cannot read\n%s", name, sealed)
		}
		got, err := Open(sealed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if compact(t, got) != compact(t, []byte(record)) || compact(t, Peek(sealed)) != compact(t, []byte(record)) {
			t.Errorf("%s: opened as %s", name, got)
		}
	}
	if _, err := Seal([]byte("{")); err == nil {
		t.Error("what is no JSON was sealed")
	}
}

func indent(t *testing.T, document string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(document), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func compact(t *testing.T, document []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, document); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// No byte can become another one, go or come without being noticed.
func TestOpenNoticesEveryChange(t *testing.T) {
	sealed, err := Seal([]byte(records["nested"]))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, changed []byte) {
		t.Helper()
		if record, err := Open(changed); err == nil {
			t.Fatalf("%s: opened as %s", what, record)
		} else if strings.HasPrefix(string(changed), head) && !errors.Is(err, ErrChanged) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for at := range sealed {
		for other := range 256 {
			if byte(other) == sealed[at] {
				continue
			}
			changed := bytes.Clone(sealed)
			changed[at] = byte(other)
			check(fmt.Sprintf("byte %d as %#x", at, other), changed)
		}
		check(fmt.Sprintf("without byte %d", at), append(bytes.Clone(sealed[:at]), sealed[at+1:]...))
		check(fmt.Sprintf("cut at %d", at), sealed[:at])
		check(fmt.Sprintf("space at %d", at), append(append(bytes.Clone(sealed[:at]), ' '), sealed[at:]...))
	}
	check("more at the end", append(bytes.Clone(sealed), '\n'))
	check("other line ends", bytes.ReplaceAll(sealed, []byte("\n"), []byte("\r\n")))
	check("formatted anew", []byte(compact(t, sealed)))
}

func TestOpenReportsOtherDocuments(t *testing.T) {
	for _, bare := range []string{"", "{}", records["nested"], "\x00\x00"} {
		if _, err := Open([]byte(bare)); !errors.Is(err, ErrNone) {
			t.Errorf("Open(%q) = %v", bare, err)
		}
	}
	if Peek([]byte("{")) != nil || Peek([]byte(records["nested"])) != nil {
		t.Error("Peek found a record where there is none")
	}
}

// A later version can put something else under the same checksum.
func TestOpenReportsNewerEnvelopes(t *testing.T) {
	body := "  \"records\": []\n}\n"
	sum := sha256.Sum256([]byte(body))
	if _, err := Open([]byte(head + hex.EncodeToString(sum[:]) + headEnd + body)); !errors.Is(err, ErrNewer) {
		t.Errorf("Open = %v", err)
	}
}
