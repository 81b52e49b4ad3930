package tftpd

// Drop ignores the request or the ACK, or does not send the packet: it is as if
// lost on the way, so the packet is sent again at the next timeout.
type Drop struct{}

func (Drop) sealed() {}

// String is the predicate of a sentence.
func (Drop) String() string { return "drops it" }

func (Drop) check() error { return nil }

func (Drop) fits(at stand) bool { return at.message != "done" }

func (Drop) act(*transfer, packet) {}
