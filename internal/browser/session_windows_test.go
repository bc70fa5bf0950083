package browser

// session returns 0: Windows has no sessions of this kind.
func session() int { return 0 }
