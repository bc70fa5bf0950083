package errtype

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestAs(t *testing.T) {
	inner := &fs.PathError{Op: "open"}
	if found, ok := As[*fs.PathError](fmt.Errorf("outer: %w", inner)); !ok || found != inner {
		t.Errorf("found %v, %v", found, ok)
	}
	if found, ok := As[*fs.PathError](errors.New("another")); ok || found != nil {
		t.Errorf("found %v, %v", found, ok)
	}
	if _, ok := As[*fs.PathError](nil); ok {
		t.Error("found one in nil")
	}
}
