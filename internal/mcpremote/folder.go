package mcpremote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// Limits of what is read. A folder that mcp-remote made is far below them.
const (
	maxFile    = 1 << 20   // bytes of a file
	maxLog     = 256 << 10 // bytes of a log, from its beginning
	maxEntries = 10000     // of a folder
)

// Folder is what was found in mcp-remote's folder.
type Folder struct {
	Logins   []*Login
	Problems []Problem // what could not be read at all
	URLs     []string  // that occur in the files, to be tried
}

// Problem is something in the folder that could not be read.
type Problem struct {
	Path   string
	Reason string // a clause for users
}

// fileName is a name that mcp-remote gives.
var fileName = lazyregexp.New(`^([0-9a-f]{32})_(.+)$`)

// Read reads the folder at dir: the files in it, as the first versions kept them,
// and those in its subfolders mcp-remote-*. It fails only if dir itself cannot be
// read. Of a file it follows no symbolic link, and of a folder none that leads
// out of dir.
func Read(dir string, now time.Time) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f := &Folder{}
	r := &reader{Folder: f, root: root, dir: dir, now: now}
	names, err := r.list(".")
	if err != nil {
		return nil, err
	}
	r.version("", names)
	for _, name := range names {
		if !strings.HasPrefix(name, "mcp-remote-") {
			continue
		}
		info, err := root.Stat(name)
		if err == nil && !info.IsDir() {
			continue
		}
		var inside []string
		if err == nil {
			inside, err = r.list(name)
		}
		if err != nil {
			r.problem(name, err)
			continue
		}
		r.version(name, inside)
	}
	return f, nil
}

// reader reads a Folder.
type reader struct {
	*Folder
	root *os.Root
	dir  string
	now  time.Time
}

func (r *reader) list(name string) ([]string, error) {
	folder, err := r.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// version reads the files of one version of mcp-remote.
func (r *reader) version(folder string, names []string) {
	var hashes, foreign []string
	for _, name := range names {
		match := fileName.Get().FindStringSubmatch(name)
		if match == nil {
			continue
		}
		file := path.Join(folder, name)
		switch kind := match[2]; {
		case kind == tokensFile || kind == clientFile:
			hashes = append(hashes, match[1])
		case kind == "debug.log":
			r.takeURLs(file, maxLog)
		case strings.HasPrefix(kind, "discovery_state_") && strings.HasSuffix(kind, ".json"):
			r.takeURLs(file, maxFile)
		case !passing.Get().MatchString(kind):
			foreign = append(foreign, file)
		}
	}
	if len(hashes) == 0 && len(foreign) > 0 {
		r.Problems = append(r.Problems, Problem{r.place(foreign[0]),
			"it is of a kind that this version of Handstamp does not know, and no login lies beside it"})
	}
	for _, hash := range slices.Compact(hashes) { // the names are sorted
		r.login(folder, hash)
	}
}

// takeURLs notes the URLs in a file, or in its beginning if it is too large.
func (r *reader) takeURLs(file string, limit int64) {
	text, _, err := r.read(file, limit)
	if err == nil || errors.Is(err, errTooLarge) {
		r.URLs = append(r.URLs, URLs(text)...)
	}
}

// passing is what mcp-remote leaves of logins and refreshes under way.
var passing = lazyregexp.New(`^(code_verifier.*\.txt|(lock|refresh_in_progress)\.json|.*\.tmp)$`)

var (
	errTooLarge = errors.New("it is too large to be mcp-remote's")
	errLink     = errors.New("it is a symbolic link, which mcp-remote does not make")
	errNoFile   = errors.New("it is not a regular file")
)

// read reads a file of at most limit bytes. With errTooLarge it returns the
// beginning.
func (r *reader) read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := r.root.Lstat(name)
	switch {
	case err != nil:
		return nil, nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, nil, errLink
	case !info.Mode().IsRegular(): // opening a pipe would wait for a writer
		return nil, nil, errNoFile
	}
	file, err := r.root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		return text[:limit], info, errTooLarge
	}
	return text, info, err
}

func (r *reader) place(name string) string { return r.dir + string(os.PathSeparator) + name }

func (r *reader) problem(name string, err error) {
	r.Problems = append(r.Problems, Problem{r.place(name), reason(err)})
}

// reason returns why a file cannot be read, without its path.
func reason(err error) string {
	if e, ok := errtype.As[*fs.PathError](err); ok {
		return fmt.Sprintf("it cannot be read: %v", e.Err)
	}
	return err.Error()
}
