package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/handstamp/handstamp/store"
)

// sessions are the application's own: who the user is stands in a cookie that any replica can
// verify. An application that has sessions already uses those.
type sessions struct{ key []byte }

// cookieName begins with __Host- where the application has https.
const cookieName = "session"

// session is who uses a browser.
type session struct {
	id    string // is known to this browser alone
	owner store.Owner
}

// start signs a user in. An application asks for a password here, or has its users come from an
// identity provider.
func (s sessions) start(w http.ResponseWriter, name string) {
	encode := base64.RawURLEncoding.EncodeToString
	value := rand.Text() + "." + encode([]byte(name))
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value + "." + encode(s.sign(value)), Path: "/", HttpOnly: true,
		// Not Strict: the browser comes to the callback from the authorization server's site.
		SameSite: http.SameSiteLaxMode,
	})
}

// of returns the session of a request; ok is false if there is none.
func (s sessions) of(r *http.Request) (_ session, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	parts := strings.Split(cookie.Value, ".")
	if len(parts) != 3 {
		return session{}, false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, s.sign(parts[0]+"."+parts[1])) {
		return session{}, false
	}
	name, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return session{}, false
	}
	return session{id: parts[0], owner: ownerOf(string(name))}, true
}

// ownerOf returns who has the connections of a user.
func ownerOf(name string) store.Owner { return store.Owner{Tenant: "example", User: name} }

// id returns what binds a login to the session of a request; "" if there is none.
func (s sessions) id(r *http.Request) string {
	session, _ := s.of(r)
	return session.id
}

func (s sessions) sign(value string) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(value))
	return mac.Sum(nil)
}
