package main

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// extras writes what a release has beside the binaries into bin/extras: man pages and
// completions, which the command prints, and the certificates and the data folder of the
// container.
func (r *release) extras() error {
	dir := filepath.Join(r.root, "bin", "extras")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, sub := range []string{"man", "completions", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "data", ".keep"), nil, 0o644); err != nil {
		return err
	}
	if err := writeCertificates(filepath.Join(dir, "certificates.pem")); err != nil {
		return err
	}
	binary, err := r.native()
	if err != nil {
		return err
	}
	env := append(os.Environ(), "HANDSTAMP_HOME="+filepath.Join(dir, "home")) // which stays empty
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := output(r.root, env, binary, "completion", shell)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "completions", "handstamp."+shell), script, 0o644); err != nil {
			return err
		}
	}
	man := filepath.Join(dir, "man")
	if err := command(r.root, append(env, "SOURCE_DATE_EPOCH="+r.fields.CommitTimestamp), binary, "man", man); err != nil {
		return err
	}
	return compress(man)
}

// compress replaces each man page in dir by its compressed form, as packages have them.
func compress(dir string) error {
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
		if _, err := w.Write(data); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(page+".gz", b.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.Remove(page); err != nil {
			return err
		}
	}
	return nil
}

// writeCertificates writes Mozilla's certificate authorities as the pinned module has them:
// they do not depend on the machine that makes the release.
func writeCertificates(name string) error {
	var b strings.Builder
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue // a PEM file cannot carry what limits it
		}
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}
