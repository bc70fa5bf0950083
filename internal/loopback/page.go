package loopback

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Page is how a sign-in has ended, as the waiting browser shows it. Both texts
// are made fit for a page: one line, bounded, escaped.
type Page struct {
	// Message is the sentence shown for success. Empty means "You are signed
	// in."
	Message string

	// Err is why the sign-in failed. Its text is shown, so it must be fit for a
	// person. Nil means success.
	Err error
}

// view returns what is shown for p, to the first tab that brought the response or
// to another.
func (p Page) view(again bool) view {
	if p.Err != nil {
		return view{Kind: "bad", Title: "Sign-in failed", Detail: visible(p.Err.Error()), Text: "Close this tab and go back to the application."}
	}
	v := view{Kind: "good", Title: visible(p.Message), Text: "You can close this tab."}
	if v.Title == "" {
		v.Title = "You are signed in."
	}
	if again {
		v.Detail = "It was done already, in another tab."
	}
	return v
}

// view is what varies in the page.
type view struct {
	Kind   string // "good", "bad" or "wait"
	Title  string
	Detail string // what matters; may be empty
	Text   string // what to do
}

// The pages that do not depend on a Page. Their texts tell a stranger nothing.
var (
	pendingView    = view{"wait", "Still at work.", "", "Go back to the application to see how the sign-in ends."}
	unfinishedView = view{"bad", "The sign-in was not finished.", "", "Go back to the application to see why."}
	expiredView    = view{"wait", "This sign-in has expired.", "", "Close this tab and start again in the application."}
	strangerView   = view{"wait", "This is not the answer that is awaited.", "It belongs to another sign-in, or is not complete.", "Close this tab. The sign-in under way is not affected."}
	redirectView   = view{"wait", "On the way…", "", "You are taken to the sign-in page."}
	forbiddenView  = view{"wait", "Forbidden.", "", "This page is for the redirect of a sign-in only."}
	notFoundView   = view{"wait", "Not found.", "", "There is nothing here."}
	methodView     = view{"wait", "Method not allowed.", "", "This page is for the redirect of a sign-in only."}
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))

	// pagePolicy lets the page have its own style and script, known by their
	// hashes, and nothing else: whatever a server might get into the page could
	// neither run nor load nor send anything.
	pagePolicy = "default-src 'none'; style-src " + hash(pageCSS) + "; script-src " + hash(pageJS) +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// hash returns a source expression of the Content Security Policy.
func hash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// write answers with a page. The browser's address has a code in it, which must
// not stay: not in a cache, not in the history (the page's script drops it), not
// in a Referer header. The page has left this process when write returns.
func write(w http.ResponseWriter, status int, v view) {
	var body bytes.Buffer
	err := pageTemplate.Execute(&body, struct {
		view
		Style  template.CSS
		Script template.JS
	}{v, template.CSS(pageCSS), template.JS(pageJS)})
	if err != nil {
		body.Reset() // the status has to do
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	_ = http.NewResponseController(w).Flush()
}

// maxText is the most bytes of a text that are shown.
const maxText = 512

// visible returns s as one bounded line without what cannot be seen: control
// characters, invalid UTF-8, and the format characters that reorder or hide their
// neighbours.
func visible(s string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(s, isInvisible) {
		if b.Len() > 0 {
			if b.Len()+len(" …") > maxText {
				b.WriteString("…")
				break
			}
			b.WriteByte(' ')
		}
		for _, r := range word {
			if b.Len()+utf8.RuneLen(r)+len("…") > maxText {
				b.WriteString("…")
				return b.String()
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isInvisible(r rune) bool {
	return r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsGraphic(r)
}
