package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	skillURI = "skill://letters/SKILL.md"
	formURI  = "skill://letters/FORM.md"
	skillMD  = "---\nname: letters\ndescription: Write letters: long ones\n---\n\nBody.\n"
	form     = "Dear\n"
)

// TestSkillIsReadFurtherOnlyIfItMatches loads a skill that is what its entry
// promises, and some that are not: the suite itself tells a rejection only by the
// second file not being read, which a host that never reads it would pass too.
func TestSkillIsReadFurtherOnlyIfItMatches(t *testing.T) {
	same := entry()
	short, changed, other, missing := entry(), entry(), entry(), entry()
	short.Resources[0].Size--
	changed.Resources[0].Digest = digest(form)
	other.Frontmatter["description"] = "Write letters"
	missing.Resources = missing.Resources[1:]
	for name, test := range map[string]struct {
		skill skill
		read  []string
	}{
		"same":        {same, []string{skillURI, formURI}},
		"size":        {short, []string{skillURI}},
		"digest":      {changed, []string{skillURI}},
		"frontmatter": {other, []string{skillURI}},
		"not listed":  {missing, []string{skillURI}},
	} {
		t.Run(name, func(t *testing.T) {
			session, read := skillServer(t)
			err := test.skill.load(t.Context(), session)
			if loaded := err == nil; loaded != (name == "same") {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(*read, test.read) {
				t.Errorf("read %q, expected %q", *read, test.read)
			}
		})
	}
}

func entry() skill {
	return skill{
		URI:         skillURI,
		Frontmatter: map[string]string{"name": "letters", "description": "Write letters: long ones"},
		Resources: []file{
			{skillURI, digest(skillMD), len(skillMD)},
			{formURI, digest(form), len(form)},
		},
	}
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// skillServer returns a session with a server of the two files, and what was read.
func skillServer(t *testing.T) (*mcp.ClientSession, *[]string) {
	t.Helper()
	var read []string
	server := mcp.NewServer(&mcp.Implementation{Name: "skills", Version: "1"}, nil)
	for uri, text := range map[string]string{skillURI: skillMD, formURI: form} {
		server.AddResource(&mcp.Resource{URI: uri, Name: uri},
			func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
				read = append(read, uri)
				return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, Text: text}}}, nil
			})
	}
	there, here := mcp.NewInMemoryTransports()
	serverSession, err := server.Connect(t.Context(), there, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		session.Close()
		serverSession.Wait()
	})
	return session, &read
}
