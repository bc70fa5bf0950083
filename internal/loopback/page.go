package loopback

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/handstamp/handstamp/internal/pagestyle"
)

// Page describes how a sign-in ended, for the waiting browser. Both texts are sanitized: one line,
// bounded, escaped.
type Page struct {
	// Message is the sentence shown for success. Empty means "You are signed in"
	// to Options.Server.
	Message string

	// Err is why the sign-in failed. The page shows its text. Nil means success.
	Err error
}

// result returns what is shown for p, to the first tab that brought the response or, with again,
// to another one.
func (l *Listener) result(p Page, again bool) view {
	server := ""
	if l.signedInTo != "" {
		server = " to " + visible(l.signedInTo)
	}
	if p.Err != nil {
		return l.named(view{
			Kind: "bad", Title: "Sign-in" + server + " failed", Detail: sentence(visible(p.Err.Error())),
			Text: "You can close this tab and go back to the application. It shows what to do next.",
		})
	}
	v := view{Kind: "good", Title: visible(p.Message),
		Text: "You can close this tab and go back to the application."}
	if v.Title == "" {
		v.Title = "You are signed in" + server + "."
	}
	if again {
		v.Detail = "You already signed in, in another tab."
	}
	return l.named(v)
}

// bound returns a view for a browser that brought the awaited response: its title names the
// server.
func (l *Listener) bound(v view) view {
	if l.signedInTo != "" {
		v.Title = strings.Replace(v.Title, "sign-in", "sign-in to "+visible(l.signedInTo), 1)
	}
	return l.named(v)
}

// named returns v with the application's name, where it is known.
func (l *Listener) named(v view) view {
	if l.application == "" {
		return v
	}
	v.Application = visible(l.application)
	v.Text = strings.ReplaceAll(v.Text, theApplication, v.Application)
	return v
}

// sentence returns s with a capital first letter, unless its first word has other characters than
// lower-case letters.
func sentence(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// view returns what is shown for an error response that has no state.
func (e *UnboundError) view() view {
	return view{
		Kind: "bad", Title: "The sign-in page reported an error.", Detail: visible(e.Code),
		Text: "It does not say which sign-in it is about, so the application keeps waiting. " +
			"Go back there to try again or to cancel.",
	}
}

// view is the variable part of the page.
type view struct {
	Kind   string // "good", "bad" or "wait"
	Title  string
	Detail string // what matters; may be empty
	Text   string // what to do

	Application string // may be empty
}

// theApplication stands in texts for the application's name.
const theApplication = "the application"

const onlyResult = "This address only receives the result of a sign-in for the application. " +
	"You can close this tab."

// The pages that do not depend on a [Page]. Only the first two name the server: without the awaited
// response, no program gets them.
var (
	pendingView = view{Kind: "wait", Title: "The sign-in is still being completed…",
		Text: "Go back to the application to see how it ends. You can close this tab."}
	unfinishedView = view{Kind: "bad", Title: "The sign-in was not finished.",
		Text: "Go back to the application to see why, and start again there. You can close this tab."}
	expiredView = view{Kind: "wait", Title: "This sign-in has expired.",
		Detail: "It took too long, or ended in another tab.",
		Text:   "Close this tab, go back to the application and start again there."}
	notAwaitedView = view{Kind: "wait", Title: "This link does not belong to the current sign-in.",
		Detail: "It is from another sign-in, or part of it is missing.",
		Text:   "You can close this tab. The current sign-in goes on in the application."}
	forbiddenView = view{Kind: "wait", Title: "This request is not allowed.", Text: onlyResult}
	notFoundView  = view{Kind: "wait", Title: "There is no page here.", Text: onlyResult}
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	ownCSS string
	//go:embed page.js
	pageJS string

	pageCSS = pagestyle.Base + ownCSS

	// pageTemplate is parsed at its first use: most runs show no page.
	pageTemplate = sync.OnceValue(func() *template.Template {
		return template.Must(template.New("page").Parse(pageHTML))
	})

	// pagePolicy allows the page its own style and script, by their hashes, and nothing else: text
	// of a server in the page could neither run nor load nor send anything.
	pagePolicy = sync.OnceValue(func() string {
		return "default-src 'none'; style-src " + pagestyle.Hash(pageCSS) +
			"; script-src " + pagestyle.Hash(pageJS) +
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	})
)

// write responds with a page. The browser's address contains the code, which must not stay in a
// cache, in the history (the page's script removes it) or in a Referer header. The page has been
// flushed when write returns.
func write(w http.ResponseWriter, status int, v view) {
	var body bytes.Buffer
	err := pageTemplate().Execute(&body, struct {
		view
		Style  template.CSS
		Script template.JS
	}{v, template.CSS(pageCSS), template.JS(pageJS)})
	if err != nil {
		body.Reset() // the status is enough
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", pagePolicy())
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
