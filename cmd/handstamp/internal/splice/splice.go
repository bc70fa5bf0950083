// Package splice puts one member into a configuration file of another program, and takes it
// out again, without touching any other byte: comments, order, indentation, line ends and a
// byte order mark stay as they are. A library parses the file and finds the place; the bytes
// are spliced in there, and the result is parsed again. Nothing is returned unless exactly that
// member differs.
package splice

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

// Member is a named value: a string, a bool, an int, a []string or an [Object], or any other value as
// the format decodes it.
type Member struct {
	Name  string
	Value any
}

// Object is an object whose members have an order.
type Object []Member

// ErrSyntax is what a file that cannot be parsed is reported with. Such a file is never taken
// for an empty one.
var ErrSyntax = errors.New("it cannot be parsed")

// ErrUnsafe is what a file is reported with in which the place cannot be found safely.
var ErrUnsafe = errors.New("the place cannot be found safely")

func unsafe(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsafe, fmt.Sprintf(format, args...))
}

// syntax returns what is reported of a parser's error: where it is, since the rest may quote the
// file, which has secrets in it.
func syntax(err error) error {
	place := place().FindString(err.Error())
	if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := decode.Position()
		place = fmt.Sprintf("line %d, column %d", line, column)
	}
	if place == "" {
		return ErrSyntax
	}
	return fmt.Errorf("%w: %s", ErrSyntax, place)
}

// place finds where an error is, behind the name of its library.
var place = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\bline \d+(, column \d+)?`)
})

// Format is how a file is written.
type Format interface {
	// parse returns the document, nil for an empty one. Numbers and the like are of types that
	// can be compared.
	parse(text []byte) (any, error)
	// put returns the text with the member in place, which is replaced if it is there.
	put(text []byte, path []string, name string, value any) ([]byte, error)
	// remove returns the text without the member. Of the objects at the end of path, at most
	// prune that have become empty are removed, too.
	remove(text []byte, path []string, name string, prune int) ([]byte, error)
}

// The formats.
var (
	JSON Format = jsonFormat{} // with comments and trailing commas, if it has them already
	TOML Format = tomlFormat{} // path has one name
	YAML Format = yamlFormat{} // path has one name
)

var byteOrderMark = []byte("\ufeff")

// Put returns a copy of text in which the object at path, which is made if it is missing, has
// the member, of a value as in a [Member]. An empty text becomes a document.
func Put(f Format, text []byte, path []string, name string, value any) ([]byte, error) {
	return splice(f, text, func(body []byte) ([]byte, error) {
		return f.put(body, path, name, value)
	}, func(before any) (any, error) {
		fresh, err := f.put(nil, path, name, value)
		if err != nil {
			return nil, err
		}
		document, err := f.parse(fresh)
		if err != nil {
			return nil, err
		}
		member, _ := at(document, path)
		return with(before, path, name, member[name])
	})
}

// Remove returns a copy of text without the member of the object at path. The last prune names
// of path are objects that are removed as well if nothing else is in them, not even a comment.
func Remove(f Format, text []byte, path []string, name string, prune int) ([]byte, error) {
	if f == TOML {
		prune = len(path) // a table is there as long as one within it is
	}
	for ; ; prune-- {
		out, err := splice(f, text, func(body []byte) ([]byte, error) {
			return f.remove(body, path, name, prune)
		}, func(before any) (any, error) { return without(before, path, name, prune) })
		if prune <= 0 || !errors.Is(err, ErrUnsafe) {
			return out, err
		}
	}
}

// Members returns the members of the object at path as they were decoded; none if it is
// missing.
func Members(f Format, text []byte, path []string) (map[string]any, error) {
	document, err := f.parse(bytes.TrimPrefix(text, byteOrderMark))
	if err != nil {
		return nil, err
	}
	members, ok := at(document, path)
	if !ok {
		return nil, unsafe("%s is no object", quotedPath(path))
	}
	return members, nil
}

// splice edits the text behind a byte order mark, and compares the outcome with what it should be.
func splice(f Format, text []byte, edit func([]byte) ([]byte, error),
	expect func(any) (any, error),
) ([]byte, error) {
	body := bytes.TrimPrefix(text, byteOrderMark)
	before, err := f.parse(body)
	if err != nil {
		return nil, err
	}
	want, err := expect(before)
	if err != nil {
		return nil, err
	}
	after, err := edit(body)
	if err != nil {
		return nil, err
	}
	got, err := f.parse(after)
	if got == nil {
		got = map[string]any{} // an empty document
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		return nil, unsafe("more than one entry would change")
	}
	return slices.Concat(text[:len(text)-len(body)], after), nil
}

// at returns the object at path: nil if it is missing. ok is false if something else is there.
func at(document any, path []string) (object map[string]any, ok bool) {
	for i := 0; ; i++ {
		if document == nil {
			return nil, true
		}
		object, ok = document.(map[string]any)
		if !ok || i == len(path) {
			return object, ok
		}
		document = object[path[i]]
	}
}

// with returns a copy of the document with the member set.
func with(document any, path []string, name string, value any) (any, error) {
	object, ok := document.(map[string]any)
	if !ok && document != nil {
		return nil, unsafe("%s is no object", quotedPath(path))
	}
	object = maps.Clone(object)
	if object == nil {
		object = make(map[string]any)
	}
	if len(path) == 0 {
		object[name] = value
		return object, nil
	}
	inner, err := with(object[path[0]], path[1:], name, value)
	object[path[0]] = inner
	return object, err
}

// without returns a copy of the document that lacks the member.
func without(document any, path []string, name string, prune int) (any, error) {
	object, ok := document.(map[string]any)
	if !ok {
		return nil, unsafe("%q is not there", name)
	}
	object = maps.Clone(object)
	if len(path) == 0 {
		if _, ok := object[name]; !ok {
			return nil, unsafe("%q is not there", name)
		}
		delete(object, name)
		return object, nil
	}
	inner, err := without(object[path[0]], path[1:], name, prune)
	if err != nil {
		return nil, err
	}
	object[path[0]] = inner
	if len(path) <= prune && len(inner.(map[string]any)) == 0 {
		delete(object, path[0])
	}
	return object, nil
}

func quotedPath(path []string) string { return fmt.Sprintf("%q", path) }

// lineEnd returns the line end that a text uses.
func lineEnd(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// lineStart returns where the line of an offset begins.
func lineStart(text []byte, offset int) int { return bytes.LastIndexByte(text[:offset], '\n') + 1 }

// nextLine returns where the line after the one of an offset begins, or the end.
func nextLine(text []byte, offset int) int {
	if i := bytes.IndexByte(text[offset:], '\n'); i >= 0 {
		return offset + i + 1
	}
	return len(text)
}

// cut is a range of a text and what comes in its place.
type cut struct {
	from, to int
	text     string
}

// apply returns the text with cuts, which are in order and do not overlap.
func apply(text []byte, cuts ...cut) []byte {
	var out bytes.Buffer
	end := 0
	for _, c := range cuts {
		out.Write(text[end:c.from])
		out.WriteString(c.text)
		end = c.to
	}
	out.Write(text[end:])
	return out.Bytes()
}

// OnlyDiffers reports whether two texts mean the same but for a member of the object at path.
func OnlyDiffers(f Format, a, b []byte, path []string, name string) bool {
	rest := func(text []byte) (any, error) {
		document, err := f.parse(bytes.TrimPrefix(text, byteOrderMark))
		if err != nil {
			return nil, err
		}
		if document, err = with(document, path, name, nil); err != nil {
			return nil, err
		}
		return without(document, path, name, len(path))
	}
	restA, errA := rest(a)
	restB, errB := rest(b)
	return errA == nil && errB == nil && reflect.DeepEqual(restA, restB)
}
