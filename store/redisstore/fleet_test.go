//go:build unix

package redisstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

func TestMain(m *testing.M) {
	testenv.RunReplica(openReplica)
	if text := os.Getenv(puppetVariable); text != "" {
		if err := runPuppet(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	testenv.Main(m)
}

// openReplica opens the database for a process of its own.
func openReplica(ctx context.Context, place string) (testenv.Clients, func(), error) {
	db, client, err := openPlace(ctx, place)
	return testenv.ClientsOf(db), func() { client.Close() }, err
}

// openPlace opens what [placeOf] names, sealed.
func openPlace(
	ctx context.Context, place string,
) (*redisstore.Database, redis.UniversalClient, error) {
	var o redis.UniversalOptions
	if err := json.Unmarshal([]byte(place), &o); err != nil {
		return nil, nil, err
	}
	key, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewUniversalClient(&o)
	db, err := redisstore.New(ctx, client, redisstore.Options{Keys: []sealed.Key{key}})
	return db, client, err
}

func TestManyReplicasRefreshEachCredentialOnce(t *testing.T) {
	arranged := []string{"one server"}
	if testenv.Long() {
		arranged = append(arranged, "Cluster")
	}
	for _, name := range arranged {
		t.Run(name, func(t *testing.T) {
			servers := arrangements[name](t)
			db := open(t, newClient(t, servers), redisstore.Options{Keys: []sealed.Key{newKey(t, 0)}})
			testenv.New(t, testenv.Personality(t, "rotates-strictly")).
				Fleet(placeOf(t, servers), testenv.ClientsOf(db))
		})
	}
}

// placeOf is how a process of its own finds servers.
func placeOf(t testing.TB, o *redis.UniversalOptions) string {
	t.Helper()
	place, err := json.Marshal(struct {
		Addrs         []string
		MasterName    string
		IsClusterMode bool
	}{o.Addrs, o.MasterName, o.IsClusterMode})
	if err != nil {
		t.Fatal(err)
	}
	return string(place)
}
