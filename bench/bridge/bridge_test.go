package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestParts has the parts of a measurement work together, without a clock: the
// server with its check, the floor as a process, the SDK's client.
func TestParts(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the floor")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	in, end := io.Pipe()
	out, line := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serve(in, line) }()
	t.Cleanup(func() {
		end.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	target, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{self: os.Args[0], root: root, dir: t.TempDir(), target: strings.TrimSpace(target)}
	if err := rejected(ctx, s.target); err != nil {
		t.Fatal(err)
	}
	if s.token, err = signIn(ctx, s.target); err != nil {
		t.Fatal(err)
	}
	if s.token == "" {
		t.Fatal("there is no token")
	}
	floor, err := s.floorBridge(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := floor.try(ctx); err != nil {
		t.Errorf("the floor: %v", err)
	}
	client, err := connectSDK(ctx, s.target, s.token)
	if err != nil {
		t.Fatal(err)
	}
	defer client.close()
	for _, size := range []int{1 << 10, 1 << 20} {
		if text := newPayload(size); len(text.raw) != size {
			t.Errorf("a text of %d bytes has %d", size, len(text.raw))
		} else if err := client.check(ctx, text); err != nil {
			t.Errorf("the SDK's client, %d bytes: %v", size, err)
		}
	}
}
