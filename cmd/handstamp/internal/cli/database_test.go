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

// The error of a URL that cannot be used has no part of its password.
func TestMalformedDatabaseURLIsShownWithoutPassword(t *testing.T) {
	a := &app{env: environment{"HANDSTAMP_STORE_KEY_FILE=" + keysNone}, conf: new(config)}
	for _, word := range []string{
		"postgres://me:hun/ter2@db/logins", "postgres://me:hun?ter2@db/logins", "postgres://me:hun/x@ter2@db/logins",
		"postgres://me:hun%ter2@db/logins", "postgres://me:hun[ter2@db/logins", "postgres://me:hun ter2@db:x/logins",
		"postgres://me:hunter2@db/logins?connect_timeout=soon", "postgres://db/logins?password=hunter2&connect_timeout=soon",
		"postgres://db/logins?pass%77ord=hunter2&sslmode=x", "postgres://me:1/ter2@x:hun@db/logins?sslmode=x",
	} {
		_, err := a.openDatabase(t.Context(), word)
		if err == nil || strings.Contains(err.Error(), "hun") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s: %v", word, err)
		}
	}
	_, err := a.openDatabase(t.Context(), "postgres://db/logins?connect_timeout=soon")
	if err == nil || !strings.Contains(err.Error(), "connect_timeout") {
		t.Errorf("without a password: %v", err)
	}
}
