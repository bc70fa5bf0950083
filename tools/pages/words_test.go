package pages

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// A bannedWord is one that this project does not write, since RFC 6749 and its kin have another.
type bannedWord struct {
	write  string // what to write instead
	forms  string // the word's forms; "in vain" is a phrase
	except string // a regular expression of what may stay, in lower case
}

var bannedWords = []bannedWord{
	{write: "refresh",
		forms: "renew renews renewed renewing renewal renewals renewer renewable"},
	{write: "response, respond", forms: "answer answers answered answering answerable unanswered"},
	{write: "reject, rejection", forms: "refuse refuses refused refusing refusal refusals",
		except: `connections? (is |was |were )?refused|refused connections?`},
	{write: "use, used", forms: "spend spends spending spent unspent", except: `time spent|spent time`},
	{write: "user", forms: "person persons somebody nobody anybody everybody"},
	{write: "report, return, request", forms: "told untold unasked"},
	{write: "space; layer; sign-in placeholder", forms: "room rooms"},
	{write: "did not help", forms: "futile futility vain"},
	{write: "result, decision", forms: "verdict verdicts judge judges judged judging judgement"},
	{write: "use, import", forms: "adopt adopts adopted adopting adoption"},
	{write: "decide, end", forms: "settle settles settled settling"},
	{write: "timeout", forms: "patience"},
	{write: "look, check", forms: "glance glances"},
	{write: "cooldown", forms: "rests rested resting", except: `at rest`},
}

// Of words that are good English elsewhere, what is said of a machine, in lower case.
var bannedPhrases = []struct {
	write   string
	pattern *regexp.Regexp
}{
	{"return, report, state", regexp.MustCompile(speaker + `(says?|said|saying|tells?)\b`)},
	{"request", regexp.MustCompile(speaker + `(asks?|asked|asking)\b`)},
	{"requested", regexp.MustCompile(`\b(is|are|was|were|be|been|being|not) (asked|said)\b`)},
	{"requested", regexp.MustCompile(`\basked for\b`)},
	{"cooldown", regexp.MustCompile(`\ba rest\b`)},
}

// inPhrases has a part of each text that one of bannedPhrases matches.
var inPhrases = []string{"say", "said", "tell", "ask", "a rest"}

const speaker = `\b(servers?|responses?|documents?|metadata|challenge|endpoint|issuer|header|` +
	`token|record|registration|status|errors?|host|client|bridge|library|command|page|store)` +
	`( has| have| had|) `

// hostInProse is what pages and help call an MCP host. In the bridge's code "the host" is one,
// as the comment of package bridge explains.
var hostInProse = regexp.MustCompile(`\bthe hosts?\b`)

// TestWordsAreTheFields reads every file of the tree, and every file's name. What may stay is
// in tools/pages/words.txt.
func TestWordsAreTheFields(t *testing.T) {
	allowed := allowedPhrases(t)
	faults, folders := 0, map[string]int{}
	for _, name := range textFiles(t) {
		var lines []string
		text := prose(t, name)
		for i, line := range append([]string{name}, strings.Split(text, "\n")...) {
			for _, fault := range faultsOf(name, allowed.without(name, line)) {
				lines = append(lines, fmt.Sprintf("%s:%d: %s: %s", name, i, fault, strings.TrimSpace(line)))
			}
		}
		if len(lines) > 0 {
			t.Error(strings.Join(lines, "\n"))
			faults += len(lines)
			top, _, below := strings.Cut(name, "/")
			if !below {
				top = "(top level)"
			}
			folders[top] += len(lines)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		t.Logf("%5d %s", folders[folder], folder)
	}
	if faults > 0 {
		t.Logf("%5d in all", faults)
	}
	for _, unused := range allowed.unused() {
		t.Errorf("tools/pages/words.txt allows %s, which is nowhere", unused)
	}
}

func TestWordsAreFound(t *testing.T) {
	for _, line := range []string{
		"// renew does it", "s.renewalLock()", "TestSomebodyRenews", "the answer came", "SERVER_REFUSED",
		"tried in vain", "the server says no", "Nobody asked", "was asked for a scope", "func (j *judge) f()",
		"metadata that the issuer said", "XMLAnswers", "it rests", "a waiting room",
	} {
		if len(faultsOf("x.go", line)) == 0 {
			t.Errorf("nothing is found in %q", line)
		}
	}
	for _, line := range []string{
		"connection refused", "ECONNREFUSED", "the server returns", "personality", "renewed_is_one",
		"time spent in it", "the user says so", "a broom in the mushroom",
	} {
		if found := faultsOf("x.go", line); len(found) > 0 != strings.Contains(line, "renewed") {
			t.Errorf("%q: %q", line, found)
		}
	}
	if len(faultsOf("docs/x.md", "what the host gets")) == 0 || len(faultsOf("bridge/x.go", "what the host gets")) > 0 {
		t.Error("the MCP host has its whole name in pages only")
	}
}

// forbidden is bannedWords by form.
var forbidden = func() map[string]bannedWord {
	m := map[string]bannedWord{}
	for _, w := range bannedWords {
		for form := range strings.FieldsSeq(w.forms) {
			m[form] = w
		}
	}
	return m
}()

var exceptions = func() *regexp.Regexp {
	var all []string
	for _, w := range bannedWords {
		if w.except != "" {
			all = append(all, w.except)
		}
	}
	return regexp.MustCompile(strings.Join(all, "|"))
}()

// decisionName is the name of a page that keeps the words of its day.
var decisionName = regexp.MustCompile(`\b[0-9]{4}-[a-z0-9-]+\.md`)

// faultsOf returns what is wrong in a line of a file.
func faultsOf(name, line string) (faults []string) {
	if strings.Contains(line, ".md") {
		line = decisionName.ReplaceAllString(line, "")
	}
	words := strings.ToLower(splitNames(line))
	if len(forbiddenIn(words)) > 0 { // few lines need the regular expression
		for _, word := range forbiddenIn(exceptions.ReplaceAllString(words, "")) {
			faults = append(faults, fmt.Sprintf("%q (%s)", word, forbidden[word].write))
		}
	}
	text := strings.ToLower(line)
	if slices.ContainsFunc(inPhrases, func(part string) bool { return strings.Contains(text, part) }) {
		text = exceptions.ReplaceAllString(text, "")
		for _, p := range bannedPhrases {
			for _, found := range p.pattern.FindAllString(text, -1) {
				faults = append(faults, fmt.Sprintf("%q (%s)", found, p.write))
			}
		}
	}
	if path.Ext(name) == ".md" && hostInProse.MatchString(text) {
		faults = append(faults, `"the host" (the MCP host)`)
	}
	return faults
}

// forbiddenIn returns the words of a text that are forms of banned ones.
func forbiddenIn(text string) (found []string) {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if _, ok := forbidden[word]; ok {
			found = append(found, word)
		}
	}
	return found
}

// splitNames parts identifiers into their words: renewalLock, HTTPAnswer, in_vain.
func splitNames(line string) string {
	var b strings.Builder
	var last rune
	for i, r := range line {
		next, _ := utf8.DecodeRuneInString(line[i+utf8.RuneLen(r):])
		if unicode.IsUpper(r) && (unicode.IsLower(last) || unicode.IsUpper(last) && unicode.IsLower(next)) {
			b.WriteByte(' ')
		}
		if r == '_' {
			r = ' '
		}
		b.WriteRune(r)
		last = r
	}
	return b.String()
}

// textFiles returns the files with text of ours that follow the field's words.
func textFiles(t *testing.T) (names []string) {
	for _, name := range treeFiles(t) {
		switch path.Base(name) {
		case "words_test.go", "words.txt", "LICENSE", "package-lock.json":
			continue
		}
		switch path.Ext(name) {
		case ".sum", ".svg":
			continue
		}
		if !strings.HasPrefix(name, "docs/decisions/") && !strings.Contains(name, "testdata/fuzz/") {
			names = append(names, name)
		}
	}
	return names
}

// generated is a part of a page that a command wrote. Its words are those of the command, which is
// checked, and of the programs that it ran.
var generated = regexp.MustCompile(`(?s)<!-- written by .*?<!-- end`)

// prose returns the text of a file that is ours and of today: nothing of a binary file, and the
// first section of the changelog.
func prose(t *testing.T, name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return ""
	}
	if path.Ext(name) == ".md" {
		data = generated.ReplaceAllFunc(data, func(part []byte) []byte {
			return bytes.Repeat([]byte("\n"), bytes.Count(part, []byte("\n")))
		})
	}
	if name == "CHANGELOG.md" { // code spans have the old names
		if parts := strings.SplitN(string(data), "\n### ", 3); len(parts) == 3 {
			data = codeSpan.ReplaceAll([]byte(parts[0]+"\n"+parts[1]), nil)
		}
	}
	return string(data)
}

// An allowList has the phrases that may stay, by file; "*" is any file.
type allowList map[string]map[string]bool // true: it was needed

// allowedPhrases reads tools/pages/words.txt: "path: phrase # reason" on each line.
func allowedPhrases(t *testing.T) allowList {
	data, err := os.ReadFile("tools/pages/words.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := allowList{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		entry, reason, _ := strings.Cut(line, " # ")
		name, phrase, ok := strings.Cut(entry, ": ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Errorf("tools/pages/words.txt: %q is not \"path: phrase # reason\"", line)
			continue
		}
		if list[name] == nil {
			list[name] = map[string]bool{}
		}
		list[name][strings.TrimSpace(phrase)] = false
	}
	return list
}

// without returns the line without what is allowed in it.
func (a allowList) without(name, line string) string {
	for _, key := range []string{name, "*"} {
		for phrase := range a[key] {
			if strings.Contains(line, phrase) {
				a[key][phrase] = true
				line = strings.ReplaceAll(line, phrase, "")
			}
		}
	}
	return line
}

func (a allowList) unused() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		for _, phrase := range slices.Sorted(maps.Keys(a[name])) {
			if !a[name][phrase] {
				list = append(list, name+": "+phrase)
			}
		}
	}
	return list
}
