package doctor

import (
	"bytes"
	"encoding/json"
	"html"

	"github.com/handstamp/handstamp/internal/diagram"
)

// HasSecret reports whether a text has a secret that the client knows, or what looks like one.
func (r *Report) HasSecret(text string) bool {
	return looksSecret(text) || r.inspection.ContainsSecret(text)
}

// Bundle returns the report and what else describes the system as JSON that can be given to
// others. It fails with [ErrSecret] rather than return a secret.
func (r *Report) Bundle(about map[string]any) ([]byte, error) {
	shown := *r // its commands are for the user, and have the server's URL as it is
	shown.Server = withoutQuery(r.Server, r.Server)
	shown.Cause.Command = presentable(r.Cause.Command, r.Server)
	shown.Steps = nil
	for _, s := range r.Steps {
		s.Command = presentable(s.Command, r.Server)
		shown.Steps = append(shown.Steps, s)
	}
	raw, err := json.MarshalIndent(struct {
		About  map[string]any `json:"about"`
		Report *Report        `json:"report"`
	}{about, &shown}, "", "  ")
	if err != nil {
		return nil, err
	}
	if r.HasSecret(string(raw)) {
		return nil, ErrSecret
	}
	return append(raw, '\n'), nil
}

// Diagram returns what happened on the walk as an HTML document. It fails with [ErrSecret], too.
func (r *Report) Diagram(title string) ([]byte, error) {
	var page bytes.Buffer
	if err := diagram.Write(&page, withoutQuery(title, r.Server), r.Events); err != nil {
		return nil, err
	}
	if r.HasSecret(html.UnescapeString(page.String())) {
		return nil, ErrSecret
	}
	return page.Bytes(), nil
}
