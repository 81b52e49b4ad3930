package timeline

// Ladder is a placeholder.
func Ladder([]Event) string { return "" }

// Words is a placeholder.
func Words(e Event) string { return string(e.Kind) + " " + e.File }
