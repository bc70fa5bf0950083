package webpage

import (
	"mime"
	"net/http"
	"strings"
)

// post carries out a button, with its path below the page's. What is posted must come from a form
// of the page: it has the token, and a browser names the page as its origin.
func (p *Page) post(w http.ResponseWriter, r *http.Request, path string) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" || r.Header.Get("Origin") == "" ||
		!same(r.PostFormValue("guard"), p.access.guard) {
		p.fail(w, r, http.StatusForbidden, "This button is not on our page.",
			"Nothing was changed. Reload the page and try again.")
		return
	}
	rest, ok := strings.CutPrefix(path, serversPrefix)
	name, action, _ := strings.Cut(rest, "/")
	s := p.server(r, name)
	if !ok || s == nil {
		p.fail(w, r, http.StatusNotFound, "There is no such server.", "")
		return
	}
	var err error
	switch action {
	case "login":
		err = p.backend.Login(name)
	case "cancel":
		p.backend.Cancel(name)
	case "logout":
		err = p.backend.Logout(r.Context(), name)
	case "configuration":
		p.showConfiguration(w, r, s)
		return
	default:
		p.fail(w, r, http.StatusNotFound, "There is no such button.", "")
		return
	}
	if err != nil {
		p.Log(Event{Server: name, Text: err.Error(), Mark: Bad})
	}
	p.Changed()
	http.Redirect(w, r, p.access.home+"#server-"+name, http.StatusSeeOther)
}
