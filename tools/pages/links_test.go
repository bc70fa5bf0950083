package pages

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan     = regexp.MustCompile("`([^`]+)`")
	makeCommand  = regexp.MustCompile("(?m)(?:`|^|&& )make ([a-z][a-z-]*)")
	makeTarget   = regexp.MustCompile(`(?m)^([a-z][a-z-]*)(?: [a-z -]*)?:`)
	filePath     = regexp.MustCompile(`^[A-Za-z0-9_.*/-]+(\.(go|md|txtar|yml|txt)|/)$`)
)

// pages returns the names of all pages in Markdown, decisions included.
func pages(t *testing.T) (names []string) {
	for _, name := range treeFiles(t) {
		if path.Ext(name) == ".md" {
			names = append(names, name)
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %q are pages", names)
	}
	return names
}

// treeFiles returns all files of the tree, without the folders that .gitignore names.
func treeFiles(t *testing.T) (names []string) {
	ignored := strings.Fields(readPage(t, ".gitignore"))
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case d.IsDir() && (d.Name() == ".git" ||
			slices.Contains(ignored, "/"+name+"/") || slices.Contains(ignored, d.Name()+"/")):
			return fs.SkipDir
		case d.Type().IsRegular() && d.Name() != ".git":
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestLinksPointToFiles follows each relative link, to a heading where it names one.
func TestLinksPointToFiles(t *testing.T) {
	for _, name := range pages(t) {
		for _, found := range markdownLink.FindAllStringSubmatch(readPage(t, name), -1) {
			u, err := url.Parse(found[1])
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case u.IsAbs():
			case !linkExists(t, name, u):
				t.Errorf("%s: nothing is at %s", name, found[1])
			}
		}
	}
}

func linkExists(t *testing.T, from string, u *url.URL) bool {
	target := from
	if u.Path != "" {
		target = path.Join(path.Dir(from), u.Path)
	}
	if _, err := os.Stat(target); err != nil {
		return false
	}
	if u.Fragment == "" {
		return true
	}
	for line := range strings.Lines(readPage(t, target)) {
		if heading := strings.TrimLeft(line, "#"); heading != line && anchor(heading) == u.Fragment {
			return true
		}
	}
	return false
}

// anchor returns the fragment that GitHub gives a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// TestEachPageIsInItsIndex demands a line for each page below docs in a README.md there.
func TestEachPageIsInItsIndex(t *testing.T) {
	for _, name := range pages(t) {
		dir, file := path.Split(name)
		if dir != "docs/" && dir != "docs/decisions/" || file == "README.md" {
			continue
		}
		if !strings.Contains(readPage(t, dir+"README.md"), "]("+file+")") {
			t.Errorf("%sREADME.md has no link to %s", dir, file)
		}
	}
}

// TestDecisionsHaveDateAndStatus reads the second paragraph of each decision.
func TestDecisionsHaveDateAndStatus(t *testing.T) {
	const decision = `\[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)`
	form := regexp.MustCompile(`^# .+\n\n20\d\d-\d\d-\d\d · (accepted(, replaces ` + decision + `)?|superseded by ` + decision + `)\n\n`)
	for _, name := range pages(t) {
		if dir, file := path.Split(name); dir != "docs/decisions/" || file == "README.md" {
			continue
		}
		if text := readPage(t, name); !form.MatchString(text) {
			t.Errorf("%s begins otherwise: %.120q", name, text)
		}
	}
}

// TestMakeTargetsOfPagesExist looks each "make X" of a page up in the Makefile. A decision may
// name one of its day.
func TestMakeTargetsOfPagesExist(t *testing.T) {
	targets := map[string]bool{}
	for _, found := range makeTarget.FindAllStringSubmatch(readPage(t, "Makefile"), -1) {
		targets[found[1]] = true
	}
	for _, name := range pages(t) {
		if strings.HasPrefix(name, "docs/decisions/") {
			continue
		}
		for _, found := range makeCommand.FindAllStringSubmatch(readPage(t, name), -1) {
			if !targets[found[1]] {
				t.Errorf("%s: the Makefile has no target %s", name, found[1])
			}
		}
	}
}

// TestPagesNameFilesThatExist looks up each file and folder that these pages name in backticks. A name without a folder is in the folder of the one before it in its line, or at
// the top.
func TestPagesNameFilesThatExist(t *testing.T) {
	named := 0
	text := readPage(t, "docs/architecture.md") + readPage(t, "docs/security.md")
	for line := range strings.Lines(text) {
		dir := ""
		for _, found := range codeSpan.FindAllStringSubmatch(line, -1) {
			if !filePath.MatchString(found[1]) {
				continue
			}
			named++
			if strings.Contains(found[1], "/") {
				dir = path.Dir(found[1])
			}
			if !fileExists(found[1]) && !fileExists(path.Join(dir, found[1])) {
				t.Errorf("a page names %s, which does not exist", found[1])
			}
		}
	}
	if named < 40 {
		t.Errorf("only %d names are found", named)
	}
}

// TestPagesNameTestsThatExist looks up each test that a page names in backticks, up to "…" or
// a subtest. A decision may name one of its day.
func TestPagesNameTestsThatExist(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)
	var tests []string
	for _, name := range treeFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, found := range declared.FindAllStringSubmatch(readPage(t, name), -1) {
				tests = append(tests, found[1])
			}
		}
	}
	mention := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+)(…?)")
	for _, name := range pages(t) {
		if strings.HasPrefix(name, "docs/decisions/") {
			continue
		}
		for _, found := range mention.FindAllStringSubmatch(readPage(t, name), -1) {
			if !slices.ContainsFunc(tests, func(test string) bool {
				return test == found[1] || found[2] != "" && strings.HasPrefix(test, found[1])
			}) {
				t.Errorf("%s names %s, which does not exist", name, found[1])
			}
		}
	}
}

func fileExists(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}

func readPage(t *testing.T, name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// goBlock is a piece of Go in a page.
var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestPagesQuoteExamples looks up the Go of these pages in the examples, which compile and run.
func TestPagesQuoteExamples(t *testing.T) {
	squeeze := func(code string) string { return strings.Join(strings.Fields(code), " ") }
	examples := ""
	for _, name := range treeFiles(t) {
		if dir, file := path.Split(name); dir == "" && strings.HasPrefix(file, "example_") ||
			strings.HasPrefix(dir, "examples/") && path.Ext(file) == ".go" {
			examples += squeeze(readPage(t, name))
		}
	}
	for _, name := range []string{
		"README.md", "docs/accounts.md", "docs/authorization-requests.md", "docs/client-authentication.md", "docs/device.md",
		"docs/dpop.md", "docs/embed.md", "docs/registration.md", "docs/testing.md",
	} {
		blocks := goBlock.FindAllStringSubmatch(readPage(t, name), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, found := range blocks {
			if !strings.Contains(examples, squeeze(found[1])) {
				t.Errorf("%s: no example has\n%s", name, found[1])
			}
		}
	}
}
