package hosted_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/signal"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientdocument"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A web application whose users connect an MCP server.
func Example() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()

	app := &hosted.App{
		Database:    new(store.MemoryDatabase), // of pgstore or redisstore
		CallbackURL: site.URL + "/oauth/callback",
		Configure: func(_ store.Owner, c *handstamp.Client) {
			c.ClientName = "Example"
			c.UntrustedServers = false // no user enters a server's URL
		},
	}
	defer app.Close(context.Background())
	ada := store.Owner{Tenant: "acme", User: "ada"} // from the application's session

	// The id of the application's session; who the user is follows from it.
	sessionCookie := func(r *http.Request) string {
		cookie, err := r.Cookie("session")
		if err != nil {
			return ""
		}
		return cookie.Value
	}

	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "a-random-id", SameSite: http.SameSiteLaxMode, HttpOnly: true})
		fmt.Fprint(w, "a page with a button")
	})
	mux.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) {
		login, err := app.Begin(r.Context(), ada, server.MCPURL(),
			hosted.BeginOptions{Session: sessionCookie(r), ReturnTo: "/servers"})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, login.URL, http.StatusSeeOther)
	})
	mux.Handle("GET /oauth/callback/", app.Callback(sessionCookie, nil))
	mux.HandleFunc("GET /servers", func(w http.ResponseWriter, r *http.Request) {
		all, err := app.Connections(r.Context(), ada)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		for _, c := range all {
			fmt.Println("connected:", c.State)
		}
	})

	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	browser := &http.Client{Jar: jar} // of a user, who consents
	for _, visit := range []func() (*http.Response, error){
		func() (*http.Response, error) { return browser.Get(site.URL) },
		func() (*http.Response, error) { return browser.PostForm(site.URL+"/connect", nil) },
	} {
		resp, err := visit()
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
	}
	// Output: connected: valid
}

// A document at a URL of the application takes the place of registrations. Its key authenticates the
// application, in place of secrets.
func ExampleApp_ClientDocument() {
	key, err := clientkey.Generate("ES256") // a real one is the same in all replicas
	if err != nil {
		log.Fatal(err)
	}
	const documentURL = "https://app.example.com/oauth/client.json"
	app := &hosted.App{
		CallbackURL: "https://app.example.com/oauth/callback",
		Configure: func(_ store.Owner, c *handstamp.Client) {
			c.ClientMetadataURL, c.Key = documentURL, key
		},
	}
	document, err := app.ClientDocument(clientdocument.Document{
		ClientID: documentURL, ClientName: "Example",
	}, key)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /oauth/client.json", document)

	w := httptest.NewRecorder() // stands for an authorization server that fetches it
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, documentURL, http.NoBody))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 application/json
}

// Each replica refreshes tokens before requests need them, until it is stopped.
func ExampleApp_RefreshAhead() {
	var database store.Database // a *pgstore.Database, which keeps the schedule
	app := &hosted.App{Database: database}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := app.RefreshAhead(ctx, hosted.AheadOptions{}); err != nil { // in a goroutine of its own
		log.Print(err)
	}
}
