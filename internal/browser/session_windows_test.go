package browser

// session: Windows has none that could be told.
func session() int { return 0 }
