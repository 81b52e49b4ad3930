package timeline

// Ladder is a placeholder.
func Ladder([]Event) string { return "" }
