package handstamp_test

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// webLogin is the part of a web application that takes the place of browser and listener, for one
// user with logins at any number of servers.
type webLogin struct {
	client  *handstamp.Client // held by pointer: a Client must not be copied once it is in use
	waiting sync.Map          // by the state of a login, the channel of its callback
}

// authorize is the application's Prompt.Authorize.
func (w *webLogin) authorize(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
	callback := make(chan url.Values, 1)
	w.waiting.Store(r.State, callback)
	defer w.waiting.Delete(r.State)
	go showLink(ctx, r.URL)
	select {
	case params := <-callback:
		return params, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ServeHTTP is the application's page at the redirect URI.
func (w *webLogin) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	// A real one looks first: is this the session that was shown the link?
	callback, ok := w.waiting.LoadAndDelete(req.URL.Query().Get("state"))
	if !ok { // a stranger's, or a second one
		http.Error(rw, "no login is waiting for this page", http.StatusBadRequest)
		return
	}
	callback.(chan url.Values) <- req.URL.Query()
	fmt.Fprintln(rw, "You can close this page.")
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
	app := new(webLogin)
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

// stepLogin is the part of a web application in which a login begins with a request of the user.
type stepLogin struct {
	client    *handstamp.Client
	serverURL string
	waiting   sync.Map // by the session and the state of a login, what CompleteLogin continues with
}

type sessionState struct{ session, state string }

// connect is the page to which a button leads.
func (l *stepLogin) connect(w http.ResponseWriter, r *http.Request) {
	if sessionOf(r) == "" {
		http.Error(w, "sign in to this application first", http.StatusForbidden)
		return
	}
	step, err := l.client.BeginLogin(r.Context(), l.serverURL, handstamp.LoginOptions{})
	l.goOn(w, r, step, err)
}

// callback is the page at the redirect URI.
func (l *stepLogin) callback(w http.ResponseWriter, r *http.Request) {
	suspended, ok := l.waiting.LoadAndDelete(sessionState{sessionOf(r), r.URL.Query().Get("state")})
	if !ok { // another session's, or a second one
		http.Error(w, "no login is waiting for this page", http.StatusBadRequest)
		return
	}
	step, err := l.client.CompleteLogin(r.Context(), suspended.(secret.String), r.URL.Query())
	l.goOn(w, r, step, err)
}

func (l *stepLogin) goOn(w http.ResponseWriter, r *http.Request, step *handstamp.LoginStep, err error) {
	if err == nil && step.Result == nil { // the user has to go to the authorization server, perhaps once more
		l.waiting.Store(sessionState{sessionOf(r), step.Request.State}, step.Suspended)
		http.Redirect(w, r, step.Request.URL, http.StatusSeeOther)
		return
	}
	if err == nil {
		err = step.Result.Rejected // by the MCP server
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, "You are signed in.")
}

// sessionOf stands for the application's own sessions. It returns "" if there is none.
func sessionOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return cookie.Value
}

// Where a login begins with a request of the user, it needs no goroutine that waits: the application
// keeps the suspended login until the callback comes.
func ExampleClient_BeginLogin() {
	server, err := lab.Start(lab.NoneFirst()) // stands for a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	mux := http.NewServeMux()
	pages := httptest.NewServer(mux)
	defer pages.Close()
	app := &stepLogin{
		client:    &handstamp.Client{RedirectURI: pages.URL + "/callback"},
		serverURL: server.MCPURL(),
	}
	mux.HandleFunc("GET /connect", app.connect)
	mux.HandleFunc("GET /callback", app.callback)

	browser, err := browserOf(pages.URL)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := lab.BrowseWith(context.Background(), browser, pages.URL+"/connect"); err != nil {
		log.Fatal(err)
	}
	status, err := app.client.Status(context.Background(), app.serverURL)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.State)
	// Output: valid
}

// browserOf returns the browser of a user who has a session at a site.
func browserOf(site string) (*http.Client, error) {
	u, err := url.Parse(site)
	jar, errJar := cookiejar.New(nil)
	if err := cmp.Or(err, errJar); err != nil {
		return nil, err
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: "b1946ac92492d234"}})
	return &http.Client{Jar: jar}, nil
}
