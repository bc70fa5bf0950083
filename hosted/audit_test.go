package hosted_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

func TestAuditRecordsNameTheOwner(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	var log bytes.Buffer
	handler := slog.NewJSONHandler(&log, nil)
	app := &hosted.App{
		Configure: func(o store.Owner, c *handstamp.Client) {
			onThisMachine(o, c)
			c.Audit, c.Prompt = handler, handstamp.Prompt{OpenURL: w.OpenURL}
		},
	}
	c, err := app.Client(store.Owner{Tenant: "acme", User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	w.MustLogin(c)
	if n := strings.Count(log.String(), `"tenant":"acme","user":"ada"`); n != 2 { // registration and login
		t.Errorf("%d records name the owner:\n%s", n, &log)
	}
}
