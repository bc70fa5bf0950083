package mcphost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// journal notes what was written into one file of a host, so that it can be taken back byte
// by byte.
type journal struct {
	File    string          `json:"file"`
	Made    bool            `json:"made"`             // the file
	Folder  string          `json:"folder,omitempty"` // the topmost one that was made for it
	Objects int             `json:"objects"`          // how many of the path were made
	Entries map[string]hunk `json:"entries"`
}

// hunk is the part of a text that changed.
type hunk struct {
	Before []byte `json:"before"`
	After  []byte `json:"after"`
}

// newHunk returns what differs between two texts.
func newHunk(before, after []byte) hunk {
	start := 0
	for start < min(len(before), len(after)) && before[start] == after[start] {
		start++
	}
	a, b := len(before), len(after)
	for a > start && b > start && before[a-1] == after[b-1] {
		a, b = a-1, b-1
	}
	return hunk{before[start:a], after[start:b]}
}

// undo returns a text without the change, if it is there exactly once.
func (h hunk) undo(text []byte) ([]byte, bool) {
	if len(h.After) == 0 || bytes.Count(text, h.After) != 1 {
		return nil, false
	}
	return bytes.Replace(text, h.After, h.Before, 1), true
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
