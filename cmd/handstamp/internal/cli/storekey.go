package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
	"golang.org/x/crypto/argon2"
)

// keyNoteName is the file beside the records of an encrypted store that says which key opens them.
const keyNoteName = "key.json"

// keyNote is its content. It is no secret.
type keyNote struct {
	Version int         `json:"version"`
	KeyID   string      `json:"key_id"`             // which tells a wrong key from damage
	Argon2  *argon2Note `json:"argon2id,omitempty"` // nil: the key is in a file
}

// argon2Note has the parameters of Argon2id (RFC 9106).
type argon2Note struct {
	Salt      []byte `json:"salt"`
	Time      uint32 `json:"time"`
	MemoryKiB uint32 `json:"memory_kib"`
	Threads   uint8  `json:"threads"`
}

// newArgon2Note returns the second choice of RFC 9106, section 4, for memory that is not plenty: a
// machine may run a dozen bridges.
func newArgon2Note() *argon2Note {
	n := &argon2Note{Salt: make([]byte, 16), Time: 3, MemoryKiB: 64 << 10, Threads: 4}
	rand.Read(n.Salt)
	return n
}

// valid keeps a changed file from costing hours or all memory.
func (n *argon2Note) valid() bool {
	return len(n.Salt) >= 8 && n.Time >= 1 && n.Time <= 32 && n.Threads >= 1 && n.MemoryKiB >= 8 &&
		n.MemoryKiB <= 1<<20
}

func (n *argon2Note) derive(phrase secret.String) []byte {
	return argon2.IDKey([]byte(phrase.Reveal()), n.Salt, n.Time, n.MemoryKiB, n.Threads,
		sealed.KeySize)
}

// keyNoteVersion is the version of keyNote.
const keyNoteVersion = 1

// encryptedKey returns the key of an encrypted store: that of the key file that is named, or one
// that is derived from a passphrase. The first use of an empty store makes it.
func (a *app) encryptedKey(o *openedStore) (secret.String, error) {
	path := filepath.Join(o.folders.Credentials, keyNoteName)
	note, err := readKeyNote(path)
	if err == nil && note == nil {
		// This process alone makes the key, for which its user may type a passphrase.
		var unlock func()
		at := store.Key{Server: storeEncrypted}
		if unlock, err = a.lock(context.Background(), o, at, "key"); err != nil {
			return "", err
		}
		defer unlock()
		note, err = readKeyNote(path)
	}
	if err != nil {
		return "", err
	}
	return a.keyOfNote(o, note, path)
}

// keyOfNote returns the key that the note at path is about, or makes both if there is none.
func (a *app) keyOfNote(o *openedStore, note *keyNote, path string) (secret.String, error) {
	from, err := a.keySources()
	if err != nil {
		return "", err
	}
	isNew := note == nil && !hasCredentials(o.folders.Credentials)
	if err := from.fit(note, isNew); err != nil {
		return "", err
	}
	next := keyNote{Version: keyNoteVersion}
	raw, err := from.key(a, note, &next, isNew)
	if err != nil {
		return "", err
	}
	key, err := sealed.NewKey(raw)
	if err != nil {
		return "", &failure{kind: kindStore, err: err}
	}
	next.KeyID = key.ID()
	switch {
	case note != nil && note.KeyID != next.KeyID, note == nil && !isNew && !opensAny(o.Store, key):
		return "", storeFailure("the "+from.String()+" is not the one that the encrypted store was sealed with",
			"give the one that it was made with")
	case note == nil:
		if err := writePrivate(path, next); err != nil {
			return "", &failure{kind: kindStore, err: err}
		}
	}
	return encodeKey(raw), nil
}

// opensAny reports whether a key opens any of the values in a store of sealed ones.
func opensAny(values store.Store, key sealed.Key) bool {
	ctx := context.Background()
	keys, _ := values.List(ctx) // without any, no key opens one
	opened := sealed.New(values, key).(store.Peeker)
	return slices.ContainsFunc(keys, func(k store.Key) bool {
		_, _, err := opened.Peek(ctx, k)
		return err == nil
	})
}

// fit finds a source that cannot have the key that a store was made with.
func (s keySources) fit(note *keyNote, isNew bool) error {
	byPassphrase := note != nil && note.Argon2 != nil
	switch {
	case byPassphrase && s.keyFile != "":
		return storeFailure("the encrypted store is sealed with a passphrase, not with a key file",
			"unset HANDSTAMP_STORE_KEY_FILE")
	case !byPassphrase && !isNew && s.keyFile == "":
		return storeFailure("the encrypted store is sealed with a key file, and none is named",
			"set HANDSTAMP_STORE_KEY_FILE to its path")
	}
	return nil
}

// key returns the key, and notes in next what a passphrase needs to make it.
func (s keySources) key(a *app, note, next *keyNote, isNew bool) ([]byte, error) {
	if s.keyFile != "" {
		return a.keyFromFile(s.keyFile, isNew)
	}
	phrase, err := s.passphrase(a, isNew)
	if err != nil {
		return nil, err
	}
	if next.Argon2 = newArgon2Note(); note != nil {
		next.Argon2 = note.Argon2
	}
	return next.Argon2.derive(phrase), nil
}

func storeFailure(message, hint string) *failure {
	return &failure{kind: kindStore, message: message, hint: hint}
}

// readKeyNote returns nil if there is none.
func readKeyNote(path string) (*keyNote, error) {
	text, err := readRegular(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var note keyNote
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	switch {
	case err != nil, note.Version < 1, note.Argon2 != nil && !note.Argon2.valid():
		return nil, storeFailure(path+" is damaged", "restore it from a backup of the folder")
	case note.Version > keyNoteVersion:
		return nil, storeFailure(path+" is of a newer version", "upgrade handstamp")
	}
	return &note, nil
}

// keySources are where the key of an encrypted store comes from. Without any, the user types a
// passphrase.
type keySources struct {
	keyFile    string
	phraseFile string // "-": standard input
}

// String names the source.
func (s keySources) String() string {
	switch {
	case s.keyFile != "":
		return "key file " + s.keyFile
	case s.phraseFile == "-":
		return "passphrase on standard input"
	case s.phraseFile != "":
		return "passphrase in " + s.phraseFile
	}
	return "passphrase"
}

func (a *app) keySources() (keySources, error) {
	s := keySources{a.env.get("HANDSTAMP_STORE_KEY_FILE"),
		a.env.get("HANDSTAMP_STORE_PASSPHRASE_FILE")}
	if s == (keySources{}) {
		s = keySources{a.conf.StoreKeyFile, a.conf.StorePassphraseFile}
	}
	if s.keyFile != "" && s.phraseFile != "" {
		return s, usage("name a key file or a file with a passphrase, not both " +
			"(HANDSTAMP_STORE_KEY_FILE, HANDSTAMP_STORE_PASSPHRASE_FILE)")
	}
	s.keyFile = a.absolute(s.keyFile)
	if s.phraseFile != "-" {
		s.phraseFile = a.absolute(s.phraseFile)
	}
	return s, nil
}

// absolute returns a path as other processes need it; "" for none.
func (a *app) absolute(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(a.inHome(path))
	if err != nil {
		return path
	}
	return abs
}

func (s keySources) passphrase(a *app, isNew bool) (phrase secret.String, err error) {
	switch {
	case s.phraseFile != "":
		from := secretSource{file: s.phraseFile}
		if s.phraseFile == "-" {
			from = secretSource{stdin: true}
		}
		if phrase, err = from.readAs(a, "passphrase"); err == nil {
			err = checkPrivate("passphrase file", from.file)
		}
	case !a.terminalIn():
		return "", storeFailure("the passphrase of the encrypted store is needed, "+
			"and there is no terminal to type it at",
			"set HANDSTAMP_STORE_KEY_FILE or HANDSTAMP_STORE_PASSPHRASE_FILE to a file")
	default:
		phrase, err = (&passphrase{}).read(a, isNew)
	}
	if err == nil && isNew && len(phrase) < minPassphrase {
		err = usage("the passphrase is too short: a file can be tried without end, "+
			"so take at least %d characters, such as four words", minPassphrase)
	}
	return phrase, err
}

// keyFromFile reads a key file, and makes it first if the store is a new one.
func (a *app) keyFromFile(path string, isNew bool) ([]byte, error) {
	text, err := readRegular(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) && isNew {
		if text, err = createKeyFile(path, os.Link); err == nil {
			a.notify("Made the key file " + path + ": keep a copy, as nothing else opens the logins")
		}
	}
	if err != nil {
		return nil, &failure{kind: kindStore, message: "the key file " + path + " cannot be used",
			err: err, hint: "restore the file that the store was made with, or name another one " +
				"with HANDSTAMP_STORE_KEY_FILE"}
	}
	if err := checkPrivate("key file", path); err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(raw) != sealed.KeySize {
		return nil, storeFailure("the key file "+path+" holds no key: it is 32 bytes in base64",
			"restore the file that the store was made with")
	}
	return raw, nil
}

// checkPrivate finds a file that others could read, which what describes.
func checkPrivate(what, path string) error {
	info, err := os.Stat(path)
	if err == nil && runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode()&0o006 != 0 {
		return storeFailure("every user of this machine can read or change the "+what+" "+path,
			"run chmod 600 "+shellWord(path))
	}
	return nil
}

// createKeyFile makes a key file, of which there is either nothing or all, and returns what is in
// it. Another process may make it first. link is [os.Link].
func createKeyFile(path string, link func(temp, path string) error) ([]byte, error) {
	raw := make([]byte, sealed.KeySize)
	rand.Read(raw)
	text := []byte(base64.StdEncoding.EncodeToString(raw) + "\n")
	err := publish(path, text, 0o600, link)
	if _, ok := errors.AsType[*os.LinkError](err); ok && !errors.Is(err, fs.ErrExist) {
		err = writeNew(path, text, 0o600) // on a file system without hard links
	}
	if errors.Is(err, fs.ErrExist) {
		return readRegular(path, maxConfig)
	}
	return text, withoutPath(err)
}
