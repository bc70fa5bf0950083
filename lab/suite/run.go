package suite

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// Options say what is tested. Only Client must be set.
type Options struct {
	// Client is what is tested.
	Client Client
	// Personalities to test it with. Nil means all of package lab.
	Personalities []lab.Personality
	// Ways are those lab.Ways that the client can be configured for: the personalities that need
	// such a configuration are left out of all of package lab otherwise. Nil means none.
	Ways []string
	// Conditions to test it under. Nil means all.
	Conditions []Condition
	// Processes is how many later sessions a cell has. Nil means 1 and 20.
	Processes []int
	// Timeout bounds the sessions of a cell, the first and the later ones
	// apart. Zero means a minute.
	Timeout time.Duration
	// Parallel is how many cells are played at once. Zero means two for each
	// processor.
	Parallel int
	// Dir is where cells have their folders. Empty means the system's place for
	// such.
	Dir string
	// Done is called for every cell when it is over, one at a time. Nil: no call.
	Done func(c *Cell)
}

// defaults fills in what o leaves open.
func (o Options) defaults() Options {
	if o.Personalities == nil {
		o.Personalities = slices.DeleteFunc(lab.Personalities(), func(p lab.Personality) bool {
			return p.Setup != nil && !slices.Contains(o.Ways, p.Setup.Way)
		})
	}
	if o.Conditions == nil {
		o.Conditions = Conditions()
	}
	if o.Processes == nil {
		o.Processes = []int{1, 20}
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Parallel <= 0 {
		o.Parallel = 2 * runtime.GOMAXPROCS(0)
	}
	return o
}

// Cells is how many cells a run has, those included that are not possible.
func (o Options) Cells() int {
	o = o.defaults()
	return len(o.Personalities) * len(o.Conditions) * len(o.Processes)
}

// Run plays every cell. The error is one of the suite itself, or ctx's: what a
// client does wrong is in the report, which beside an error has the cells that
// were played until then.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Client == nil {
		return nil, errNoClient
	}
	o = o.defaults()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	report := &Report{Client: o.Client.String(), Begun: time.Now()}
	var plan []func() (*Cell, error)
	for _, p := range o.Personalities {
		for _, c := range o.Conditions {
			for _, n := range o.Processes {
				plan = append(plan, func() (*Cell, error) { return play(ctx, &o, p, c, n) })
			}
		}
	}
	report.Cells = make([]*Cell, len(plan))
	var (
		work  sync.WaitGroup
		mu    sync.Mutex // one call of Done at a time
		slots = make(chan struct{}, o.Parallel)
	)
	for i, play := range plan {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		work.Go(func() {
			defer func() { <-slots }()
			played, err := play()
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			report.Cells[i] = played
			if o.Done != nil {
				o.Done(played)
			}
		})
	}
	work.Wait()
	report.Cells = slices.DeleteFunc(report.Cells, func(c *Cell) bool { return c == nil })
	report.Duration = time.Since(report.Begun)
	return report, context.Cause(ctx)
}

// tester is what [Test] needs of T, which is *testing.T. Without that package's name here, programs
// that are no tests do not get it with the suite.
type tester[T any] interface {
	Context() context.Context
	Error(args ...any)
	Fatal(args ...any)
	Helper()
	Log(args ...any)
	Run(name string, f func(T)) bool
	Skip(args ...any)
	TempDir() string
}

// Test runs the suite as subtests of t, a *testing.T, one a cell.
func Test[T tester[T]](t T, o Options) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range report.Cells {
		t.Run(cell.Name(), func(t T) {
			if cell.Expect.Void {
				t.Skip("there is no login to grow old")
			}
			for _, failure := range cell.Failures {
				t.Error(failure)
			}
			for _, line := range cell.Requests {
				t.Log(line)
			}
		})
	}
}
