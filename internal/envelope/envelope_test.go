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

type testHeader struct {
	Key string `json:"key"`
}

var header = testHeader{"https://a.example/?a=1&b=<\",\n\">"}

var values = map[string]string{
	"small":      `{"version": 1}`,
	"nested":     `{"version": 1, "grant": {"list": [{}, [], [1, "zwei", null]], "token": "<&>\\ \" é"}}`,
	"lines":      "{\n  \"a\": [\n    1,\n    2,\n    3\n  ]\n}\n",
	"many lines": "[" + strings.Repeat("\n", 1000) + "]",
	"text":       `"{\n}"`,
	"null":       "null",
	"empty":      "",
	"space":      " \n ",
	"no JSON":    "{\n  \"a\"",
	"any bytes":  "\x00\xff\n  \r\n\"",
	"one byte":   "\xff",
	"odd text":   "\"\xff\xfe\"",
}

func sealed(t *testing.T, value string) []byte {
	t.Helper()
	data, err := Seal(header, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	line, _ := json.Marshal(header)
	for name, value := range values {
		data := sealed(t, value)
		if len(data) > Size(len(line), len(value)) {
			t.Errorf("%s: %d bytes became %d, more than Size returns", name, len(value), len(data))
		}
		if !json.Valid(data) {
			t.Errorf("%s: a reader of JSON cannot read\n%s", name, data)
		}
		var read testHeader
		got, err := Open(data, &read)
		if err != nil || string(got) != value || read != header {
			t.Errorf("%s: opened as %q, %+v, %v", name, got, read, err)
		}
	}
}

func TestJSONStaysReadable(t *testing.T) {
	if data := sealed(t, values["lines"]); !strings.Contains(string(data), "\n  \"value\": {\n    \"a\": [\n") {
		t.Errorf("sealed as\n%s", data)
	}
}

// No byte can become another one, go or come without being noticed.
func TestOpenNoticesEveryChange(t *testing.T) {
	for _, name := range []string{"nested", "any bytes"} {
		data := sealed(t, values[name])
		check := func(what string, changed []byte) {
			t.Helper()
			if value, err := Open(changed, new(testHeader)); err == nil {
				t.Fatalf("%s: opened as %s", what, value)
			} else if strings.HasPrefix(string(changed), head) && !errors.Is(err, ErrChanged) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		for at := range data {
			for other := range 256 {
				if byte(other) == data[at] {
					continue
				}
				changed := bytes.Clone(data)
				changed[at] = byte(other)
				check(fmt.Sprintf("byte %d as %#x", at, other), changed)
			}
			check(fmt.Sprintf("without byte %d", at), append(bytes.Clone(data[:at]), data[at+1:]...))
			check(fmt.Sprintf("cut at %d", at), data[:at])
			check(fmt.Sprintf("space at %d", at), append(append(bytes.Clone(data[:at]), ' '), data[at:]...))
		}
		check("more at the end", append(bytes.Clone(data), '\n'))
		check("other line ends", bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")))
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err != nil {
			t.Fatal(err)
		}
		check("formatted again", compact.Bytes())
	}
}

func TestOpenReportsOtherDocuments(t *testing.T) {
	for _, bare := range []string{"", "{}", values["nested"], "\x00\x00"} {
		if _, err := Open([]byte(bare), new(testHeader)); !errors.Is(err, ErrNone) {
			t.Errorf("Open(%q) = %v", bare, err)
		}
		if Peek([]byte(bare), new(testHeader)) {
			t.Errorf("Peek(%q) found a header", bare)
		}
	}
}

// Peek finds out from the header of a damaged file whose it is.
func TestPeekReadsTheHeaderOfDamagedData(t *testing.T) {
	data := sealed(t, values["nested"])
	for name, damaged := range map[string][]byte{
		"cut off":        data[:len(data)-20],
		"changed":        bytes.Replace(data, []byte("zwei"), []byte("drei"), 1),
		"other checksum": bytes.Replace(data, []byte("sha256:"), []byte("sha255:"), 1),
	} {
		var read testHeader
		if !Peek(damaged, &read) || read != header {
			t.Errorf("%s: header is %+v", name, read)
		}
	}
}

// A later version can put something else under the same checksum.
func TestOpenReportsNewerEnvelopes(t *testing.T) {
	for _, body := range []string{
		"  \"values\": []\n}\n",
		"  \"header\": {},\n  \"values\": []\n}\n",
		"  \"header\": {},\n  \"base64\": \"?\"\n}\n",
		"  \"header\": {},\n  \"value\": 1",
		"  \"header\": [],\n  \"value\": 1\n}\n",
	} {
		sum := sha256.Sum256([]byte(body))
		data := head + hex.EncodeToString(sum[:]) + headEnd + body
		if _, err := Open([]byte(data), new(testHeader)); !errors.Is(err, ErrNewer) {
			t.Errorf("Open = %v for %s", err, body)
		}
	}
}
