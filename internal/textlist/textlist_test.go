package textlist

import "testing"

func TestAppend(t *testing.T) {
	if got := string(Append([]byte("head "), "", "a:b", "ü")); got != "head 0:3:a:b2:ü" {
		t.Errorf("%q", got)
	}
}

func TestAppendTellsListsApart(t *testing.T) {
	seen := make(map[string][]string)
	for _, list := range [][]string{
		nil, {""}, {"", ""}, {"a", "b"}, {"ab"}, {"ab", ""}, {"", "ab"}, {"1:a"}, {"a1:b"}, {"a", "1:b"}, {"0:"}, {"0:", ""},
	} {
		text := string(Append(nil, list...))
		if other, ok := seen[text]; ok {
			t.Errorf("%q and %q are both %q", list, other, text)
		}
		seen[text] = list
	}
}
