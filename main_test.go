//go:build unix

package handstamp_test

import (
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
