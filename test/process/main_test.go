//go:build unix

package process_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store/filestore"
)

func TestMain(m *testing.M) {
	testenv.RunReplica(openFolder)
	testenv.Main(m)
}

// openFolder opens the folder of all users' credentials, who are profiles there.
func openFolder(_ context.Context, folder string) (testenv.Clients, func(), error) {
	s, err := filestore.Open(filestore.Options{Dir: folder})
	return func(user int) (*handstamp.Client, error) {
		return &handstamp.Client{Store: s, Profile: strconv.Itoa(user)}, nil
	}, func() {}, err
}
