package clientdocument_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/handstamp/handstamp/clientdocument"
)

// The document of an application without a key, served at the URL that is its client ID.
func Example() {
	document := clientdocument.Document{
		ClientID:     "https://app.example.com/client.json",
		ClientName:   "Example",
		RedirectURIs: []string{"http://127.0.0.1/callback"},
	}
	document.Complete()
	handler, err := clientdocument.Handler(document, nil)
	if err != nil {
		log.Fatal(err)
	}
	w := httptest.NewRecorder() // stands for an authorization server that fetches it
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, document.ClientID, http.NoBody))
	fmt.Print(w.Body)
	// Output:
	// {
	//   "client_id": "https://app.example.com/client.json",
	//   "client_name": "Example",
	//   "application_type": "native",
	//   "redirect_uris": [
	//     "http://127.0.0.1/callback"
	//   ],
	//   "grant_types": [
	//     "authorization_code",
	//     "refresh_token"
	//   ],
	//   "response_types": [
	//     "code"
	//   ],
	//   "token_endpoint_auth_method": "none"
	// }
}

// What is wrong with a document that is published already.
func ExampleCheck() {
	const location = "https://app.example.com/client.json"
	for _, finding := range clientdocument.Check(location, []byte(`{
		"client_id": "https://app.example.com/client.json",
		"redirect_uris": ["http://127.0.0.1/callback"],
		"application_type": "native",
		"grant_types": ["authorization_code", "refresh_token"],
		"token_endpoint_auth_method": "none"
	}`)) {
		fmt.Println(finding.Text)
	}
	// Output: client_name is missing: servers show it to the user
}
