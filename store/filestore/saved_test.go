package filestore_test

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/handstamp/handstamp/store"
)

// saved is a value with a token in it, as a test put or read it.
type saved struct {
	Key      store.Key
	Token    string
	Revision store.Revision
}

func (v *saved) value() []byte {
	text, err := json.MarshalIndent(map[string]string{"token": v.Token}, "", "  ")
	if err != nil {
		panic(err) // a string can be encoded
	}
	return text
}

func (v *saved) put(ctx context.Context, s store.Store) error {
	return v.stored(s.Put(ctx, v.Key, v.value(), v.Revision))
}

func (v *saved) putInto(ctx context.Context, space store.Reservation) error {
	return v.stored(space.Put(ctx, v.value(), v.Revision))
}

func (v *saved) stored(revision store.Revision, err error) error {
	if err == nil {
		v.Revision = revision
	}
	return err
}

func (v *saved) clone() *saved {
	c := *v
	return &c
}

// increment adds one to the token, a number.
func (v *saved) increment() error {
	n, err := strconv.Atoi(v.Token)
	v.Token = strconv.Itoa(n + 1)
	return err
}

func read(ctx context.Context, s store.Store, key store.Key) (*saved, error) {
	value, revision, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	var content struct{ Token string }
	err = json.Unmarshal(value, &content)
	return &saved{key, content.Token, revision}, err
}
