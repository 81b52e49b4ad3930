package tftpd

// Drop ignores the request or the ACK, or does not send the packet: it is as if
// lost on the way, so the packet is sent again at the next timeout.
type Drop struct{}

func (Drop) String() string { return "drops it" }

func (Drop) fits(at stand) bool { return at.message != "done" }

func (Drop) act(*transfer, packet) {}
