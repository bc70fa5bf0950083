package suite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
)

// A client that is a program is run as it is; in a test each cell is a subtest.
func ExampleTest() {
	_ = func(t *testing.T) { // func TestSecondSession(t *testing.T)
		suite.Test(t, suite.Options{Client: &suite.Program{Command: []string{"./mcpcall", "{url}"}}})
	}
}

// A library is called in a function. This one gives up at once.
func ExampleRun() {
	p, _ := lab.FindPersonality("none-first")
	report, err := suite.Run(context.Background(), suite.Options{
		Client: &suite.Func{Name: "ours", Run: func(ctx context.Context, s suite.Session) error {
			_, err := os.Stat(filepath.Join(s.Home, "token")) // what an earlier process has kept
			return err
		}},
		Personalities: []lab.Personality{p},
		Conditions:    []suite.Condition{suite.Warm},
		Processes:     []int{1},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	passed, failed, _ := report.Summary()
	fmt.Println(report.Client, passed, "passed", failed, "failed")
	fmt.Println(report.Cells[0].First.Tabs, "tabs")
	// Output:
	// ours 0 passed 1 failed
	// 0 tabs
}
