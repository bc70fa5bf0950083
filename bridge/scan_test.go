package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a string has in whichever place of a block, the scanner takes what encoding/json takes, sees
// where it ends, and whether its bytes are UTF-8.
func TestLongStrings(t *testing.T) {
	pieces := []string{
		"", `\"`, `\\`, `\n`, `\u00e9`, `\ud83d\ude00`, `\/]`, `\"#]`, "é", "世界", "😀", "\xff", "\xc3", "\xe4\xb8", "\xed\xa0\x80",
		`\`, `\x`, `\u12`, `\u12g4`, "\x00", "\x1f", "\n", "\x1f#", "\t\"", `"`, `"#`, "]#!", "\x7f", `\\"`, `\\\"`,
	}
	check := func(text string) {
		raw := `["` + text + `","` + text + `"]`
		s := scan{b: []byte(raw)}
		end, err := s.value(0)
		if valid := err == nil && end == len(raw); valid != json.Valid([]byte(raw)) {
			t.Fatalf("%q: %d of %d, %v", raw, end, len(raw), err)
		}
		if err == nil && s.mangled != !utf8.ValidString(raw) {
			t.Fatalf("%q: mangled %v", raw, s.mangled)
		}
	}
	inBlocks := strings.Repeat("a", longString) + `\n` // from here on
	for _, fill := range []string{"a", "#", "]", "!", " "} {
		for before := range block + 2 {
			for _, piece := range pieces {
				for _, after := range []int{0, 1, block, 2*block + 1} {
					text := strings.Repeat(fill, before) + piece + strings.Repeat(fill, after)
					check(text)
					check(inBlocks + text)
					check(inBlocks + text + piece + text)
				}
			}
		}
	}
}

// A string that is cut off is an error, wherever that is.
func TestLongStringsCutOff(t *testing.T) {
	for _, piece := range []string{"a", `\n`, `a\n`, `ab\n`, `\u00e9`, "é", "世", "\xff"} {
		raw := `"` + strings.Repeat("a", longString) + strings.Repeat(piece, 4*block)
		for n := 1; n < len(raw); n++ {
			s := scan{b: []byte(raw[:n])}
			if end, err := s.value(0); err == nil || end > n {
				t.Fatalf("%q: %d of %d, %v", raw[:n], end, n, err)
			}
		}
	}
}

// An error names the place of the byte that is wrong, wherever that is.
func TestLongStringsErrors(t *testing.T) {
	inBlocks := strings.Repeat("a", longString) + `\n`
	for before := range 3 * block {
		for what, piece := range map[string]string{
			"a string has an invalid escape": `\x`, "a string has a raw control character": "\x01",
		} {
			for _, prefix := range []string{`"`, `"` + inBlocks} {
				prefix += strings.Repeat("a", before)
				s := scan{b: []byte(prefix + piece + strings.Repeat("a", 2*block) + `"`)}
				_, err := s.value(0)
				if want := fmt.Sprintf("%s at byte %d", what, len(prefix)); err == nil || err.Error() != want {
					t.Fatalf("%d bytes before: %v, want %s", len(prefix), err, want)
				}
			}
		}
	}
}
