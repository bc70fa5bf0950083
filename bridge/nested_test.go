package bridge

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func bodies() map[string][]byte {
	text := strings.Repeat("A line of text, \\\"quoted\\\".\\n", 1<<20/28)
	answer := func(v string) []byte {
		return []byte(`{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"` + v + `"}]}}`)
	}
	var tools bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&tools, `{"name":"tool_%d","description":"Does a thing, and %d others.","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer","minimum":0}},"required":["a"]}},`, i, i)
	}
	return map[string][]byte{
		"1KiB":    answer(text[:1024]),
		"1MiB":    answer(text),
		"plain1M": answer(strings.Repeat("letters and spaces ", 1<<20/19)),
		"cjk1M":   answer(strings.Repeat("世界", 1<<20/6)),
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
				if _, err := heard(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
