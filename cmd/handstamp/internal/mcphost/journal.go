package mcphost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// journal notes what was written into one file of a host, so that it can be taken back byte
// by byte.
type journal struct {
	File    string          `json:"file"`
	Made    bool            `json:"made"`             // the file
	Folder  string          `json:"folder,omitempty"` // the topmost one that was made for it
	Objects int             `json:"objects"`          // how many of the path were made
	Entries map[string]hunk `json:"entries"`

	// Rest is what differs between the text before the first entry and the one that is left when that is taken
	// out by its place, as it is where others have come to stand around it. RestOf is the sum of the latter.
	Rest   hunk   `json:"rest,omitzero"`
	RestOf string `json:"rest_of,omitempty"`
}

// hunk is the part of a text that changed.
type hunk struct {
	Before []byte `json:"before"`
	After  []byte `json:"after"`

	// Value is the entry that was replaced, null if there was none: hosts rewrite their
	// files, and then the bytes are not there.
	Value json.RawMessage `json:"value,omitempty"`

	// Or is what was noted before. It counts as long as it is not known whether the file has
	// been written since.
	Or *hunk `json:"or,omitempty"`
}

// newHunk returns what differs between two texts, after as much of what precedes it as makes it
// the only such place.
func newHunk(before, after []byte) hunk {
	start := 0
	for start < min(len(before), len(after)) && before[start] == after[start] {
		start++
	}
	a, b := len(before), len(after)
	for a > start && b > start && before[a-1] == after[b-1] {
		a, b = a-1, b-1
	}
	for n := 1; start > 0 && bytes.Count(after, after[start:b]) != 1; n *= 2 {
		start = max(0, start-n)
	}
	return hunk{Before: before[start:a], After: after[start:b]}
}

// places bounds how often what was written is looked for in a text.
const places = 20

// undo returns a text without the change, made at the first place where the outcome fits: the user
// may have copied what was written, into a comment or to another name.
func (h hunk) undo(text []byte, fits func(original []byte) bool) ([]byte, bool) {
	from := 0
	for range places {
		i := bytes.Index(text[from:], h.After)
		if i < 0 || len(h.After) == 0 {
			break
		}
		from += i
		original := slices.Concat(text[:from], h.Before, text[from+len(h.After):])
		if fits(original) {
			return original, true
		}
		from++
	}
	if h.Or != nil {
		return h.Or.undo(text, fits)
	}
	return nil, false
}

// object returns the entry that was replaced; ok is false if there was none, or nothing that can
// be written again.
func (h hunk) object() (o splice.Object, ok bool) {
	d := json.NewDecoder(bytes.NewReader(h.Value))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return nil, false
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, false
	}
	return object(members), true
}

func object(members map[string]any) splice.Object {
	o := splice.Object{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		if inner, ok := value.(map[string]any); ok {
			value = object(inner)
		} else if list, ok := value.([]any); ok && len(list) > 0 && len(texts(list)) == len(list) {
			value = texts(list)
		}
		o = append(o, splice.Member{Name: name, Value: value})
	}
	return o
}

// sum names a file in the editor's folder.
func sum(path string) string {
	digest := sha256.Sum256([]byte(path))
	return hex.EncodeToString(digest[:8])
}

func (e *Editor) journalFile(file string) string {
	return filepath.Join(e.Folder, sum(file)+".json")
}

// readJournal returns what is noted of a file; without a journal, or with one that cannot be
// read, nothing is.
func (e *Editor) readJournal(file string) *journal {
	j := &journal{File: file}
	text, err := os.ReadFile(e.journalFile(file))
	if err == nil && json.Unmarshal(text, j) != nil || j.File != file {
		j = &journal{File: file}
	}
	if j.Entries == nil {
		j.Entries = make(map[string]hunk)
	}
	return j
}

// pending returns what has to be noted before a file is written: what was, and what will be.
func (j *journal) pending(was *journal) *journal {
	both := *j
	both.Entries = maps.Clone(was.Entries)
	for name, h := range j.Entries {
		if old, ok := was.Entries[name]; ok && bytes.Equal(old.After, h.After) {
			h = old
		} else if ok {
			h.Or = &old
		}
		both.Entries[name] = h
	}
	return &both
}

// writeJournal keeps what is noted, or removes it where nothing is.
func (e *Editor) writeJournal(j *journal) error {
	if len(j.Entries) == 0 {
		if err := os.Remove(e.journalFile(j.File)); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return writeFile(e.journalFile(j.File), text)
}
