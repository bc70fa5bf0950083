// Package checksum puts a few bytes of a hash before a value in a database. They find one that was
// changed, cut or moved to another place; that it was done on purpose, only a seal finds.
package checksum

import (
	"bytes"
	"crypto/sha256"
)

// Size is how many bytes of the hash precede a value.
const Size = 8

// Add returns the value of a place with its checksum before it.
func Add[Place string | []byte](place Place, value []byte) []byte {
	sum := of([]byte(place), value)
	return append(append(make([]byte, 0, Size+len(value)), sum[:]...), value...)
}

// Cut returns the value without its checksum. It reports false for one that is not as Add left it, or
// not in its place.
func Cut[Place string | []byte](place Place, checked []byte) (value []byte, ok bool) {
	if len(checked) < Size {
		return nil, false
	}
	value = checked[Size:]
	sum := of([]byte(place), value)
	return value, bytes.Equal(checked[:Size], sum[:])
}

func of(place, value []byte) (sum [Size]byte) {
	h := sha256.New()
	h.Write(place)
	h.Write(value)
	var whole [sha256.Size]byte
	copy(sum[:], h.Sum(whole[:0]))
	return sum
}
