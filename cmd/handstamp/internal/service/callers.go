package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"sync"
)

// Callers are the callers in a file, which is read again when it has changed: who is removed from it
// is not known any more with the next request. The zero value with a Path is ready for use.
type Callers struct {
	Path string

	mu    sync.Mutex
	seen  fs.FileInfo  // of the file that index is of; guarded by mu
	index *callerIndex // guarded by mu
}

// callersFile is the file.
type callersFile struct {
	Version int      `json:"version"`
	Callers []Caller `json:"callers"`
}

const callersVersion = 1

// callerIndex finds callers.
type callerIndex struct {
	keys         map[string]*Caller // by hash
	uids         map[uint32]*Caller
	certificates map[string]*Caller // by name
}

// errCallers is the problem of a file that cannot be used: then no caller is known.
func errCallers() error {
	p := rejection(http.StatusServiceUnavailable, codeStore, "the file of callers cannot be used")
	p.retryAfter = retryAfter
	return p
}

// load returns the callers of the file as it is now.
func (c *Callers) load() (*callerIndex, error) {
	info, err := os.Stat(c.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCallers(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen != nil && os.SameFile(c.seen, info) && c.seen.Size() == info.Size() &&
		c.seen.ModTime().Equal(info.ModTime()) {
		return c.index, nil
	}
	all, err := ReadCallers(c.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCallers(), err)
	}
	c.index, c.seen = indexOf(all), info
	return c.index, nil
}

func indexOf(all []Caller) *callerIndex {
	i := &callerIndex{make(map[string]*Caller), make(map[uint32]*Caller), make(map[string]*Caller)}
	for n := range all {
		caller := &all[n]
		switch {
		case caller.KeyHash != "":
			i.keys[caller.KeyHash] = caller
		case caller.UID != nil:
			i.uids[*caller.UID] = caller
		default:
			i.certificates[caller.Certificate] = caller
		}
	}
	return i
}

// maxCallersFile bounds the file, in bytes.
const maxCallersFile = 16 << 20

// ReadCallers reads a file of callers. One that others could write to is not used.
func ReadCallers(path string) ([]Caller, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular() || info.Size() > maxCallersFile:
		return nil, errors.New(path + " is no file of callers")
	case runtime.GOOS != "windows" && info.Mode()&0o022 != 0:
		return nil, errors.New("other users can write to " + path + ": run chmod go-w on it")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f callersFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // without a misspelled user a caller would be confined to none
	err = decoder.Decode(&f)
	if err == nil && len(bytes.TrimSpace(text[decoder.InputOffset():])) > 0 {
		err = errors.New("something follows the callers")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if f.Version != callersVersion {
		return nil, fmt.Errorf("%s is of another version", path)
	}
	return f.Callers, checkAll(f.Callers)
}

// checkAll finds callers that have the same name or identity.
func checkAll(all []Caller) error {
	same := make(map[string]bool)
	for n := range all {
		c := &all[n]
		if err := c.check(); err != nil {
			return err
		}
		identity := c.KeyHash + "\x00" + c.Certificate
		if c.UID != nil {
			identity = fmt.Sprint(*c.UID)
		}
		for _, name := range []string{"name " + c.Name, "identity " + identity} {
			if same[name] {
				return fmt.Errorf("two callers have the name %q, or the same key, user or certificate", c.Name)
			}
			same[name] = true
		}
	}
	return nil
}

// EncodeCallers returns the content of a file of callers, or an error if they are not as they have
// to be.
func EncodeCallers(all []Caller) ([]byte, error) {
	if err := checkAll(all); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(callersFile{callersVersion, all}, "", "  ")
	return append(text, '\n'), err
}
