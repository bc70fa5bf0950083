package oauth

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// numbered returns n different scopes with a prefix.
func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(prefix, i)
	}
	return list
}

// Without omits the same words whether the lists are short or long.
func TestWithout(t *testing.T) {
	for _, n := range []int{0, 1, 5, 8, 9, 100} {
		words := append(numbered("a", n), numbered("b", n)...)
		for _, omit := range [][]string{nil, numbered("b", n), append(numbered("c", n), numbered("b", n)...)} {
			want := words
			if omit != nil {
				want = numbered("a", n)
			}
			if got := Without(words, omit); !slices.Equal(got, want) {
				t.Errorf("%d words without %d: %d are left, want %d", len(words), len(omit), len(got), len(want))
			}
		}
	}
	if got := Without([]string{"b", "a", "b"}, []string{"a"}); !slices.Equal(got, []string{"b", "b"}) {
		t.Errorf("the rest is %q", got)
	}
}

// Two long lists of a hostile server take no time to speak of: to compare each with each would take minutes.
func TestWithoutIsFast(t *testing.T) {
	as, bs := numbered("a", 200_000), numbered("b", 200_000)
	begun := time.Now()
	if got := Without(as, bs); len(got) != len(as) {
		t.Errorf("%d are left", len(got))
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// What is read of scopes does not grow with what is sent.
func TestScopesAreBounded(t *testing.T) {
	many := numbered("s", 3*maxScopes)
	for name, text := range map[string]string{
		"a list": `["` + strings.Join(many, `","`) + `"]`,
		"a text": `"` + strings.Join(many, " ") + `"`,
	} {
		o, err := readDocument([]byte(`{"scopes_supported":` + text + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := scopeList(o, "scopes_supported"); !slices.Equal(got, many[:maxScopes]) {
			t.Errorf("%s: %d scopes", name, len(got))
		}
	}
}
