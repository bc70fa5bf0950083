package keyringstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// jobs are for the one goroutine that calls the keyring. A keyring that hangs keeps this goroutine,
// and no other: those who call later wait for their turn, and give up.
var jobs = make(chan func())

var startWorker = sync.OnceFunc(func() {
	go func() {
		for job := range jobs {
			job()
		}
	}()
})

var errTimeout = fmt.Errorf("it took longer than %v", Timeout)

// bounded has the worker call do, and returns errTimeout if that does not end within [Timeout].
// What do assigns must not be read then.
func bounded(ctx context.Context, do func() error) error {
	startWorker()
	ctx, cancel := context.WithTimeoutCause(ctx, Timeout, errTimeout)
	defer cancel()
	done := make(chan error, 1)
	select {
	case jobs <- func() { done <- safely(do) }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// safely calls do. Responses of a Secret Service that are not of the expected type, or a bus that
// goes away during a prompt, make go-keyring panic.
func safely(do func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("its response makes no sense")
		}
	}()
	return do()
}
