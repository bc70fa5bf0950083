package otel_test

import (
	"log"

	"github.com/handstamp/handstamp"
	handstampotel "github.com/handstamp/handstamp/otel"
)

// Refreshes and logins are reported to the global providers, with a short name for each MCP server.
func Example() {
	names := map[string]string{"https://mcp.example.com/mcp": "example"}
	telemetry, err := handstampotel.New(handstampotel.Options{
		Server: func(serverURL string) string { return names[serverURL] },
	})
	if err != nil {
		log.Fatal(err)
	}
	client := &handstamp.Client{}
	telemetry.Instrument(client) // after the Client's own Hooks are set
	_ = client.HTTPClient("https://mcp.example.com/mcp")
}
