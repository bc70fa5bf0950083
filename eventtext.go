package handstamp

import (
	"fmt"
	"strings"
	"time"
)

// String returns the event as one line for a user, without time and server: a request as
// "token: → POST https://… grant_type=refresh_token, client authentication none ← 200 in 43 ms".
func (e Event) String() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(string(e.Step), "_", " ") + ": ")
	if r := e.Request; r != nil {
		r.write(&b)
	} else {
		b.WriteString(e.Message)
	}
	writeFields(&b, " ", e.Details)
	if e.Error != "" && !strings.Contains(b.String(), e.Error) {
		b.WriteString(": " + e.Error)
	}
	return b.String()
}

// write writes the request and the response.
func (r *EventRequest) write(b *strings.Builder) {
	fmt.Fprintf(b, "→ %s %s", r.Method, r.URL)
	writeFields(b, " ", r.Params)
	if r.AuthMethod != "" {
		b.WriteString(", client authentication " + r.AuthMethod)
	}
	for _, f := range r.Header {
		scheme, _, _ := strings.Cut(f.Value, " ")
		switch {
		case f.Name == "DPoP":
			b.WriteString(", DPoP proof")
		case r.AuthMethod == "":
			b.WriteString(", " + scheme + " token")
		}
	}
	switch took := r.took(); {
	case r.Status != 0:
		r.writeResponse(b, took)
	case took != "": // otherwise it is in the user's browser
		b.WriteString(" ← no response" + took)
	}
}

// took writes how long the request took; "" if that is not known.
func (r *EventRequest) took() string {
	switch d := r.Duration; {
	case d >= time.Second:
		return " in " + d.Round(10*time.Millisecond).String()
	case d > 0:
		return fmt.Sprintf(" in %d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return ""
}

func (r *EventRequest) writeResponse(b *strings.Builder, took string) {
	fmt.Fprintf(b, " ← %d", r.Status)
	if r.Code != "" {
		b.WriteString(" " + r.Code)
	}
	b.WriteString(took)
	for _, f := range r.Response {
		if f.Name != "Content-Type" || !strings.HasPrefix(f.Value, "application/json") {
			writeFields(b, " ", []EventField{f})
		}
	}
}

// writeFields writes fields as name=value, those with spaces in quotes, and … for what is
// redacted.
func writeFields(b *strings.Builder, before string, fields []EventField) {
	for _, f := range fields {
		switch {
		case f.Value == redactedValue:
			b.WriteString(before + f.Name + "=…")
		case strings.ContainsAny(f.Value, " \"="):
			fmt.Fprintf(b, "%s%s=%q", before, f.Name, f.Value)
		default:
			b.WriteString(before + f.Name + "=" + f.Value)
		}
	}
}

// redactedValue stands for what an event must not contain.
const redactedValue = "[redacted]"
