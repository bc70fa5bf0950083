package hosted_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

// sealedDatabase seals what is in a database of the process's memory, as pgstore does.
type sealedDatabase struct {
	store.MemoryDatabase
	key sealed.Key
}

func (d *sealedDatabase) Store(o store.Owner) (store.Store, error) {
	s, err := d.MemoryDatabase.Store(o)
	if err != nil {
		return nil, err
	}
	return sealed.New(s, d.key.For(o.Tenant, o.User)), nil
}

// BenchmarkMiss is a lookup of a user's token that misses the cache, without a database's part.
func BenchmarkMiss(b *testing.B) {
	const users = 100
	server := newServer(b, lab.NoneFirst())
	key, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	db := &sealedDatabase{key: key}
	owner := func(n int) store.Owner { return store.Owner{Tenant: "acme", User: strconv.Itoa(n)} }
	signingIn := newApp(db)
	defer signingIn.Close(b.Context())
	for n := range users {
		mustSignIn(b, server, signingIn, signingIn, owner(n))
	}
	app := &hosted.App{Database: db, CallbackURL: callbackURL, Configure: onThisMachine, CacheSize: 1}
	defer app.Close(b.Context())
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c, err := app.Client(owner(n % users))
		if err != nil {
			b.Fatal(err)
		}
		token, err := c.Token(b.Context(), server.MCPURL(), handstamp.TokenOptions{})
		if err != nil || time.Until(token.ExpiresAt) < time.Minute {
			b.Fatal(token, err)
		}
	}
}
