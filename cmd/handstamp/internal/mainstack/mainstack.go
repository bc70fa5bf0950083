// Package mainstack gives the main goroutine a large stack as soon as it is initialized, which is early:
// it imports no package that is initialized itself. Later, the stack would be doubled under the frames
// of other packages' initialization, and walked and copied each time.
package mainstack

import "github.com/handstamp/handstamp/internal/stack"

func init() { stack.Grow32K() }
