//go:build race

package jose

func init() { raceEnabled = true }
