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
	for _, fill := range []string{"a", "#", "]", "!", " "} {
		for before := range 2*block + longString + 2 {
			for _, piece := range pieces {
				for _, after := range []int{0, 1, block, 2*block + 1} {
					text := strings.Repeat(fill, before) + piece + strings.Repeat(fill, after)
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
			}
		}
	}
}

// An error names the place of the byte that is wrong, wherever that is.
func TestLongStringsErrors(t *testing.T) {
	for before := range 3 * block {
		for what, piece := range map[string]string{
			"a string has an invalid escape": `\x`, "a string has a raw control character": "\x01",
		} {
			raw := `"` + strings.Repeat("a", before) + piece + strings.Repeat("a", 2*block) + `"`
			s := scan{b: []byte(raw)}
			_, err := s.value(0)
			if want := fmt.Sprintf("%s at byte %d", what, before+1); err == nil || err.Error() != want {
				t.Fatalf("%d bytes before: %v, want %s", before, err, want)
			}
		}
	}
}
