// Package textlist writes a list of texts as bytes that no other list is written as, so that a hash of
// them stands for the list.
package textlist

import "strconv"

// Append appends each text behind its length and a colon.
func Append(b []byte, texts ...string) []byte {
	for _, text := range texts {
		b = append(strconv.AppendInt(b, int64(len(text)), 10), ':')
		b = append(b, text...)
	}
	return b
}
