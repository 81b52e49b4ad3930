package rig

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"

	"ip88rig/rig/bench"
)

// Unopened is a lane without wire and services, to ask what would run on it.
// Nothing else can be done with it.
func Unopened(b bench.Bench, h bench.Handset) *Lane {
	l := &Lane{Config: Config{Bench: b, Handset: h}, Addrs: b.Addresses(h)}
	if b.PublicChain != nil {
		l.public = &tls.Certificate{}
	}
	return l
}

// DialTCP connects from the rig's host to an end on the lane's wire. Only the
// lane's own handset is heard there.
func (l *Lane) DialTCP(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	return l.host.DialTCP(ctx, netip.AddrPort{}, remote)
}
