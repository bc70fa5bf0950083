package filestore_test

import (
	"log"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store/filestore"
)

// A program shares the logins of the command handstamp, and of other programs that do this.
func ExampleUser() {
	s, err := filestore.User(filestore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{Store: s, LoginPolicy: handstamp.LoginNever}
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}
