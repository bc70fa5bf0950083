package mcphost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// Editor edits the files of hosts. It keeps backups, and notes of what it wrote, in a folder.
type Editor struct {
	Folder string
	DryRun bool // nothing is written

	// Meant reports whether an entry, as it is decoded, is the one to be replaced or removed: another
	// program may have written it since. Nil: any is.
	Meant func(entry any) bool
}

// Place is an object in a file that has a member for each server.
type Place struct {
	File   string
	Format splice.Format
	Path   []string
}

// Change is what an edit does to a file.
type Change struct {
	File   string // behind links
	Before []byte // nil: there was none
	After  []byte // nil: there is none any more
	Backup string // where the text before is kept; empty: nowhere
	Lost   bool   // an entry that Put had replaced could not be brought back
}

// Changed reports whether the edit changes anything.
func (c *Change) Changed() bool {
	return !bytes.Equal(c.Before, c.After) || (c.Before == nil) != (c.After == nil)
}

// maxFile bounds a host's file, in bytes: some keep their history in it.
const maxFile = 64 << 20

// ErrChanging is returned for a file that another program keeps changing.
var ErrChanging = errors.New("another program changes it at the same time")

// attempts bounds how often a file that has changed meanwhile is read again.
const attempts = 5

// Put puts an entry into a file, which is made if it is missing. An entry of this name is replaced;
// Remove brings it back, unless it is one of ours.
func (e *Editor) Put(
	ctx context.Context, p Place, name string, value splice.Object, ours bool,
) (*Change, error) {
	return e.edit(ctx, p.File, func(before []byte, j *journal) ([]byte, error) {
		if !e.means(p, before, name) {
			return nil, ErrChanging
		}
		return j.put(p, before, name, value, ours)
	})
}

// means reports whether an entry that is there is the one that is meant.
func (e *Editor) means(p Place, text []byte, name string) bool {
	members, _ := splice.Members(p.Format, text, p.Path) // the edit reports what is wrong
	entry, there := members[name]
	return !there || e.Meant == nil || e.Meant(entry)
}

// put returns a text with an entry, and notes it.
func (j *journal) put(
	p Place, before []byte, name string, value splice.Object, ours bool,
) ([]byte, error) {
	after, err := splice.Put(p.Format, before, p.Path, name, value)
	if err != nil || bytes.Equal(before, after) {
		return after, err
	}
	members, err := splice.Members(p.Format, before, p.Path)
	if err != nil {
		return nil, err
	}
	if now, err := splice.Members(p.Format, after, p.Path); ours && err == nil &&
		reflect.DeepEqual(members[name], now[name]) {
		return before, nil // a host writes its file in another form
	}
	for noted := range j.Entries {
		if _, there := members[noted]; !there {
			delete(j.Entries, noted) // the user has removed it
		}
	}
	isFirst := len(j.Entries) == 0
	if isFirst {
		j.Made, j.Objects = before == nil, missing(p, before)
	}
	// An entry that is written again comes out as it was before the first time.
	original := before
	if ours {
		if original, _, err = j.takeBack(p, before, name); err != nil {
			return nil, err
		}
	}
	h := newHunk(original, after)
	then, err := splice.Members(p.Format, original, p.Path)
	replaced, isReplaced := then[name]
	if err == nil && replaced != nil {
		h.Value, _ = json.Marshal(replaced)
	}
	j.Entries[name] = h
	if isFirst {
		j.Rest, j.RestOf = hunk{}, ""
		if bare, err := splice.Remove(p.Format, after, p.Path, name, j.Objects); err == nil && !isReplaced {
			j.Rest, j.RestOf = newHunk(original, bare), sum(string(bare))
		}
	}
	return after, nil
}

// onlyTakesBack returns what reports whether a text is one before, but for an entry that has
// another value or is missing.
func (p Place) onlyTakesBack(before []byte, name string) func([]byte) bool {
	return func(original []byte) bool {
		now, err := splice.Members(p.Format, before, p.Path)
		then, err2 := splice.Members(p.Format, original, p.Path)
		value, ok := then[name]
		return err == nil && err2 == nil && (!ok || !reflect.DeepEqual(value, now[name])) &&
			splice.OnlyDiffers(p.Format, before, original, p.Path, name)
	}
}

// missing returns how many objects of the path are not there.
func missing(p Place, text []byte) int {
	for i := range p.Path {
		members, err := splice.Members(p.Format, text, p.Path[:i])
		if _, ok := members[p.Path[i]]; err == nil && !ok {
			return len(p.Path) - i
		}
	}
	return 0
}

// Remove takes an entry out of a file: what Put wrote, byte by byte if it is there unchanged. What
// Put replaced is there again.
func (e *Editor) Remove(ctx context.Context, p Place, name string) (*Change, error) {
	lost := false
	c, err := e.edit(ctx, p.File, func(before []byte, j *journal) (after []byte, err error) {
		if !e.means(p, before, name) {
			return nil, ErrChanging
		}
		after, lost, err = j.takeBack(p, before, name)
		if err != nil || j.Made && len(j.Entries) == 0 && nothing(p, after) {
			return nil, err
		}
		return append([]byte{}, after...), nil // a file that is empty again is not ours to remove
	})
	if c != nil {
		c.Lost = lost
	}
	return c, err
}

// takeBack returns a text without an entry, or with what was in its place before, and forgets it. The last
// one leaves the text before the first, if only entries have come and gone since.
func (j *journal) takeBack(p Place, text []byte, name string) (after []byte, lost bool, err error) {
	after, lost, err = j.takeOut(p, text, name)
	if err == nil && len(j.Entries) == 0 && sum(string(after)) == j.RestOf {
		if i := bytes.Index(after, j.Rest.After); i >= 0 {
			after = slices.Concat(after[:i], j.Rest.Before, after[i+len(j.Rest.After):])
		}
	}
	return after, lost, err
}

func (j *journal) takeOut(p Place, text []byte, name string) (after []byte, lost bool, err error) {
	h, noted := j.Entries[name]
	delete(j.Entries, name)
	if after, ok := h.undo(text, p.onlyTakesBack(text, name)); ok {
		return after, false, nil
	}
	if value, ok := h.object(); ok {
		if after, err := splice.Put(p.Format, text, p.Path, name, value); err == nil {
			return after, false, nil
		}
	}
	prune := 0
	if noted {
		prune = j.Objects
	}
	after, err = splice.Remove(p.Format, text, p.Path, name, prune)
	return after, h.Value != nil, err
}

// Replaced reports whether Remove brings back an entry that Put has replaced.
func (e *Editor) Replaced(p Place, name string) bool {
	path, err := behindLinks(p.File)
	return err == nil && e.readJournal(path).Entries[name].Value != nil
}

// nothing reports whether a text has no content.
func nothing(p Place, text []byte) bool {
	members, err := splice.Members(p.Format, text, nil)
	return err == nil && len(members) == 0 && !bytes.ContainsAny(text, "/#")
}

// edit reads a file, has its text changed, and replaces it. Programs that keep the same lock
// wait for each other; where others have changed the file meanwhile, it starts over.
func (e *Editor) edit(
	ctx context.Context, path string, change func([]byte, *journal) ([]byte, error),
) (*Change, error) {
	path, err := behindLinks(path)
	if err != nil {
		return nil, err
	}
	if !e.DryRun {
		unlock, err := e.lock(ctx, path)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	for range attempts {
		c := &Change{File: path}
		var mode fs.FileMode
		if c.Before, mode, err = readHostFile(path); err != nil {
			return nil, err
		}
		j := e.readJournal(path)
		if c.After, err = change(slices.Clone(c.Before), j); err != nil {
			return nil, err
		}
		if e.DryRun || !c.Changed() {
			return c, nil
		}
		if err := e.write(c, e.readJournal(path), j, mode); !errors.Is(err, ErrChanging) {
			return c, err
		}
	}
	return nil, ErrChanging
}

// Rewrite replaces the text of another file in the same way, without a backup and notes. Its mode
// stays, and a new file is the user's alone.
func (e *Editor) Rewrite(
	ctx context.Context, path string, change func(before []byte) ([]byte, error),
) error {
	path, err := behindLinks(path)
	if err != nil {
		return err
	}
	unlock, err := e.lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	for range attempts {
		before, mode, err := readHostFile(path)
		if err != nil {
			return err
		}
		if err := writable(path, mode); err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		if err := replaceFile(path, after, mode, before); !errors.Is(err, ErrChanging) {
			return err
		}
	}
	return ErrChanging
}

// write keeps the text before, and then replaces the file. Before and after that the notes are
// written, so that they are right if it fails or never ends.
func (e *Editor) write(c *Change, was, j *journal, mode fs.FileMode) (err error) {
	if err := writable(c.File, mode); err != nil {
		return err
	}
	if c.Before != nil {
		if c.Backup, err = e.backup(c.File, c.Before); err != nil {
			return fmt.Errorf("the backup cannot be written: %w", err)
		}
	} else if j.Folder, err = makeFolders(filepath.Dir(c.File)); err != nil {
		return err
	}
	made := j.Folder
	if err := e.writeJournal(j.pending(was)); err != nil {
		return fmt.Errorf("the notes on it cannot be written: %w", err)
	}
	if c.After == nil {
		if err := unchanged(c.File, c.Before); err != nil {
			return err
		}
		if err := os.Remove(c.File); err != nil {
			return err
		}
		removeFolders(filepath.Dir(c.File), made)
	} else if err := replaceFile(c.File, c.After, mode, c.Before); err != nil {
		return err
	}
	_ = e.writeJournal(j) // the file is written, and the notes from before are as good
	return nil
}

// lock keeps other processes of ours away from a file.
func (e *Editor) lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(e.Folder, 0o700); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(e.Folder, sum(path)+".lock"))
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("another process edits it: %w", err)
	}
	return func() { _ = l.Unlock() }, nil
}

// backups is how many backups of a file are kept.
const backups = 10

// backup keeps a text, and returns where. The newest ones are kept.
func (e *Editor) backup(path string, text []byte) (string, error) {
	folder := filepath.Join(e.Folder, "backups", sum(path))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	name := time.Now().UTC().Format("20060102T150405.000000") + "-" + filepath.Base(path)
	file := filepath.Join(folder, name)
	if err := writeFile(file, text); err != nil {
		return "", err
	}
	all, err := os.ReadDir(folder)
	for i := 0; err == nil && i < len(all)-backups; i++ {
		_ = os.Remove(filepath.Join(folder, all[i].Name()))
	}
	return file, nil
}
