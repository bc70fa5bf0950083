package checksum

import "testing"

func TestCut(t *testing.T) {
	for _, value := range []string{"", "a value"} {
		checked := Add("here", []byte(value))
		if got, ok := Cut([]byte("here"), checked); string(got) != value || !ok {
			t.Errorf("%q became %q, %v", value, got, ok)
		}
		if _, ok := Cut("there", checked); ok {
			t.Errorf("%q is taken in another place", value)
		}
		for n := range checked {
			if _, ok := Cut("here", checked[:n]); ok {
				t.Errorf("%q is taken with %d of %d bytes", value, n, len(checked))
			}
			checked[n] ^= 1
			if _, ok := Cut("here", checked); ok {
				t.Errorf("%q is taken with byte %d changed", value, n)
			}
			checked[n] ^= 1
		}
	}
}
