package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// duration is a time.Duration in JSON: "30s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// decodeStrict reads JSON; an unknown member is an error.
func decodeStrict(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// plainHabits are Habits without methods. Fields of the same JSON name in a
// struct around them take precedence.
type plainHabits Habits

type habitsJSON struct {
	*plainHabits
	SecretLifetime      duration `json:"secret_lifetime,omitempty"`
	AccessTokenLifetime duration `json:"access_token_lifetime,omitempty"`
	Grace               duration `json:"grace,omitempty"`
}

// MarshalJSON writes durations as strings such as "30s".
func (h Habits) MarshalJSON() ([]byte, error) {
	return marshal(habitsJSON{
		plainHabits:         (*plainHabits)(&h),
		SecretLifetime:      duration(h.SecretLifetime),
		AccessTokenLifetime: duration(h.AccessTokenLifetime),
		Grace:               duration(h.Grace),
	})
}

// marshal writes JSON for readers, and not for a web page: < > & stay as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// UnmarshalJSON reads what MarshalJSON writes. A name or value that means nothing
// is an error.
func (h *Habits) UnmarshalJSON(raw []byte) error {
	var read Habits
	document := habitsJSON{plainHabits: (*plainHabits)(&read)}
	if err := decodeStrict(raw, &document); err != nil {
		return fmt.Errorf("lab: habits: %w", err)
	}
	read.SecretLifetime = time.Duration(document.SecretLifetime)
	read.AccessTokenLifetime = time.Duration(document.AccessTokenLifetime)
	read.Grace = time.Duration(document.Grace)
	if err := read.check(); err != nil {
		return err
	}
	*h = read
	return nil
}

// plainPersonality is a Personality without methods.
type plainPersonality Personality

// UnmarshalJSON reads what json.Marshal writes: the whole personality, with its
// habits and its trouble. Habits take the personality's name. A member or a value
// that means nothing is an error.
func (p *Personality) UnmarshalJSON(raw []byte) error {
	var read plainPersonality
	if err := decodeStrict(raw, &read); err != nil {
		return fmt.Errorf("lab: personality: %w", err)
	}
	if err := Personality(read).check(); err != nil {
		return err
	}
	read.Habits.Name = read.Name
	*p = Personality(read)
	return nil
}

// plainFault is a Fault without methods.
type plainFault Fault

type faultJSON struct {
	*plainFault
	Delay duration `json:"delay,omitempty"`
}

// MarshalJSON writes the delay as a string such as "30s".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{plainFault: (*plainFault)(&f), Delay: duration(f.Delay)})
}

// UnmarshalJSON reads what MarshalJSON writes. A name that means nothing is an
// error.
func (f *Fault) UnmarshalJSON(raw []byte) error {
	var read Fault
	document := faultJSON{plainFault: (*plainFault)(&read)}
	if err := decodeStrict(raw, &document); err != nil {
		return fmt.Errorf("lab: fault: %w", err)
	}
	read.Delay = time.Duration(document.Delay)
	if !read.known() {
		return fmt.Errorf("lab: no fault is called %q", read.Kind)
	}
	*f = read
	return nil
}
