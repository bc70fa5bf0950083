//go:build unix

package process_test

import (
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
