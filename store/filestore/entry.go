package filestore

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/store"
)

// entry is the content of a credential's file. It is not changed once made.
type entry struct {
	header
	value []byte
}

// header is what the file says of the value.
type header struct {
	Key store.Key `json:"key"`

	// Generation orders the copies of one credential: the highest is the newest.
	Generation uint64 `json:"generation"`

	// Revision is random, so that it is never given twice, whatever happens to the file.
	Revision store.Revision `json:"revision"`
}

func newEntry(key store.Key, generation uint64, value []byte) *entry {
	return &entry{header{key, generation, store.Revision(rand.Text()[:16])}, value}
}

// successor returns the entry that replaces stored, which is nil if there is none, if that has
// the revision. The first generation is the time, in case an older copy turns up again.
func successor(stored *entry, key store.Key, value []byte, revision store.Revision) (*entry, error) {
	switch {
	case stored == nil && revision == "":
		return newEntry(key, uint64(time.Now().UnixMicro()), value), nil
	case stored != nil && revision == stored.Revision:
		return newEntry(key, stored.Generation+1, value), nil
	}
	return nil, store.ErrConflict
}

// encode returns the content of the file.
func (e *entry) encode() ([]byte, error) {
	data, err := envelope.Seal(e.header, e.value)
	if err == nil && len(data) > maxSize {
		err = unusable("cannot save the credential: %w", errTooLarge)
	}
	return data, err
}

// fileSize returns an upper bound for the size of the file of a value of up to size bytes.
func fileSize(key store.Key, size int) int64 {
	longest, _ := json.Marshal(header{key, ^uint64(0), newEntry(key, 0, nil).Revision}) // cannot fail
	return int64(envelope.Size(len(longest), size))
}

// decode reads what encode returned for key, if each byte of it is as it was written.
func decode(data []byte, key store.Key) (*entry, error) {
	var e entry
	value, err := envelope.Open(data, &e.header)
	switch {
	case errors.Is(err, envelope.ErrNewer), err == nil && e.Revision == "":
		return nil, unusable("the credential's file is of a newer version; upgrade this program")
	case err != nil:
		return nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	case e.Key != key:
		// A file that was copied onto another's name would send one server's
		// tokens to another.
		return nil, fmt.Errorf("%w: it is the credential of another server or profile", store.ErrCorrupt)
	}
	e.value = value
	return &e, nil
}

// headerOf returns the header of a file, damaged or not. The file's name, which is derived from the
// key, proves that the key itself is not damaged.
func headerOf(data []byte) (h header, ok bool) {
	ok = envelope.Peek(data, &h)
	return h, ok
}
