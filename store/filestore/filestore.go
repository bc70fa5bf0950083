// Package filestore keeps credentials in a folder, one file for each, so that
// they survive the process and the machine and are shared by any number of
// processes of one user on one machine.
//
//	s, err := filestore.Open(filestore.Options{Dir: dir})
//
// # The folder
//
// For a credential called name (store.Key.Name) there are
//
//	name.json             key, revision, value and a checksum: the value as it was put,
//	                      secrets in the clear
//	name.json.prev        the record before it, for when name.json is damaged
//	name.json.corrupt-…   what was no record, set aside
//	name.json.tmp-…       a record being written
//	locks/name.lock       held for the moment of a write
//	locks/name.….lock     the named locks
//
// Nothing else in the folder is read, the copies of a synchronisation program
// included. Files are made with mode 0600 and folders with 0700, whatever the
// umask is. What belongs to another user, is open to others or is a symbolic
// link is rejected with store.ErrUnusable and left as it is; only Dir itself may
// be a symbolic link, if it is the user's own. On Windows owner and mode are not
// checked: a folder in the user's profile is private by the access list that it
// inherits.
//
// # Promises
//
// A record is replaced in one step: at any moment, and after any crash, its file
// is the old one or the new one. A file of which a single byte has changed since it was
// written is damage: it is set aside, and the record before it takes its place.
//
// Locks are the kernel's (flock, LockFileEx): they end with the process, and are never stolen
// from one that is only slow. Who waits for one sleeps. Lock files are never removed, because a
// lock on a removed file excludes no other process.
//
// On a network file system the locks are as good as that file system's. One that
// has none makes Lock and Put fail with store.ErrUnusable; there is no second
// kind of lock to fall back to.
package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/handstamp/handstamp/internal/atomicfile"
	"github.com/handstamp/handstamp/store"
)

// Options set where credentials are kept, and what to do when that cannot be
// written.
type Options struct {
	// Dir is the folder of the credentials. It is made if it is not there. It
	// must be set.
	Dir string

	// SpareDir is where a record goes while Dir is full or read-only, as a place
	// that other processes find too, for example a folder in $XDG_RUNTIME_DIR.
	// The next write into Dir takes it from there. Lock files that cannot be made in Dir are
	// there, too. There is none if empty. All processes that share Dir should name the same
	// one, or none: [User] does.
	SpareDir string

	// Volatile makes Put and Reserve succeed even if neither Dir nor SpareDir can
	// be written: the record is then kept in this process, which tries to write
	// it out at each call. It is for a process that lives long and
	// rather goes on than stops. Otherwise they fail with store.ErrUnusable.
	Volatile bool

	// Warn is called with a sentence for the user when a call succeeded in another way than
	// planned: a record went elsewhere than into Dir, or a damaged one was set aside. It goes
	// to slog.Default if nil. It is called from any goroutine and must not call the Store.
	Warn func(message string)

	// Trace is called before each step of a write, if not nil: tests kill the
	// process there, and metrics measure there. It is called from any goroutine
	// and must not call the Store.
	Trace func(Step)
}

// Step is a step of a write.
type Step = atomicfile.Step

// The steps of a write, in their order. One that is tried again is traced again.
const (
	StepCreate  = atomicfile.StepCreate  // make the temporary file
	StepReserve = atomicfile.StepReserve // take space for it; by Reserve only
	StepWrite   = atomicfile.StepWrite   // write into it
	StepSync    = atomicfile.StepSync    // make that durable
	StepRename  = atomicfile.StepRename  // put it in the place of the record
	StepSyncDir = atomicfile.StepSyncDir // make that durable
	StepDone    = atomicfile.StepDone    // nothing is left to do
)

// What a credential's files are called.
const (
	extension   = ".json"
	previousExt = ".prev"
	corruptExt  = ".corrupt-"
)

func fileName(key store.Key) string { return key.Name() + extension }

// Store is a store.Store and a store.Reserver in a folder. Open makes one. It
// holds nothing open between calls, so there is nothing to close.
type Store struct {
	options Options
	sweeps  sync.Once // before the first write: to read the folder takes long where it is large

	mu     sync.Mutex
	kept   map[store.Key]*entry // guarded by mu; what could not be written
	warned map[string]bool      // guarded by mu; what warnOnce has said
}

var (
	_ store.Store    = (*Store)(nil)
	_ store.Reserver = (*Store)(nil)
	_ store.Peeker   = (*Store)(nil)
)

// Open opens the folder, and makes it if it is not there. It fails with store.ErrUnusable if the
// folder is not safe, or cannot be made and there is no other place for records. The first write
// removes what killed processes left behind an hour ago or earlier.
func Open(options Options) (*Store, error) {
	if options.Dir == "" {
		return nil, errors.New("filestore: no folder given")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	options.Dir = dir
	if options.Warn == nil {
		options.Warn = func(message string) { slog.Warn(message) }
	}
	s := &Store{options: options}
	for _, dir := range []string{options.Dir, filepath.Join(options.Dir, locksName)} {
		if err := s.prepare(dir); err != nil {
			return nil, err
		}
	}
	if options.SpareDir != "" { // made when it is needed
		if err := inFolder(options.SpareDir, false, usable); errors.Is(err, store.ErrUnusable) {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) prepare(dir string) error {
	err := inFolder(dir, true, usable)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrUnusable):
		return err
	case s.options.SpareDir == "" && !s.options.Volatile:
		return unusable("cannot make the folder: %w", err)
	}
	s.warnOnce(fmt.Sprintf("Cannot make the folder for credentials (%v): logins are kept elsewhere and may not last.", err))
	return nil
}

// dirs returns the folders that records are in, the preferred one first.
func (s *Store) dirs() []string {
	if s.options.SpareDir == "" {
		return []string{s.options.Dir}
	}
	return []string{s.options.Dir, s.options.SpareDir}
}

// warnOnce gives a notice that one time is enough for.
func (s *Store) warnOnce(message string) {
	s.mu.Lock()
	said := s.warned[message]
	if s.warned == nil {
		s.warned = make(map[string]bool)
	}
	s.warned[message] = true
	s.mu.Unlock()
	if !said {
		s.options.Warn(message)
	}
}

// keptEntry returns the entry that is in this process only, or nil.
func (s *Store) keptEntry(key store.Key) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[key]
}

// keep holds e in this process.
func (s *Store) keep(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = make(map[store.Key]*entry)
	}
	s.kept[e.Key] = e
}

// forget drops the entry that is in this process only, if it is of this generation or an older
// one.
func (s *Store) forget(key store.Key, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.kept[key]; e != nil && e.Generation <= generation {
		delete(s.kept, key)
	}
}

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", store.ErrUnusable, fmt.Errorf(format, args...))
}

func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
