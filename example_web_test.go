package handstamp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// webLogin is the part of a web application that takes the place of browser and listener, for one
// user: the state of the callback tells which of the user's logins at several servers it belongs to.
type webLogin struct {
	client *handstamp.Client // held by pointer: a Client must not be copied once it is in use

	mu      sync.Mutex
	waiting map[string]chan url.Values // by state
}

// authorize is the application's [handstamp.Prompt.Authorize].
func (w *webLogin) authorize(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	callback := make(chan url.Values, 1)
	w.mu.Lock()
	w.waiting[r.State] = callback
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.waiting, r.State)
		w.mu.Unlock()
	}()
	go showLink(ctx, r.URL)
	select {
	case params := <-callback:
		return params, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ServeHTTP is the application's page at the redirect URI. A real one looks at the session first: it
// takes the callback only from the browser that it sent to the authorization server.
func (w *webLogin) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	w.mu.Lock()
	callback := w.waiting[req.URL.Query().Get("state")]
	w.mu.Unlock()
	select {
	case callback <- req.URL.Query():
		fmt.Fprintln(rw, "You can close this page.")
	default: // a stranger's, or a second one
		http.Error(rw, "no login is waiting for this page", http.StatusBadRequest)
	}
}

// showLink stands for a page of the application with a link, and a user who follows it.
func showLink(ctx context.Context, link string) {
	if _, err := lab.Browse(ctx, link); err != nil {
		log.Print(err)
	}
}

// A web application sends its user to the authorization server itself, and receives the callback
// at a URL of its own.
func ExamplePrompt_authorize() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	app := &webLogin{waiting: make(map[string]chan url.Values)}
	pages := httptest.NewServer(app)
	defer pages.Close()

	app.client = &handstamp.Client{
		RedirectURI: pages.URL + "/callback",
		Prompt:      handstamp.Prompt{Authorize: app.authorize},
	}
	result, err := app.client.Login(context.Background(), server.MCPURL(), handstamp.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if result.Rejected != nil { // by the MCP server
		log.Fatal(result.Rejected)
	}
	fmt.Println(result.Status.State)
	// Output: valid
}
