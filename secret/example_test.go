package secret_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/handstamp/handstamp/secret"
)

// A secret is neither printed nor encoded. Reveal returns the value.
func Example() {
	token := struct{ Value secret.String }{"mF_9.B5f-4.1JqM"}
	fmt.Println(token)

	_, err := json.Marshal(token)
	fmt.Println(errors.Is(err, secret.ErrEncoded))

	fmt.Println("Authorization: Bearer " + token.Value.Reveal())
	// Output:
	// {[redacted]}
	// true
	// Authorization: Bearer mF_9.B5f-4.1JqM
}
