package story

// Options say whose story is told, and how.
type Options struct {
	// Hosts are MACs and IPv4 addresses; without any, the handsets are found.
	Hosts []string
	// Makers are the first octets of MACs that are known for handsets, as "b4:0e:dc".
	Makers []string
	// Brief leaves out the events that only confirm others.
	Brief bool
}
