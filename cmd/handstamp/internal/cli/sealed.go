package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/handstamp/handstamp/secret"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// minPassphrase is the length, in bytes, below which a passphrase is guessed in no time.
const minPassphrase = 12

// maxSealed bounds a sealed login, in bytes.
const maxSealed = 4 << 20

// passphrase names where a passphrase comes from. Without a flag, the user types it.
type passphrase struct{ file, env string }

func (p *passphrase) bind(flags *pflag.FlagSet) {
	flags.StringVar(&p.file, "passphrase-file", "", "file that holds the passphrase")
	flags.StringVar(&p.env, "passphrase-env", "", "environment variable that holds the passphrase")
}

func (p *passphrase) given() bool { return p.file != "" || p.env != "" }

// read returns the passphrase. The user types one twice that is new.
func (p *passphrase) read(a *app, isNew bool) (secret.String, error) {
	a.hideVariables(p.env)
	switch {
	case p.file != "" && p.env != "":
		return "", usage("give the passphrase once: with --passphrase-file or --passphrase-env")
	case p.given():
		return (&secretSource{file: p.file, env: p.env}).readAs(a, "passphrase")
	case !a.terminalIn():
		return "", usage("there is no terminal to type a passphrase at: " +
			"give it with --passphrase-file or --passphrase-env")
	}
	prompt := "Passphrase: "
	if isNew {
		prompt = fmt.Sprintf("New passphrase, of at least %d characters: ", minPassphrase)
	}
	first, err := a.typed(prompt)
	if err != nil || !isNew {
		return first, err
	}
	second, err := a.typed("The same again: ")
	if err == nil && first != second {
		err = usage("the two passphrases are different")
	}
	return first, err
}

// typed returns what the user types, unseen.
func (a *app) typed(prompt string) (secret.String, error) {
	f, ok := a.in.(*os.File)
	if !ok {
		return "", usage("there is no terminal to type at")
	}
	_, _ = io.WriteString(a.err.w, prompt)
	if shown, err := term.GetState(int(f.Fd())); err == nil {
		defer func() { _ = term.Restore(int(f.Fd()), shown) }() // after an interruption
	}
	text, err := interruptible(a, func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
	_, _ = io.WriteString(a.err.w, "\n")
	if err != nil {
		return "", usage("the passphrase cannot be read: %w", err)
	}
	return parseSecret(text, "the passphrase")
}

// seal encrypts a text for recipients, as armored lines.
func seal(text []byte, recipients ...age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	lines := armor.NewWriter(&out)
	w, err := age.Encrypt(lines, recipients...)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = errors.Join(w.Close(), lines.Close())
	}
	return out.Bytes(), err
}

// errSealed is the error for a text that cannot be opened.
var errSealed = errors.New("it cannot be opened: the passphrase or the identity is not the one " +
	"that it was sealed for, or it is damaged")

// unseal decrypts what seal returned. open is called for the identities once it is clear that
// the text is a sealed one, with true if a passphrase opens it.
func unseal(sealed []byte, open func(byPassphrase bool) ([]age.Identity, error)) ([]byte, error) {
	sealed = bytes.TrimSpace(sealed)
	if !bytes.HasPrefix(sealed, []byte(armor.Header)) {
		return nil, errors.New("it is no login that handstamp export has written")
	}
	raw, err := io.ReadAll(io.LimitReader(armor.NewReader(bytes.NewReader(sealed)), maxSealed))
	if err != nil {
		return nil, errors.New("it is damaged or not complete")
	}
	identities, err := open(bytes.Contains(raw[:min(len(raw), 200)], []byte("\n-> scrypt ")))
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(raw), identities...)
	if err != nil {
		return nil, errSealed
	}
	text, err := io.ReadAll(io.LimitReader(r, maxSealed))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}

// recipients returns those that a text is to be sealed for.
func recipients(names []string) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, name := range names {
		r, err := age.ParseRecipients(strings.NewReader(name))
		if err != nil {
			return nil, usage("--recipient is an age recipient such as age1…, not %q", name)
		}
		all = append(all, r...)
	}
	return all, nil
}

// identities returns the age identities of a file.
func identities(file string) ([]age.Identity, error) {
	text, err := readFile(file, maxConfig)
	if err != nil {
		return nil, usage("the identity file %s cannot be read: %w", file, err)
	}
	all, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil { // whose text may quote the file
		return nil, usage("the identity file %s holds no age identity", file)
	}
	return all, nil
}
