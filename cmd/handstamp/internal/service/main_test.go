//go:build unix

package service

import (
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
