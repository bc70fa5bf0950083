package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	skillsExtension = "io.modelcontextprotocol/skills" // SEP-2640
	listSkills      = "skills/list"

	// noPrefetch is the scenario about a skill that the user does not load. Its
	// server is the same as the others', where the user does.
	noPrefetch = "sep-2640-client-no-prefetch"
)

type (
	skillsParams struct{ mcp.ParamsBase }

	skillsResult struct {
		mcp.ResultBase
		Skills []skill `json:"skills"`
	}

	// skill is an entry of the server's list. Its resources are all its files.
	skill struct {
		URI         string            `json:"uri"`
		Frontmatter map[string]string `json:"frontmatter"`
		Resources   []file            `json:"resources"`
	}

	// file is what an entry promises of a file.
	file struct {
		URI    string `json:"uri"`
		Digest string `json:"digest"`
		Size   int    `json:"size"`
	}
)

// useSkills lists the server's skills, if it has any, and with load loads each. A
// skill that is not what its entry promises is dropped, and the user sees a notice.
func useSkills(ctx context.Context, session *mcp.ClientSession, load bool) error {
	if _, ok := session.InitializeResult().Capabilities.Extensions[skillsExtension]; !ok {
		return nil
	}
	list, err := mcp.CallCustomMethod[*skillsParams, *skillsResult](ctx, session, listSkills, &skillsParams{})
	if err != nil || !load {
		return err
	}
	for _, s := range list.Skills {
		if err := s.load(ctx, session); err != nil {
			fmt.Fprintf(os.Stderr, "host: the skill %s is not loaded: %v\n", s.URI, err)
		}
	}
	return nil
}

// load reads the skill's own file and then the others, each only if all before it
// are what the entry promises.
func (s *skill) load(ctx context.Context, session *mcp.ClientSession) error {
	text, err := s.read(ctx, session, s.URI)
	if err != nil {
		return err
	}
	found, err := frontmatter(text)
	if err != nil {
		return err
	}
	if !maps.Equal(found, s.Frontmatter) {
		return errors.New("its frontmatter is not the listed one")
	}
	for _, f := range s.Resources {
		if f.URI == s.URI {
			continue
		}
		if _, err := s.read(ctx, session, f.URI); err != nil {
			return err
		}
	}
	return nil
}

// read reads a file of the skill and checks it.
func (s *skill) read(ctx context.Context, session *mcp.ClientSession, uri string) (string, error) {
	result, err := session.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
	if err != nil {
		return "", err
	}
	if len(result.Contents) != 1 {
		return "", fmt.Errorf("%s has %d contents", uri, len(result.Contents))
	}
	text := result.Contents[0].Text
	for _, f := range s.Resources {
		if f.URI == uri {
			return text, f.check(text)
		}
	}
	return "", fmt.Errorf("%s is not among its files", uri)
}

// check compares a file's text with what the entry promises.
func (f *file) check(text string) error {
	if len(text) != f.Size {
		return fmt.Errorf("%s has %d bytes instead of %d", f.URI, len(text), f.Size)
	}
	sum := sha256.Sum256([]byte(text))
	if "sha256:"+hex.EncodeToString(sum[:]) != f.Digest {
		return fmt.Errorf("%s does not match its digest", f.URI)
	}
	return nil
}

// frontmatter returns the members at the head of a SKILL.md. It knows plain
// strings only; a file with anything else is rejected.
func frontmatter(text string) (map[string]string, error) {
	text, ok := strings.CutPrefix(text, "---\n")
	head, _, closed := strings.Cut(text, "\n---\n")
	if !ok || !closed {
		return nil, errors.New("it has no frontmatter")
	}
	members := make(map[string]string)
	for line := range strings.Lines(head) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || value == "" || strings.ContainsAny(name+value[:1], " \t\"'[]{}&*!|>%@#`") {
			return nil, errors.New("its frontmatter has more than plain strings")
		}
		members[name] = value
	}
	return members, nil
}
