//go:build !linux

package wire

import (
	"context"
	"fmt"
	"runtime"
)

// PacketPort is a lab interface; this system has none.
type PacketPort struct{}

var _ Port = (*PacketPort)(nil)

// OpenPacket tells that this system has no packet sockets.
func OpenPacket(ifname string, _ PacketOptions) (*PacketPort, error) {
	return nil, errNoPackets(ifname)
}

func errNoPackets(ifname string) error {
	return fmt.Errorf("wire: interface %s: lab interfaces need Linux packet sockets, which %s does not have", ifname, runtime.GOOS)
}

// Receive implements Port.
func (*PacketPort) Receive(context.Context) (Frame, error) { return Frame{}, errNoPackets("") }

// Send implements Port.
func (*PacketPort) Send(Frame) error { return errNoPackets("") }

// Close implements Port.
func (*PacketPort) Close() error { return nil }

// Stats returns zeros.
func (*PacketPort) Stats() (received, dropped uint64) { return 0, 0 }
