package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func read(t *testing.T, r io.Reader, limit int) ([]Event, error) {
	t.Helper()
	var all []Event
	for reader := NewReader(r, limit); ; {
		e, err := reader.Next()
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

func TestEvents(t *testing.T) {
	tests := []struct {
		name, stream string
		want         []Event
	}{
		{"one", "data: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"no space", "data:a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"one space only", "data:  a\n\n", []Event{{Data: []byte(" a"), Retry: -1}}},
		{"many lines", "data: a\ndata: b\ndata\n\n", []Event{{Data: []byte("a\nb\n"), Retry: -1}}},
		{"carriage returns", "data: a\rdata: b\r\rdata: c\r\n\r\n", []Event{{Data: []byte("a\nb"), Retry: -1}, {Data: []byte("c"), Retry: -1}}},
		{"type", "event: endpoint\ndata: /m\n\n", []Event{{Type: "endpoint", Data: []byte("/m"), Retry: -1}}},
		{"id is kept", "id: 1\ndata: a\n\ndata: b\n\n", []Event{{Data: []byte("a"), ID: "1", Retry: -1}, {Data: []byte("b"), ID: "1", Retry: -1}}},
		{"id with nul", "id: a\x00b\ndata: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"id with another control character", "id: 1\ndata: a\n\nid: \x01\ndata: b\n\nid: 2\x7f\ndata: c\n\nid: \x1b[0m\ndata: d\n\n",
			[]Event{{Data: []byte("a"), ID: "1", Retry: -1}, {Data: []byte("b"), ID: "1", Retry: -1}, {Data: []byte("c"), ID: "1", Retry: -1}, {Data: []byte("d"), ID: "1", Retry: -1}}},
		{"id that a header can hold", "id: a\tb é\xff\ndata: a\n\n", []Event{{Data: []byte("a"), ID: "a\tb é\xff", Retry: -1}}},
		{"id alone", "id: 7\ndata: \n\n", []Event{{Data: []byte{}, ID: "7", Retry: -1}}},
		{"retry", "retry: 250\n\ndata: a\n\n", []Event{{Retry: 250 * time.Millisecond}, {Data: []byte("a"), Retry: 250 * time.Millisecond}}},
		{"retry that is no number", "retry: soon\ndata: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"comments", ": keep-alive\n\n:\n\ndata: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"unknown field", "foo: bar\ndata: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"type without data is no event", "event: x\n\ndata: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"byte order mark", "\xEF\xBB\xBFdata: a\n\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"cut off", "data: a\n\ndata: b\n", []Event{{Data: []byte("a"), Retry: -1}}},
		{"cut off in a line", "data: a\n\ndata: b", []Event{{Data: []byte("a"), Retry: -1}}},
		{"longer than the buffer", "data: " + strings.Repeat("x", 3*bufferSize) + "\r\n\r\n", []Event{{Data: []byte(strings.Repeat("x", 3*bufferSize)), Retry: -1}}},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.stream), "by bytes": iotest.OneByteReader(strings.NewReader(tt.stream))} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				got, err := read(t, r, 1<<20)
				if err != io.EOF {
					t.Errorf("ended with %v", err)
				}
				if len(got) != len(tt.want) {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				for i, e := range got {
					if w := tt.want[i]; e.Type != w.Type || string(e.Data) != string(w.Data) || e.ID != w.ID || e.Retry != w.Retry {
						t.Errorf("event %d is %+v, want %+v", i, e, w)
					}
				}
			})
		}
	}
}

func TestLimit(t *testing.T) {
	for _, stream := range []string{
		"data: " + strings.Repeat("x", 200) + "\n\n",
		strings.Repeat("data: x\n", 40) + "\n",
	} {
		if _, err := read(t, strings.NewReader(stream), 100); !errors.Is(err, ErrTooLarge) {
			t.Errorf("ended with %v", err)
		}
	}
	if got, err := read(t, strings.NewReader(strings.Repeat("data: x\n\n", 100)), 100); err != io.EOF || len(got) != 100 {
		t.Errorf("%d events, %v: the limit is for one event", len(got), err)
	}
}

// TestLastID is what a stream is resumed after: the last event that came whole.
func TestLastID(t *testing.T) {
	r := NewReader(strings.NewReader("id: 1\ndata: a\n\nid: 2\ndata: b"), 100)
	for _, err := r.Next(); err == nil; _, err = r.Next() {
	}
	if r.LastID() != "1" {
		t.Errorf("the last ID is %q", r.LastID())
	}
}

// TestWithoutWaiting reads an event from a stream that goes on: the end of its
// last line is all that has to be there.
func TestWithoutWaiting(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r\n"} {
		pr, pw := io.Pipe()
		go pw.Write([]byte("data: a" + end))
		e, err := NewReader(pr, 100).Next()
		if err != nil || string(e.Data) != "a" {
			t.Errorf("%q: %q, %v", end, e.Data, err)
		}
		pw.Close()
	}
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "id: 1\nretry: 5\r\ndata: a\rdata\n\n", "\xEF\xBB\xBF:\n\nevent: x\ndata: y\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, err := read(t, strings.NewReader(string(stream)), 1<<16)
		bytewise, err2 := read(t, iotest.OneByteReader(strings.NewReader(string(stream))), 1<<16)
		if !errors.Is(err2, err) || len(whole) != len(bytewise) {
			t.Fatalf("read at once: %d events, %v; by bytes: %d events, %v", len(whole), err, len(bytewise), err2)
		}
		for i := range whole {
			if string(whole[i].Data) != string(bytewise[i].Data) || whole[i].ID != bytewise[i].ID || whole[i].Type != bytewise[i].Type {
				t.Fatalf("event %d: %+v at once, %+v by bytes", i, whole[i], bytewise[i])
			}
		}
	})
}

// TestReadsOnAfterAnEventThatIsTooLarge skips one event, in one line or many, and keeps its
// ID and reconnection time.
func TestReadsOnAfterAnEventThatIsTooLarge(t *testing.T) {
	long := strings.Repeat("x", 3*bufferSize)
	for name, event := range map[string]string{
		"one line":             "id: 7\nretry: 250\ndata: " + long + "\n\n",
		"many lines":           "id: 7\nretry: 250\n" + strings.Repeat("data: x\n", 40) + "\n",
		"ID behind the data":   "data: " + long + "\nid: 7\nretry: 250\n\n",
		"carriage returns":     "id: 7\rretry: 250\rdata: " + long + "\rdata: " + long + "\r\r",
		"with a long comment":  "id: 7\nretry: 250\n: " + long + "\ndata: " + long + "\n\n",
		"a little too long":    "id: 7\nretry: 250\ndata: " + strings.Repeat("x", 90) + "\n\n",
		"an unknown long name": "id: 7\nretry: 250\n" + long + "\ndata: x\n\n",
	} {
		stream := "id: 6\ndata: a\n\n" + event + "data: b\n\n: " + long + "\ndata: c\n\n"
		for how, from := range map[string]io.Reader{"whole": strings.NewReader(stream), "by bytes": iotest.OneByteReader(strings.NewReader(stream))} {
			t.Run(name+"/"+how, func(t *testing.T) {
				var skipped strings.Builder
				r := NewReader(from, 100)
				r.Skipped = &skipped
				var got []string
				for range 6 {
					e, err := r.Next()
					if errors.Is(err, ErrTooLarge) {
						e.Data = []byte("too large")
					} else if err != nil {
						got = append(got, err.Error())
						break
					}
					got = append(got, string(e.Data)+" "+e.ID+" "+r.LastID()+" "+r.Retry().String())
				}
				if want := "a 6 6 -1ns, too large 7 7 250ms, b 7 7 250ms, c 7 7 250ms, EOF"; strings.Join(got, ", ") != want {
					t.Errorf("got %s", strings.Join(got, ", "))
				}
				var want []string
				for _, line := range strings.FieldsFunc(event, func(r rune) bool { return r == '\n' || r == '\r' }) {
					if data, ok := strings.CutPrefix(line, "data: "); ok {
						want = append(want, data)
					}
				}
				if skipped.String() != strings.Join(want, "\n") {
					t.Errorf("%d bytes were skipped, want %d", skipped.Len(), len(strings.Join(want, "\n")))
				}
			})
		}
	}
}

// TestEventThatIsTooLargeAndCutOff is not whole: a stream is resumed before it.
func TestEventThatIsTooLargeAndCutOff(t *testing.T) {
	r := NewReader(strings.NewReader("id: 6\ndata: a\n\nid: 7\ndata: "+strings.Repeat("x", 200)), 100)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF || r.LastID() != "6" {
		t.Errorf("got %v after %s, want the end of the stream after 6", err, r.LastID())
	}
}
