package main

import (
	"bytes"
	"iter"
)

// members are the names and the raw values of a JSON object. Nothing is decoded,
// and long strings are crossed at the speed of memchr, so that neither the
// server nor the host is what a measurement of large messages measures. It
// believes that the object is well-formed; one that is not ends early.
func members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		i := space(object, 0)
		if i == len(object) || object[i] != '{' {
			return
		}
		for i++; ; i++ {
			start := space(object, i)
			end := value(object, start)
			colon := space(object, end)
			if end-start < 2 || colon == len(object) || object[colon] != ':' {
				return
			}
			begin := space(object, colon+1)
			i = value(object, begin)
			if i == begin || !yield(string(object[start+1:end-1]), object[begin:i]) {
				return
			}
			if i = space(object, i); i == len(object) || object[i] != ',' {
				return
			}
		}
	}
}

// member is the raw value of one member, or nil.
func member(object []byte, name string) []byte {
	for n, v := range members(object) {
		if n == name {
			return v
		}
	}
	return nil
}

// space is the index of the first byte from i on that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// value is the index after the value that begins at i.
func value(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			if depth == 0 {
				return min(i+1, len(b))
			}
		case '{', '[':
			depth++
		case '}', ']', ',', ':', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
			if b[i] == '}' || b[i] == ']' {
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	return i
}

// stringEnd is the index of the quote that ends the string that begins at i, or
// the length.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return len(b)
		}
		i += quote
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
	return i
}
