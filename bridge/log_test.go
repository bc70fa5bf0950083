package bridge_test

import (
	"log/slog"
	"testing"
)

// logger writes a bridge's log into the test's.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
