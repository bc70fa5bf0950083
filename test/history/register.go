package history

import (
	"math"

	"github.com/anishathalye/porcupine"
)

// A step is what an operation shows of the register, with values in place of revisions: what it
// held at some time between begin and end, and what it held afterwards.
type step struct {
	was   string // a value, or "" where nothing is stored
	next  string
	not   bool // it held anything but was, and still does
	some  bool // it was not empty
	empty bool // or it was empty, and still is
	maybe bool // or it held anything, and still does
}

// register is a value that is compared and swapped.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		stored, s := state.(string), input.(step)
		switch {
		case s.not:
			return stored != s.was && !(s.some && stored == ""), stored
		case stored == s.was:
			return true, s.next
		}
		return s.maybe || s.empty && stored == "", stored
	},
}

// history returns the steps that an order has to explain. Hardly one of them may be left out, because
// the search tries both ways for each that may:
//
//   - A Put whose result is not known took place if its value was ever seen. Otherwise it did not:
//     nothing can replace a value whose revision was never read, and the history ends with a Get.
//   - A value that no Put has replaced was deleted, or is the last one. Where it is not known of any
//     Delete of it that it succeeded, one of them did, perhaps at the very end: they are one step.
func (v *values) history(operations []span) []porcupine.Operation {
	var all []porcupine.Operation
	replaced, deleted := make(map[string]bool), make(map[string]bool)
	unknown := make(map[string]int64) // when the first Delete of a value with no known result began
	for _, o := range operations {
		expected := v.expected(o)
		s, end, ok := v.step(o, expected)
		switch {
		case ok:
			all = append(all, porcupine.Operation{Input: s, Call: o.At, Return: end})
			replaced[s.was] = replaced[s.was] || o.Kind == Put && !s.not
			deleted[s.was] = deleted[s.was] || o.Kind == Delete && !s.not
		case o.Kind == Delete:
			if begin, found := unknown[expected]; !found || o.At < begin {
				unknown[expected] = o.At
			}
		}
	}
	seen := all
	for value, begin := range unknown {
		stored, ok := v.seen[value]
		if !ok || replaced[value] {
			continue
		}
		end := gone(value, stored, seen)
		if end <= begin {
			continue // another one has deleted it, or there is no order
		}
		s := step{was: value, maybe: deleted[value]}
		all = append(all, porcupine.Operation{Input: s, Call: begin, Return: end})
	}
	return all
}

// gone returns when a value that was stored was there no more, as operations show that began later.
func gone(value string, stored int64, seen []porcupine.Operation) int64 {
	end := int64(math.MaxInt64)
	for _, o := range seen {
		s := o.Input.(step)
		if other := s.empty || (s.was != value) != s.not; o.Call >= stored && other {
			end = min(end, o.Return)
		}
	}
	return end
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
	case o.Kind == Get && o.Result == Absent:
		return step{}, o.end, true
	case o.Kind == Delete && o.Result == OK:
		return step{was: expected, empty: true}, o.end, true
	}
	return step{}, 0, false
}
