package history

import (
	"math"

	"github.com/anishathalye/porcupine"
)

// A step is what an operation shows of the register, with values in place of revisions: what it
// held at some time between begin and end, and what it held afterwards.
type step struct {
	was  string // a value, or "" where nothing is stored
	next string
	not  bool // it held anything but was, and still does
	some bool // it was not empty
}

// register is a value that is compared and swapped.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		stored, s := state.(string), input.(step)
		switch {
		case s.some && stored == "":
			return false, stored
		case s.not:
			return stored != s.was, stored
		case stored != s.was:
			return false, stored
		}
		return true, s.next
	},
}

// history returns the steps that an order has to explain. None of them may be left out, because
// the search tries both ways for each one that may:
//
//   - A Put whose result is not known took place if its value was ever seen. Otherwise it did not:
//     nothing can replace a value whose revision was never read, and the history ends with a Get.
//   - A value that no Put has replaced was deleted, or is the last one. All Deletes of it are one
//     step, which may be the last of all. That one of them succeeded shows an empty register.
func (v *values) history(operations []span) []porcupine.Operation {
	var all []porcupine.Operation
	replaced := make(map[string]bool)
	deleted := make(map[string]int64) // when the first Delete of a value began
	add := func(s step, begin, end int64) {
		all = append(all, porcupine.Operation{Input: s, Call: begin, Return: end})
	}
	for _, o := range operations {
		expected := v.expected(o)
		if o.Kind == Delete && o.Result != Conflict && expected != "" {
			if begin, ok := deleted[expected]; !ok || o.At < begin {
				deleted[expected] = o.At
			}
		}
		s, end, ok := v.step(o, expected)
		if !ok {
			continue
		}
		if o.Kind == Put && !s.not {
			replaced[s.was] = true
		}
		add(s, o.At, end)
	}
	seen := all
	for value, begin := range deleted {
		stored, ok := v.seen[value]
		if !ok || replaced[value] {
			continue
		}
		end := int64(math.MaxInt64)
		for _, o := range seen {
			if s := o.Input.(step); o.Call >= stored && (s.was != value) != s.not {
				end = min(end, o.Return) // the value was gone
			}
		}
		add(step{was: value}, begin, end)
	}
	return all
}

// expected returns the value that an operation compares.
func (v *values) expected(o span) string {
	if value, ok := v.of[o.Expected]; ok || o.Expected == "" {
		return value
	}
	return "unread " + o.Expected // which no value has
}

// step returns what an operation shows, and when it had happened. Not ok is nothing.
func (v *values) step(o span, expected string) (s step, end int64, ok bool) {
	switch {
	case o.Kind == Put && o.Result != Conflict:
		end = o.end
		if o.Result != OK {
			end, ok = v.seen[o.Value]
			return step{was: expected, next: o.Value}, end, ok
		}
		return step{was: expected, next: o.Value}, end, true
	case o.Result == Conflict:
		return step{was: expected, not: true, some: o.Kind == Delete}, o.end, true
	case o.Kind == Get && o.Result == OK:
		return step{was: o.Value, next: o.Value}, o.end, true
	case o.Kind == Get && o.Result == Absent, o.Kind == Delete && o.Result == OK:
		return step{}, o.end, true
	}
	return step{}, 0, false
}
