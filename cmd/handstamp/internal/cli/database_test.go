package cli

import (
	"strings"
	"testing"
)

// What is shown of a database's URL is all of it but for what is secret, with any number of hosts.
func TestDatabaseURLIsShownWithoutPassword(t *testing.T) {
	for word, want := range map[string]string{
		"postgres://db/logins":           "postgres://db/logins",
		"postgres://me@db:5433/logins":   "postgres://me@db:5433/logins",
		"postgres://me:hunter2@db":       "postgres://me@db",
		"postgres://me:@db":              "postgres://me@db",
		"postgres:///logins?host=%2Frun": "postgres:///logins?host=%2Frun",
		"postgres://one:1,two:2,[::1]:3/logins?target_session_attrs=read-write": "postgres://one:1,two:2," +
			"[::1]:3/logins?target_session_attrs=read-write",
		"postgres://me:hunter2@one:1,two:2/logins":                      "postgres://me@one:1,two:2/logins",
		"postgres://db/logins?user=me&pass%77ord=hunter2":               "postgres://db/logins?user=me",
		"postgres://db?sslpassword=hunter2&sslmode=disable":             "postgres://db?sslmode=disable",
		"postgres://me:hun/ter2@db/logins":                              "postgres://…",
		"postgres://me:hun?ter2@db/logins":                              "postgres://…",
		"postgres://me:hun%ter2@db/logins":                              "postgres://…",
		"postgres://me:hun#ter2@db/logins":                              "postgres://…",
		"postgres://m%65:hun@ter2@db/logins":                            "postgres://me@db/logins",
		"postgres://db/logins?user=me%40corp":                           "postgres://db/logins?user=me%40corp",
		"postgres://db/logins?application_name=a&password=hunter2&x=%z": "postgres://db/logins?application_name=a",
	} {
		got := withoutPassword(word)
		if got != want || strings.Contains(got, "ter2") {
			t.Errorf("%s is shown as %s; want %s", word, got, want)
		}
		if want, got := got != word, hasPassword(word); got != want {
			t.Errorf("%s has a password: %t", word, got)
		}
	}
}
