package stack

import (
	"testing"
	"unsafe"
)

// A goroutine whose stack has grown goes as deep without growing it again: what is on its stack stays
// where it is.
func TestGrow(t *testing.T) {
	for name, c := range map[string]struct {
		grow  func()
		depth int
	}{
		"8 KiB":  {Grow8K, 4},
		"32 KiB": {Grow32K, 20},
	} {
		moved := func(grow func()) bool {
			result := make(chan bool)
			go func() {
				grow()
				var here byte
				before := address(&here)
				descend(c.depth)
				result <- address(&here) != before
			}()
			return <-result
		}
		if moved(c.grow) {
			t.Errorf("%s: the stack has grown once more", name)
		}
		if !moved(func() {}) {
			t.Errorf("%s: a stack of the usual size is large enough, so that this shows nothing", name)
		}
	}
}

// address returns where a variable is, as a number: a pointer would follow it.
//
//go:noinline
func address(p *byte) uintptr { return uintptr(unsafe.Pointer(p)) }

// descend takes a KiB of stack for each level.
//
//go:noinline
func descend(levels int) byte {
	var frame [1 << 10]byte
	if levels > 0 {
		frame[levels] = descend(levels - 1)
	}
	return frame[0] + frame[levels]
}
