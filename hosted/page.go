package hosted

import (
	"cmp"
	"html/template"
	"net/http"
	"sync"

	"github.com/handstamp/handstamp/internal/pagestyle"
)

// page is what a user sees whose login failed. It has no script. Programs that never show it do not
// parse it.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(pageText))
})

const pageText = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>You are not signed in</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>You are not signed in</h1>
<p>{{.Reason}}</p>
<p><a href="{{.Back}}">Back to the application</a></p>
</main>
</body>
</html>
`

// writePage shows the user why a login failed.
func writePage(w http.ResponseWriter, status int, returnTo, reason string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src "+pagestyle.Hash(pagestyle.Base)+
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = page().Execute(w, struct {
		Style        template.CSS
		Reason, Back string
	}{template.CSS(pagestyle.Base), reason, cmp.Or(returnTo, "/")})
}
