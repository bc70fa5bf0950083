package bridge

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/testenv"
)

func bodies() map[string][]byte {
	text := strings.Repeat("A line of text, \\\"quoted\\\".\\n", 1<<20/28)
	response := func(v string) []byte {
		return []byte(`{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"` + v + `"}]}}`)
	}
	var tools bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&tools, `{"name":"tool_%d","description":"Does a thing, and %d others.","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer","minimum":0}},"required":["a"]}},`, i, i)
	}
	return map[string][]byte{
		"1KiB":    response(text[:1024]),
		"1MiB":    response(text),
		"plain1M": response(strings.Repeat("letters and spaces ", 1<<20/19)),
		"cjk1M":   response(strings.Repeat("世界", 1<<20/6)),
		"tools":   []byte(`{"jsonrpc":"2.0","id":17,"result":{"tools":[` + strings.TrimSuffix(tools.String(), ",") + `]}}`),
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, name := range []string{"1KiB", "1MiB", "plain1M", "cjk1M", "tools"} {
		body := bodies()[name]
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := readMessage(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// nested returns a server's response of about a size, nested as deep as is allowed, in
// one of the ways that cost a reader more than once what it is long.
func nested(kind string, size int) []byte {
	const begin, end = `{"jsonrpc":"2.0","id":1,"result":`, `}`
	var b strings.Builder
	switch kind {
	case "arrays":
		unit := strings.Repeat("[", maxDepth-3) + strings.Repeat("]", maxDepth-3)
		unit = unit[:min(len(unit), size/2*2)]
		if len(unit) < 2*(maxDepth-3) {
			unit = strings.Repeat("[", len(unit)/2) + strings.Repeat("]", len(unit)/2)
		}
		b.WriteString("[" + unit)
		for b.Len() < size {
			b.WriteString("," + unit)
		}
		b.WriteString("]")
	case "objects":
		unit := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
		b.WriteString("[" + unit)
		for b.Len() < size {
			b.WriteString("," + unit)
		}
		b.WriteString("]")
	case "members":
		b.WriteString(`{"a":1`)
		for b.Len() < size {
			b.WriteString(`,"a":{}`)
		}
		b.WriteString("}")
	case "schema":
		depth := min(size/40, 200)
		unit := strings.Repeat(`{"type":"object","properties":{"a":`, depth) + `{"type":"string","x-mcp-header":"A"}` + strings.Repeat("}}", depth)
		b.WriteString(`{"tools":[`)
		for i := 0; b.Len() < size; i++ {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, `{"name":"t%d","inputSchema":%s}`, i, unit)
		}
		b.WriteString("]}")
	}
	return []byte(begin + b.String() + end)
}

var nests = []string{"arrays", "objects", "members", "schema"}

// digest does with a response what is done on its way to the host: it is checked,
// mended, searched, filtered, changed and cut.
func digest(t testing.TB, u *upstream, body []byte) {
	m, err := readMessage(body)
	if err != nil {
		t.Fatal(err)
	}
	_ = u.listed(m.result, true)
	_ = set(m.raw, "id", []byte("2"))
	_ = cut(m.result, "a")
	_ = member(m.result, "a", "b")
	_ = glimpseOf(m.raw)
}

// BenchmarkNested shows that the work on nested messages grows with their length: the
// time of a byte is the same for 10 KB and 10 MB.
func BenchmarkNested(b *testing.B) {
	u := &newFront(context.Background(), func() {}, Options{}).current().up
	for _, kind := range nests {
		for _, size := range []int{10_000, 100_000, 1_000_000, 10_000_000} {
			body := nested(kind, size)
			b.Run(fmt.Sprintf("%s/%dKB", kind, size/1000), func(b *testing.B) {
				for b.Loop() {
					digest(b, u, body)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(body)), "ns/byte")
			})
		}
	}
}

// TestNestedMessagesCostWhatTheyAreLong compares the time of a byte of a short message
// and of one that is a hundred times as long: work that grows with the square would be
// a hundred times as much, and the machine's mood is not. Neither bound is close.
func TestNestedMessagesCostWhatTheyAreLong(t *testing.T) {
	testenv.Heavy(t, "it reads many megabytes of nested messages")
	u := &newFront(context.Background(), func() {}, Options{}).current().up
	cost := func(body []byte, turns int) float64 {
		best := time.Duration(1 << 62)
		for range 5 {
			began := time.Now()
			for range turns {
				digest(t, u, body)
			}
			best = min(best, time.Since(began))
		}
		return float64(best) / float64(turns*len(body))
	}
	for _, kind := range nests {
		short, long := cost(nested(kind, 30_000), 100), cost(nested(kind, 3_000_000), 1)
		t.Logf("%s: %.2f and %.2f ns/byte", kind, short, long)
		if long > 20*short {
			t.Errorf("%s: a byte of a long message takes %.2f ns, of a short one %.2f ns", kind, long, short)
		}
	}
}

// TestDeepNestsEndEarly: what is nested too deeply is not read to its end, however long
// it is, and batches are no way around that. Reading a flat message of the same length to
// its end takes a thousand times as long.
func TestDeepNestsEndEarly(t *testing.T) {
	const length = 64 << 20
	deep := bytes.Repeat([]byte("["), length)
	member := append([]byte(`{"a":`), deep...)
	flat := append(append([]byte(`{"a":"`), bytes.Repeat([]byte("x"), length)...), `"}`...)
	early := time.Duration(1 << 62)
	for range 5 { // the fastest, for others may have the processor meanwhile
		began := time.Now()
		m, err := parse(deep)
		_, memberErr := parse(member)
		early = min(early, time.Since(began))
		if err == nil || !strings.Contains(err.Error(), "10000 levels") || !m.batch {
			t.Fatalf("it is read: %v", err)
		}
		if memberErr == nil {
			t.Fatal("it is read")
		}
	}
	began := time.Now()
	if _, err := parse(flat); err != nil {
		t.Fatal(err)
	}
	if whole := time.Since(began); early > whole/10 {
		t.Errorf("it took %v, and %v to read a flat message of this length to its end", early, whole)
	}
}

// TestCheckingAllocatesNothing: a valid message costs what describes it, whatever it
// holds.
func TestCheckingAllocatesNothing(t *testing.T) {
	for name, body := range bodies() {
		if n := testing.AllocsPerRun(20, func() {
			if _, err := readMessage(body); err != nil {
				t.Fatal(err)
			}
		}); n > 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
